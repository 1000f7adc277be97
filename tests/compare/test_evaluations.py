"""Selection of the evaluation games of a run that count."""

import pytest

from rl_coordconv.compare.results import BrokenRun, read_run
from rl_coordconv.runs.stored import StoredRun

EPISODES = "step,wall_time,episode_return,length_frames\n1,1,10,600\n"
HEAD = "step,game,episode_return,length_frames,protocol,policy,seed,checkpoint\n"
FIVE = "".join(f"9,{i},{i},600,classic,stochastic,0,final\n" for i in range(5))


def evaluations(tmp_path, text: str) -> list[tuple[float, float]]:
    settings = {"experiment": "a2c", "env": "Pong", "extractor": "nature", "seed": 0}
    settings["protocol"] = "classic"
    tables = {"episodes": EPISODES, "evaluations": text}
    run = read_run(StoredRun(tmp_path, "a2c/Pong/nature/seed-0", settings, {}, tables))
    return list(zip(run.evaluation_steps, run.evaluation_returns, strict=True))


def test_games_of_the_best_agent_never_count(tmp_path):
    """At the step of the final agent, they counted as its games."""
    best = FIVE.replace("final", "best").replace("600", "700")
    assert evaluations(tmp_path, HEAD + FIVE + best) == [(9, score) for score in range(5)]
    assert evaluations(tmp_path, HEAD + best) == []


@pytest.mark.parametrize("checkpoint", ["step-0000000009", ""])
def test_games_of_one_agent_saved_twice_count_once(tmp_path, checkpoint):
    """The final agent equals the last checkpoint; older versions recorded no checkpoint."""
    again = FIVE.replace("final", checkpoint)
    assert evaluations(tmp_path, HEAD + FIVE + again) == [(9, score) for score in range(5)]
    other = again.replace(",0,600", ",10,600")  # one of them is another game
    assert len(evaluations(tmp_path, HEAD + FIVE + other)) == 6


def test_equal_games_of_one_evaluation_count_separately(tmp_path):
    equal = HEAD + 3 * "9,0,50,600,classic,stochastic,0,final\n"
    assert evaluations(tmp_path, equal) == [(9, 50)] * 3


def test_games_of_other_seeds_are_added(tmp_path):
    other = FIVE.replace("stochastic,0", "stochastic,1")
    assert len(evaluations(tmp_path, HEAD + FIVE + other)) == 10


def test_files_of_older_versions_are_read(tmp_path):
    assert evaluations(tmp_path, "step,episode_return\n9,50\n9,60\n") == [(9, 50), (9, 60)]


def test_a_damaged_file_is_reported(tmp_path):
    with pytest.raises(BrokenRun, match=r"evaluations\.csv is damaged"):
        evaluations(tmp_path, HEAD + "9,0,x,600,classic,stochastic,0,final\n")
