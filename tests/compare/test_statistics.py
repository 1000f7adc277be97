"""Intervals of small matrices that can be checked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rliable import metrics

from rl_coordconv.compare.statistics import (
    aggregates,
    band,
    difference,
    mean_interval,
    performance_profile,
    probability_of_improvement,
    seeds_needed,
)

scores = st.lists(st.integers(-1000, 1000).map(float), min_size=3, max_size=6).map(np.array)


class TestMean:
    def test_by_hand(self):
        # 2 -+ 4.3027 x 1 / sqrt(3): Student's t with two degrees of freedom.
        estimate = mean_interval(np.array([1.0, 2.0, 3.0]))
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(
            (2, 2 - 2.4841, 2 + 2.4841), abs=1e-4
        )

    @pytest.mark.parametrize("values", [[], [5.0], [5.0, 7.0]])
    def test_fewer_than_three_seeds_have_no_interval(self, values):
        estimate = mean_interval(np.array(values))
        assert np.isnan([estimate.low, estimate.high]).all()
        assert not estimate.excludes_zero


class TestDifference:
    def test_by_hand(self):
        # Welch: variances 1 and 4, n = 3 each: error sqrt(5 / 3); freedom (5/3)^2 / (1/18 + 16/18)
        # = 2.941; t = 3.2200.
        estimate = difference(np.array([1.0, 2.0, 3.0]), np.array([10.0, 12.0, 14.0]))
        half = 3.2200 * np.sqrt(5 / 3)
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(
            (10, 10 - half, 10 + half), abs=2e-3
        )
        assert estimate.excludes_zero

    def test_over_games_is_the_mean_of_the_games(self):
        # With two equal games, the difference is the same and its interval narrower by sqrt(2).
        a, b = np.array([1.0, 2.0, 3.0]), np.array([10.0, 12.0, 14.0])
        twice = difference(np.column_stack([a, a]), np.column_stack([b, b]))
        assert twice.value == 10
        once = difference(a, b)
        assert twice.high - twice.low < (once.high - once.low) / np.sqrt(2)

    @given(scores, scores)
    def test_changes_sign_if_variants_are_swapped(self, a, b):
        one, other = difference(a, b), difference(b, a)
        assert one.value == pytest.approx(-other.value)
        assert (one.low, one.high) == pytest.approx(((-other).low, (-other).high))

    def test_has_its_nominal_coverage(self):
        rng = np.random.default_rng(0)
        draws = rng.normal(0, [[[1.0]], [[3.0]]], (2, 2000, 3))
        held = [difference(a, b) for a, b in zip(*draws, strict=True)]
        share = np.mean([estimate.low <= 0 <= estimate.high for estimate in held])
        assert share == pytest.approx(0.95, abs=0.02)

    def test_without_spread_has_no_width(self):
        same = np.full(3, -21.0)
        assert not difference(same, same).excludes_zero
        assert difference(same, same + 1).low == 1


class TestProbabilityOfImprovement:
    def test_by_hand(self):
        # Of nine pairs, 2 beats 1, 4 beats all three, and 1 ties with 1.
        estimate = probability_of_improvement(np.array([1.0, 2.5, 3.0]), np.array([1.0, 2.0, 4.0]))
        assert estimate.value == pytest.approx((0.5 + 1 + 3) / 9)
        assert np.isnan(estimate.low)  # if all three won, the interval would have zero width

    def test_ten_seeds_have_an_interval(self):
        a, b = np.arange(10.0), np.arange(10.0) + 1
        estimate = probability_of_improvement(a, b)
        assert 0 <= estimate.low < estimate.value < estimate.high <= 1
        sure = probability_of_improvement(a, a + 10)
        assert (sure.low, sure.value, sure.high) == (1, 1, 1)

    @given(scores, scores)
    def test_equals_rliable(self, a, b):
        own = probability_of_improvement(a, b).value
        theirs = metrics.probability_of_improvement(b[:, None], a[:, None])
        assert own == pytest.approx(theirs)


def test_the_band_of_equal_curves_is_the_curve():
    curves = np.tile(np.arange(5.0), (4, 1))
    low, high = band(curves)
    np.testing.assert_allclose(low, curves[0])
    np.testing.assert_allclose(high, curves[0])


def test_the_band_is_the_bootstrap_of_the_mean():
    curves = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    draws = np.random.default_rng(1).choice(curves[:, 0], (50_000, 5)).mean(axis=1)
    low, high = band(curves)
    assert (low[0], high[0]) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.11)


class TestSeedsNeeded:
    def test_agrees_with_a_simulation(self):
        a, b = np.array([900.0, 1000.0, 1100.0]), np.array([950.0, 1000.0, 1050.0])
        needed = seeds_needed(a, b)
        # A pooled standard deviation of 79 and a difference of 150.
        assert needed == 6
        rng = np.random.default_rng(0)
        power = {}
        for n in (needed - 1, needed):
            pairs = rng.normal([[[0.0]], [[150.0]]], np.sqrt(6250), (2, 3000, n))
            found = [difference(*pair).excludes_zero for pair in zip(*pairs, strict=True)]
            power[n] = np.mean(found)
        assert power[needed] > 0.78
        assert power[needed - 1] < 0.8

    def test_is_one_more_than_lehrs_rule(self):
        # 16 (spread / difference)^2, and one more as the spread is estimated: both are 300.
        scores = np.array([1700.0, 2000.0, 2300.0])
        assert seeds_needed(scores, scores) == 17
        assert seeds_needed(scores, scores, level=0.99) > 17

    def test_is_unknown_for_one_seed(self):
        assert seeds_needed(np.array([1.0]), np.array([1.0, 2.0])) is None


class TestOverGames:
    def test_aggregates_by_hand(self):
        # Rows are seeds. Of eight values the two smallest and the two largest are trimmed.
        matrix = np.array([[0.0, 1.0], [0.5, 2.0], [0.25, 3.0], [0.75, 10.0]])
        found = {name: estimate.value for name, estimate in aggregates(matrix).items()}
        assert found["IQM"] == pytest.approx((0.5 + 0.75 + 1 + 2) / 4)
        assert found["mean"] == pytest.approx(17.5 / 8)
        assert found["median"] == pytest.approx((0.375 + 4) / 2)  # of the games' means
        assert found["optimality gap"] == pytest.approx((1 + 0.5 + 0.75 + 0.25) / 8)

    def test_three_values_have_no_iqm(self):
        assert "IQM" not in aggregates(np.array([[1.0], [2.0], [3.0]]))

    def test_intervals_are_reproducible_and_do_not_change_the_global_generator(self):
        matrix = np.random.default_rng(0).normal(size=(4, 3))
        np.random.seed(5)  # noqa: NPY002 - rliable's
        first = aggregates(matrix)
        after = np.random.random()  # noqa: NPY002 - rliable's
        np.random.seed(99)  # noqa: NPY002 - rliable's
        assert aggregates(matrix) == first
        np.random.seed(5)  # noqa: NPY002 - rliable's
        assert np.random.random() == after  # noqa: NPY002 - rliable's

    def test_the_profile_counts_runs_above(self):
        matrix = np.array([[0.0, 1.0], [0.5, 2.0], [0.5, 2.0]])
        values, low, high = performance_profile(matrix, np.array([-1, 0.2, 0.7, 5.0]))
        np.testing.assert_allclose(values, [1, 5 / 6, 1 / 2, 0])
        assert np.all(low <= values)
        assert np.all(values <= high)
