"""Intervals and tests of differences that are paired by seed."""

import math

import pytest

from rl_coordconv.runs.differences import difference, gain, p_values

ONES = {0: 1.0, 1: 1.0, 2: 1.0, 9: 5.0}  # seed 9 has no partner
OTHERS = {0: 2.0, 1: 3.0, 2: 7.0, 8: 0.0}


def test_intervals_are_those_of_students_t_for_pairs():
    """By hand: differences 1, 2 and 6 have a mean of 3 and a standard error of sqrt(7 / 3)."""
    half = 4.302652729696 * math.sqrt(7 / 3)  # the 97.5% quantile for two degrees of freedom
    found = difference(ONES, OTHERS, "{:.6f}".format)
    assert found == f"3.000000 ({3 - half:.6f} to {3 + half:.6f})"


def test_a_gain_is_a_geometric_mean():
    found = gain(ONES, OTHERS)
    assert found.startswith(f"+{42 ** (1 / 3) - 1:.0%} (")
    assert gain({0: 2.0, 1: 2.0, 2: 4.0}, {0: 3.0, 1: 3.0, 2: 6.0}) == "+50% (+50% to +50%)"


def test_two_seeds_have_no_interval_and_none_a_dash():
    assert difference({0: 1.0, 1: 2.0}, {0: 2.0, 1: 4.0}, "{:+.1f}".format) == "+1.5"
    assert difference({0: 1.0}, {1: 2.0}, str) == gain({}, {}) == "-"
    assert p_values({0: 1.0, 1: 2.0}, {0: 2.0, 1: 4.0}) == "-"


def test_p_values_are_those_of_the_t_distribution():
    """With two degrees of freedom, P(|T| > t) is 1 - t / sqrt(2 + t^2)."""
    t = 3 / math.sqrt(7 / 3)  # the same in both tests, as the baseline does not vary
    p = 1 - t / math.sqrt(2 + t**2)
    assert p_values(ONES, OTHERS) == f"{p:.2g} / {p:.2g}"
    paired, welch = map(float, p_values({0: 1, 1: 5, 2: 9}, {0: 1.1, 1: 5.2, 2: 9.1}).split(" / "))
    assert paired < 0.1 < 0.9 < welch


def test_scores_that_do_not_vary_have_no_p_value():
    assert p_values({0: 1.0, 1: 2.0, 2: 3.0}, {0: 2.0, 1: 3.0, 2: 4.0}) == "-"
    assert difference(dict.fromkeys(range(3), 1.0), dict.fromkeys(range(3), 1.0), str) == (
        "0.0 (0.0 to 0.0)"
    )


@pytest.mark.parametrize("function", [gain, p_values])
def test_the_order_of_seeds_does_not_matter(function):
    turned = dict(reversed(OTHERS.items()))
    assert function(ONES, OTHERS) == function(ONES, turned)
