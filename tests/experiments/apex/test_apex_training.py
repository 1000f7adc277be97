"""Training through the script's main function, on RLlib."""

import pytest
import torch
import yaml
from apex_runs import column, train
from stable_baselines3 import DQN
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl_coordconv.compare.find import find_runs
from rl_coordconv.experiments.apex.config import ApexConfig
from rl_coordconv.runs.folder import Run
from scripts import GAME_RUN_FILES, run_script

# Of RLlib and Ray.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


class TestRun:
    @pytest.fixture(scope="class")
    def run(self, cluster, tmp_path_factory) -> Run:
        folder = tmp_path_factory.mktemp("apex")
        settings = {"num_env_runners": 1, "eval_freq": 24, "save_freq": 16, "env": "Klax"}
        return train(folder, total_timesteps=32, **settings)

    def test_has_the_files_of_a_run_folder(self, run):
        names = {path.name for path in run.folder.iterdir()}
        assert names >= GAME_RUN_FILES
        assert run.folder.parts[-4:-2] == ("apex", "Klax")
        assert [path.stem for path in run.saved] == ["step-0000000032", "step-0000000024"]

    def test_stores_every_setting(self, run):
        stored = yaml.safe_load(run.config.read_text())
        assert stored.keys() == ApexConfig.model_fields.keys()
        assert stored["replay_alpha"] == 0.6

    def test_logs_each_step_once_and_learns_after_the_first_steps(self, run):
        assert column(run.progress, "step") == [8, 16, 24, 32]
        assert column(run.progress, "updates") == [0, 1, 2, 3]
        assert column(run.evaluations, "step") == [24, 32]
        scores = column(run.evaluations, "episode_return")
        assert column(run.progress, "eval/mean_reward") == scores

    def test_shows_in_tensorboard_what_a2c_shows(self, run):
        events = EventAccumulator(str(run.folder))
        events.Reload()
        assert set(events.Tags()["scalars"]) >= {
            "time/steps_per_second",
            "train/learning_rate",
            "train/loss",
            "eval/mean_reward",
            "eval/mean_ep_length",
            "coord/weight_share/cnn.0",
        }
        assert events.Tags()["images"] == ["coord/positional_map/cnn.0"]

    def test_has_an_agent_that_stable_baselines3_loads(self, run):
        agent = DQN.load(run.final_model, device="cpu")
        assert agent.num_timesteps == 32
        weights = torch.load(run.saved[0], weights_only=True)["learner"]["rl_module"]
        trained = weights["default_policy"]["network.head.value.0.weight"]
        assert torch.equal(agent.policy.q_net.q_net.value[0].weight, trained)

    def test_is_evaluated_like_the_others(self, run):
        assert run_script("evaluate", run.folder, "--episodes", 1, "--device", "cpu") == 0
        assert column(run.evaluations, "step") == [24, 32, 32]

    def test_is_extended_with_an_empty_buffer(self, run, cluster, capsys):
        folder = run.folder.parents[3]
        settings = {"num_env_runners": 1, "eval_freq": 0, "save_freq": 16, "env": "Klax"}
        train(folder, total_timesteps=64, **settings)
        out = capsys.readouterr().out
        assert "Extending the run from 32 to 64 steps." in out
        assert "from step 32, with an empty buffer" in out
        assert column(run.progress, "step") == [8, 16, 24, 32, 40, 48, 56, 64]
        assert column(run.progress, "updates") == [0, 1, 2, 3, 3, 4, 5, 6]
        train(folder, total_timesteps=64, **settings)
        assert "is already finished" in capsys.readouterr().out
        weights = torch.load(run.saved[0], weights_only=True)["learner"]["optimizer"]
        (optimizer,) = weights.values()
        steps = {int(state["step"]) for state in optimizer["state"]["state"].values()}
        assert steps == {6}  # Adam's state was restored


def test_games_are_logged_with_their_raw_scores(cluster, tmp_path):
    settings = {"env": "Klax", "n_envs": 4, "rollout_steps": 50, "learning_starts": 900}
    run = train(tmp_path, total_timesteps=1000, **settings)
    frames = column(run.episodes, "length_frames")
    assert frames
    assert all(count > 200 for count in frames)
    steps = column(run.episodes, "step")
    assert steps == sorted(steps)
    assert column(run.progress, "rollout/ep_rew_mean")
    (found,) = find_runs([tmp_path]).runs  # as compare.py does
    assert (found.algorithm, found.game) == ("apex", "Klax")
    assert list(found.returns) == column(run.episodes, "episode_return")
