import numpy as np
import pytest
from rliable import metrics

from rl_coordconv.analysis.arms import Style
from rl_coordconv.analysis.games import ArmOverGames
from rl_coordconv.analysis.statistics import (
    aggregates,
    band,
    difference,
    mean_interval,
    performance_profile,
    probability_of_improvement,
    seeds_needed,
)

SCORES = np.array([[1.0, 2.0], [2.0, 2.0], [1.0, 1.0], [2.0, 1.0]])  # [seeds, games]


def test_aggregates_of_a_matrix_one_can_check_by_head():
    found = {name: estimate.value for name, estimate in aggregates(SCORES).items()}
    assert found == {"IQM": 1.5, "median": 1.5, "mean": 1.5, "optimality gap": 0.0}
    assert aggregates(SCORES / 4)["optimality gap"].value == pytest.approx(1 - 1.5 / 4)


def test_iqm_drops_the_outliers_and_is_left_out_where_it_would_drop_none():
    wild = SCORES.copy()
    wild[0, 0] = -1000
    assert aggregates(wild)["IQM"].value == 1.5
    assert "IQM" not in aggregates(SCORES[:1, :2])


def test_two_calls_give_the_same_interval_and_leave_the_global_generator_alone():
    np.random.seed(1)  # noqa: NPY002
    first = aggregates(SCORES)
    drawn = np.random.rand()  # noqa: NPY002
    assert aggregates(SCORES) == first
    np.random.seed(1)  # noqa: NPY002
    assert np.random.rand() == drawn  # noqa: NPY002
    assert first["mean"].low < 1.5 < first["mean"].high


def test_a_mean_has_students_interval():
    estimate = mean_interval(np.array([1.0, 2.0, 3.0]))
    half = 4.302653 * 1 / np.sqrt(3)  # t of two degrees of freedom
    assert (estimate.low, estimate.high) == pytest.approx((2 - half, 2 + half))


def test_a_difference_has_welchs_interval():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([11.0, 12.0, 13.0])
    estimate = difference(a, b)
    half = 2.776445 * np.sqrt(2 / 3)  # equal spreads: t of four degrees of freedom
    assert estimate.value == 10
    assert (estimate.low, estimate.high) == pytest.approx((10 - half, 10 + half))
    assert estimate.excludes_zero
    assert not difference(a, a + 0.1).excludes_zero


def test_a_difference_over_games_adds_their_variances():
    one = difference(SCORES[:, :1], SCORES[:, :1] + 1)
    twice = difference(np.hstack([SCORES[:, :1]] * 2), np.hstack([SCORES[:, :1] + 1] * 2))
    assert (twice.value, one.value) == (1, 1)
    assert twice.high - 1 < (one.high - 1) / np.sqrt(2)  # and more degrees of freedom


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_seeds_have_no_interval(n):
    few, many = np.arange(float(n)), np.arange(5.0)
    for estimate in (
        mean_interval(few),
        difference(few, many),
        probability_of_improvement(many, few),
    ):
        assert np.isnan(estimate.low)
        assert not estimate.excludes_zero


def test_seeds_without_spread_have_an_interval_of_no_width():
    same = np.full(3, -21.0)
    assert difference(same, same).excludes_zero is False
    assert difference(same, same + 1).low == 1


def test_probability_of_improvement_counts_pairs_and_is_rliables():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0])
    # 2 beats 1 and ties with 2; 3 beats 1 and 2 and ties with 3; 4 beats all.
    assert probability_of_improvement(a, b).value == pytest.approx((1.5 + 2.5 + 3) / 9)
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(5, size=4).astype(float), rng.integers(5, size=6).astype(float)
        expected = metrics.probability_of_improvement(b[:, None], a[:, None])
        estimate = probability_of_improvement(a, b)
        assert estimate.value == pytest.approx(expected)
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_a_band_of_equal_curves_has_no_width_and_holds_the_mean_of_others():
    low, high = band(np.ones((3, 4)))
    assert low == pytest.approx(high)
    curves = np.array([[0.0, 1.0], [1.0, 3.0], [2.0, 8.0]])
    low, high = band(curves)
    assert (low <= curves.mean(axis=0)).all()
    assert (high >= curves.mean(axis=0)).all()
    assert low == pytest.approx([0, 1])  # one bootstrap in 27 draws one curve three times: 3.7%
    assert high == pytest.approx([2, 8])


def test_a_performance_profile_is_the_share_above_each_threshold():
    share, low, high = performance_profile(SCORES, np.array([0.5, 1.5, 2.5]))
    assert share == pytest.approx([1, 0.5, 0])
    assert (low <= share).all()
    assert (high >= share).all()


def test_sixteen_or_so_seeds_see_15_percent_where_the_spread_is_15_percent():
    # Lehr's rule: 16 * (spread / difference)^2, and one more as the spread is estimated.
    scores = np.array([1700.0, 2000.0, 2300.0])  # standard deviation 300, a difference of 300
    assert seeds_needed(scores, scores) == 17
    assert seeds_needed(scores, scores, share=0.3) < 7
    assert seeds_needed(scores, scores, level=0.99) > 17
    assert seeds_needed(scores[:1], scores) is None


def test_games_with_more_seeds_than_others_count_with_the_first_ones():
    style = Style("#000000", "-", "o")
    arm = ArmOverGames("a", style, {"Pong": np.array([1.0, 2.0, 9.0]), "Qbert": np.ones(2)})
    assert arm.matrix.tolist() == [[1, 1], [2, 1]]
