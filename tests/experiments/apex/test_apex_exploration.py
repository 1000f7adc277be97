"""The exploration rates of Ape-X's actors."""

import pytest

from rl_coordconv.experiments.apex.exploration import exploration_ladder, runner_ladder


def test_the_ladder_of_eight_actors_has_the_exponents_1_to_8():
    by_hand = [0.4, 0.16, 0.064, 0.0256, 0.01024, 0.004096, 0.0016384, 0.00065536]
    assert exploration_ladder(8) == pytest.approx(by_hand)


@pytest.mark.parametrize("n_actors", [2, 3, 360])
def test_the_ladder_is_from_0_4_to_its_eighth_power(n_actors):
    ladder = exploration_ladder(n_actors)
    assert len(ladder) == n_actors
    assert (ladder[0], ladder[-1]) == pytest.approx((0.4, 0.4**8))
    assert ladder == sorted(ladder, reverse=True)


def test_a_single_actor_explores_as_the_first():
    assert exploration_ladder(1) == [0.4]


def test_the_games_of_all_runners_make_one_ladder():
    parts = [runner_ladder(runner, 4, 2) for runner in (1, 2, 3, 4)]
    assert [rate for part in parts for rate in part] == exploration_ladder(8)


def test_the_main_process_has_the_whole_ladder_without_runners():
    assert runner_ladder(0, 0, 8) == exploration_ladder(8)
