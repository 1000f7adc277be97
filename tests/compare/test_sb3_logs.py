import json
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_run
from games import WhereIsTheSquare
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

from rl_coordconv.compare.comparison import compare
from rl_coordconv.compare.find import find_runs

# As rl-zoo3 writes it: a tagged Python OrderedDict.
ZOO_ARGS = """!!python/object/apply:collections.OrderedDict
- - - algo
    - a2c
  - - env
    - MsPacmanNoFrameskip-v4
  - - seed
    - 2938
"""


def write_monitor(folder, lengths, scores, env_id="MsPacmanNoFrameskip-v4", name="0", start=0.0):
    folder.mkdir(parents=True, exist_ok=True)
    times = np.cumsum(lengths) / 1000
    rows = [f"{r},{n},{t}" for r, n, t in zip(scores, lengths, times, strict=True)]
    head = "#" + json.dumps({"t_start": start, "env_id": env_id})
    (folder / f"{name}.monitor.csv").write_text("\n".join([head, "r,l,t", *rows, ""]))


def write_events(folder, scores, tag="rollout/ep_rew_mean"):
    folder.mkdir(parents=True, exist_ok=True)
    writer = EventFileWriter(str(folder))
    for index, score in enumerate(scores):
        value = Summary.Value(tag=tag, simple_value=score)
        event = Event(step=1000 * (index + 1), wall_time=1.7e9 + index)
        event.summary.CopyFrom(Summary(value=[value]))
        writer.add_event(event)
    writer.close()
    (path,) = folder.glob("events.*")
    return path


def only(root):
    (run,) = find_runs([root]).runs
    return run


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory):
    """The logs of a run of plain Stable-Baselines3."""
    folder = tmp_path_factory.mktemp("plain") / "colleague" / "Pong"
    env = make_vec_env(WhereIsTheSquare, 2, monitor_dir=str(folder / "monitor"))
    small = {"features_extractor_kwargs": {"features_dim": 8}}
    tb = str(folder / "tb")
    model = A2C("CnnPolicy", env, n_steps=8, policy_kwargs=small, tensorboard_log=tb, device="cpu")
    evaluation_env = make_vec_env(WhereIsTheSquare)
    log = str(folder / "eval")
    evaluation = EvalCallback(
        evaluation_env, n_eval_episodes=2, eval_freq=32, log_path=log, verbose=0
    )
    model.learn(160, callback=evaluation, log_interval=2)
    env.close()
    model.logger.close()
    return folder


def test_a_run_of_stable_baselines3_is_compared_with_one_of_this_package(plain_run, tmp_path):
    write_run(tmp_path, "coordconv", game="Pong", games=40)
    comparison, *others = compare(find_runs([tmp_path, plain_run.parent]).runs)
    assert not others
    assert [variant.name for variant in comparison.variants] == ["coordconv", "colleague"]
    (run,) = comparison.variants[1].runs
    assert (run.algorithm, run.game, run.protocol) == ("a2c", "Pong", "unknown")
    assert len(run.returns) > 100
    assert run.steps[-1] == pytest.approx(160, rel=0.05)
    assert run.evaluation_steps[-1] == 128
    assert run.hours[-1] > 0
    assert "assumed to be steps, judging by the last step of the other logs" in " ".join(run.notes)


def test_game_algorithm_and_seed_are_read_from_a_folder_of_rl_zoo3(tmp_path):
    folder = tmp_path / "logs" / "a2c" / "MsPacmanNoFrameskip-v4_1"
    write_monitor(folder, [400, 800], [100, 300])
    write_monitor(folder, [600], [200], name="1")
    (folder / "MsPacmanNoFrameskip-v4").mkdir()
    (folder / "MsPacmanNoFrameskip-v4" / "args.yml").write_text(ZOO_ARGS)
    np.savez(folder / "evaluations.npz", timesteps=[100, 450], results=[[1, 2], [150, 250]])
    run = only(tmp_path / "logs")
    assert (run.algorithm, run.game, run.protocol) == ("a2c", "MsPacman", "classic")
    assert (run.variant, run.seed) == ("sb3", "2938")
    # The games have 400, 600 and 800 frames, in the order in which they ended.
    assert run.steps.tolist() == [100, 250, 450]
    assert run.returns.tolist() == [100, 200, 300]
    assert run.evaluation_score(450) == 200


def test_two_runs_of_rl_zoo3_are_two_seeds_of_one_variant(tmp_path):
    for number in 1, 2:
        folder = tmp_path / "logs" / "ppo" / f"PongNoFrameskip-v4_{number}"
        write_monitor(folder, [400] * 5, [number] * 5, env_id="None")
    ((comparison,), runs) = (compare(find_runs([tmp_path]).runs), find_runs([tmp_path]).runs)
    assert {run.seed for run in runs} == {"PongNoFrameskip-v4_1", "PongNoFrameskip-v4_2"}
    assert (comparison.algorithm, comparison.game) == ("ppo", "Pong")
    assert len(comparison.variants[0].runs) == 2


def test_a_run_with_only_a_running_mean_has_a_note(tmp_path):
    write_events(tmp_path / "tb" / "PPO_1" / "Breakout", [1.0, 2.0, 4.0])
    run = only(tmp_path)
    assert (run.algorithm, run.game) == ("ppo", "Breakout")
    assert run.returns.tolist() == [1, 2, 4]
    assert run.final_score(run.last_step) == 4
    assert "a running mean of 100 games" in run.notes[0]


def test_a_truncated_event_file_is_read_up_to_its_end(tmp_path):
    path = write_events(tmp_path / "a2c" / "Pong", range(10))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    returns = only(tmp_path).returns.tolist()
    assert 2 < len(returns) < 10
    assert returns == list(range(len(returns)))


def test_an_event_file_of_noise_is_left_out_and_reported(tmp_path):
    write_run(tmp_path)
    path = write_events(tmp_path / "a2c" / "Pong", range(10))
    path.write_bytes(b"\x07" * 500)
    (left_out,) = find_runs([tmp_path]).left_out
    assert left_out == (path.parent, "none of its logs contains a score yet")


def test_a_run_with_only_evaluations_is_scored_by_them(tmp_path):
    folder = tmp_path / "dqn" / "Pong"
    folder.mkdir(parents=True)
    np.savez(folder / "evaluations.npz", timesteps=[10, 20], results=[[1.0, 3.0], [5.0, 9.0]])
    run = only(tmp_path)
    assert (run.algorithm, run.final_score(20)) == ("dqn", 7)
    assert "there are no training games" in run.notes[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evaluations.npz", b"PK no more"),
        ("evaluations.npz", b"PK\x03\x04, but torn"),
        ("0.monitor.csv", b"#{broken\nr,l,t\n"),
    ],
)
def test_a_damaged_log_is_left_out_and_reported(tmp_path, name, content):
    write_run(tmp_path)
    folder = tmp_path / "a2c" / "Qbert"
    folder.mkdir()
    (folder / name).write_bytes(content)
    assert find_runs([tmp_path]).left_out == ((folder, f"{name} is damaged"),)


def test_different_kinds_of_logs_in_subfolders_are_one_run_and_equal_kinds_are_not(tmp_path):
    one = tmp_path / "one" / "a2c" / "Pong"
    write_monitor(one, [10, 10], [1, 2], env_id="None")
    write_events(one / "tb" / "A2C_1", [1.0])
    assert only(tmp_path / "one").window == 100
    several = tmp_path / "several" / "a2c" / "Pong"
    for number in 1, 2:
        write_events(several / f"A2C_{number}", [1.0 * number])
    assert len(find_runs([tmp_path / "several"]).runs) == 2


def test_tensorboard_logs_of_runs_with_monitors_do_not_count_as_seeds(tmp_path):
    for number in 1, 2:
        write_monitor(tmp_path / "logs" / "a2c" / f"Pong_{number}", [10], [number], "Pong-v4")
        write_events(tmp_path / "tb" / "Pong" / f"a2c_{number}", [1.0 * number])
    found = find_runs([tmp_path])
    assert len(found.runs) == 2
    assert ["it has no games" in reason for _, reason in found.left_out] == [True, True]


@pytest.mark.parametrize("name", ["logs", "a2c", "Pong", "PongNoFrameskip-v4_1", "nature"])
def test_a_folder_whose_name_names_no_variant_is_called_sb3(tmp_path, name):
    write_monitor(tmp_path / name, [10, 10], [1, 2])
    assert only(tmp_path / name).variant == "sb3"


def test_scalars_that_are_stored_as_tensors_are_read(tmp_path):
    folder = tmp_path / "a2c" / "Pong"
    folder.mkdir(parents=True)
    writer = EventFileWriter(str(folder))
    event = Event(step=7, wall_time=1.7e9)
    value = event.summary.value.add(tag="rollout/ep_rew_mean")
    value.tensor.CopyFrom(tensor_util.make_tensor_proto(np.float32(3.5)))
    writer.add_event(event)
    writer.close()
    assert only(tmp_path).returns.tolist() == [3.5]


def test_the_game_is_read_from_a_monitor_and_the_algorithm_may_be_unknown(tmp_path):
    write_monitor(tmp_path / "x", [10, 10], [1, 2], env_id="CartPole-v1")
    assert (only(tmp_path).game, only(tmp_path).algorithm) == ("CartPole", "unknown")


def test_runs_below_another_programs_config_are_found(tmp_path):
    (tmp_path / "config.yaml").write_text("hydra: {}\n")
    write_monitor(tmp_path / "logs" / "a2c" / "PongNoFrameskip-v4_1", [100] * 5, [1] * 5)
    assert only(tmp_path).algorithm == "a2c"


def test_names_are_found_if_the_root_is_the_current_folder(tmp_path, monkeypatch):
    folder = tmp_path / "ppo" / "Pong_1"
    write_monitor(folder, [100] * 5, [1] * 5, env_id="")
    monkeypatch.chdir(folder)
    run = only(Path())
    assert (run.algorithm, run.game, run.seed) == ("ppo", "Pong", "Pong_1")
