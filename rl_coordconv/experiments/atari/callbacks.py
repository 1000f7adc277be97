"""What happens beside the training: logging, evaluation, checkpoints, the progress bar."""

from __future__ import annotations

import math
import time
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import HParam, Image
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from rl_coordconv.experiments.atari.checkpoint import save_checkpoint, tensorboard_writer
from rl_coordconv.experiments.atari.config import AtariConfig
from rl_coordconv.networks import coordconv_layers
from rl_coordconv.runs.checkpoint import State, environment_seed, rng_untouched
from rl_coordconv.runs.console import Bar
from rl_coordconv.runs.files import CsvLog, atomic_write
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.signals import Stopped, StopSignals

EVALUATION_COLUMNS = (
    *("step", "game", "episode_return", "length_frames"),
    *("protocol", "policy", "seed"),
)
"""Of ``evaluations.csv``; an evaluation during training has no seed of its own."""

_EVALUATION = 1  # keeps evaluation games apart from the training games of the same run


def passed(every: int, last_step: int, step: int) -> bool:
    """Whether a multiple of ``every`` lies past ``last_step``, up to ``step``; never for 0."""
    return every > 0 and step // every > last_step // every


class _BetweenRollouts(BaseCallback):
    """Works before and after rollouts only; Stable-Baselines3 demands a method for steps too."""

    def _on_step(self) -> bool:
        return True


class EpisodeLog(BaseCallback):
    """Every finished game: a row in ``episodes.csv`` and two points in TensorBoard."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def _on_training_start(self) -> None:
        columns = ("step", "wall_time", "episode_return", "length_frames")
        self._csv = CsvLog(self._run.episodes, columns, keep_until=self.num_timesteps)
        self._writer = tensorboard_writer(self.logger)

    def _on_step(self) -> bool:
        if self.locals["dones"].any():
            for info in self.locals["infos"]:
                if "episode" in info:
                    self._write(info["episode"]["r"], info["episode"]["l"])
        return True

    def _write(self, episode_return: float, length_frames: int) -> None:
        step = self.num_timesteps
        self._csv.write(
            {
                "step": step,
                "wall_time": round(time.time(), 3),
                "episode_return": episode_return,
                "length_frames": length_frames,
            }
        )
        self._writer.add_scalar("raw/episode_return", episode_return, step)
        self._writer.add_scalar("raw/episode_length_frames", length_frames, step)


class SpeedLog(_BetweenRollouts):
    """``time/steps_per_second`` over the last ten seconds; ``time/fps`` is since the start."""

    def _on_training_start(self) -> None:
        self._marks = deque([(time.perf_counter(), self.num_timesteps)])

    def _on_rollout_end(self) -> None:
        now, step = time.perf_counter(), self.num_timesteps
        self._marks.append((now, step))
        while len(self._marks) > 2 and now - self._marks[1][0] > 10:
            self._marks.popleft()
        since, from_step = self._marks[0]
        self.logger.record("time/steps_per_second", (step - from_step) / (now - since))


class CoordinateLog(_BetweenRollouts):
    """How much each CoordConv layer relies on its coordinates.

    ``coord/weight_share/<layer>`` is their part of the weight's squared norm, from 0 to 1. It
    starts near 2/6 where two coordinates stand beside four frames.
    """

    def _on_rollout_end(self) -> None:
        extractor = self.model.policy.get_submodule("features_extractor")
        for name, layer in coordconv_layers(extractor, controls=True).items():
            with torch.no_grad():
                share = layer.split_weight()[1].square().sum() / layer.weight.square().sum()
            self.logger.record(f"coord/weight_share/{name}", share.item())


# The page of custom scalars: by section and chart, which curves of all runs to draw.
_CURVES = {
    "Score": {
        "mean of the last 100 training games": ["Multiline", ["rollout/ep_rew_mean"]],
        "mean of the evaluation games": ["Multiline", ["eval/mean_reward"]],
    },
    "Learning": {
        "entropy of the policy, negative": ["Multiline", ["train/entropy_loss"]],
        "explained variance of the value": ["Multiline", ["train/explained_variance"]],
        "share of the coordinates in the weights": ["Multiline", ["coord/weight_share/.*"]],
    },
    "Speed": {"steps per second": ["Multiline", ["time/steps_per_second"]]},
}


class ComparisonPages(_BetweenRollouts):
    """TensorBoard's pages that compare runs: HParams, and custom scalars for the main curves.

    HParams shows five settings of its own accord, so it gets what tells the arms apart, and the
    last scores beside it; ``config.yaml`` has every setting.
    """

    def __init__(self, config: AtariConfig) -> None:
        super().__init__()
        self._config = config

    def _on_training_start(self) -> None:
        config = self._config
        settings: dict[str, bool | str | float | None] = {
            "algorithm": config.experiment,
            "env": config.env,
            "extractor": config.extractor,
            "protocol": config.protocol,
            "seed": config.seed,
        }
        metrics = ("rollout/ep_rew_mean", "eval/mean_reward", "time/steps_per_second")
        hparams = HParam(settings, dict.fromkeys(metrics, 0.0))
        self.logger.record("hparams", hparams, exclude=("stdout", "log", "json", "csv"))
        tensorboard_writer(self.logger).add_custom_scalars(_CURVES)


class Evaluation(_BetweenRollouts):
    """Whole games with the stochastic policy, in environments and random numbers of their own."""

    def __init__(self, config: AtariConfig, run: Run, env: VecEnv, state: State) -> None:
        super().__init__()
        self.env = env
        self._config, self._run = config, run
        self._last_step = state.get("last_step", 0)
        self._best_return = state.get("best_return", -math.inf)

    @property
    def state(self) -> State:
        """What a checkpoint stores."""
        return {"last_step": self._last_step, "best_return": self._best_return}

    def _on_training_start(self) -> None:
        self._csv = CsvLog(self._run.evaluations, EVALUATION_COLUMNS, keep_until=self.num_timesteps)

    def _on_rollout_start(self) -> None:
        if passed(self._config.eval_freq, self._last_step, self.num_timesteps):
            self._evaluate()

    def _on_training_end(self) -> None:
        if self._config.eval_freq and self.num_timesteps > self._last_step:
            self._evaluate()

    def _evaluate(self) -> None:
        self._last_step = self.num_timesteps
        returns, lengths = self._play()
        for game, (episode_return, frames) in enumerate(zip(returns, lengths, strict=True)):
            self._csv.write(
                {
                    "step": self.num_timesteps,
                    "game": game,
                    "episode_return": episode_return,
                    "length_frames": frames,
                    "protocol": self._config.protocol,
                    "policy": "stochastic",
                    "seed": "training",
                }
            )
        mean = float(np.mean(returns))
        self.logger.record("eval/mean_reward", mean)
        self.logger.record("eval/std_reward", float(np.std(returns)))
        self.logger.record("eval/mean_ep_length", float(np.mean(lengths)))
        for name, image in positional_map_images(self.model).items():
            self.logger.record(f"coord/positional_map/{name}", Image(image, "HWC"), exclude="csv")
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)
        if mean > self._best_return:
            self._best_return = mean
            with atomic_write(self._run.best_model) as path:
                self.model.save(path)

    def _play(self) -> tuple[list[float], list[int]]:
        """Score and frames of each game."""
        seed = environment_seed(self._config.seed, self.num_timesteps, _EVALUATION)
        with rng_untouched():
            torch.manual_seed(seed)
            self.env.seed(seed)
            returns, lengths = evaluate_policy(
                self.model,
                self.env,
                self._config.eval_episodes,
                deterministic=False,
                return_episode_rewards=True,
            )
        assert isinstance(returns, list)
        assert isinstance(lengths, list)
        return returns, lengths


class Checkpoints(_BetweenRollouts):
    """Saves between updates, so that what is saved is whole, and stops the training on a signal."""

    def __init__(
        self,
        save_freq: int,
        run: Run,
        signals: StopSignals,
        evaluation: Evaluation,
        state: State,
    ) -> None:
        super().__init__()
        self._save_freq, self._run, self._signals = save_freq, run, signals
        self._evaluation = evaluation
        self._pending_log = state.get("pending_log", [])

    def _on_training_start(self) -> None:
        self._last_step = self.num_timesteps
        for name, value, excluded in self._pending_log:
            self.logger.record(name, value, excluded)

    def _on_rollout_start(self) -> None:
        if self._signals.received:
            self._save()
            raise Stopped(self._signals.received)
        if passed(self._save_freq, self._last_step, self.num_timesteps):
            self._save()

    def _save(self) -> None:
        self._last_step = self.num_timesteps
        # The last update's losses are logged after the next rollout.
        log = self.logger
        pending = [
            (name, float(value), log.name_to_excluded[name])
            for name, value in log.name_to_value.items()
            if isinstance(value, (int, float, np.number))
        ]
        save_checkpoint(self._run, self.model, {**self._evaluation.state, "pending_log": pending})


class ProgressBar(_BetweenRollouts):
    """Steps, speed, time left and the mean score of the last 100 games."""

    def __init__(self, total_timesteps: int, console: Console) -> None:
        super().__init__()
        self._total = total_timesteps
        self._bar = Bar(console, total_timesteps, "steps")

    def _on_training_start(self) -> None:
        self._bar.start(self.num_timesteps)

    def _on_rollout_end(self) -> None:
        games = self.model.ep_info_buffer
        score = f"{np.mean([game['r'] for game in games]):,.0f}" if games else "-"
        speed = f"{self._bar.speed:,.0f}" if self._bar.speed else "-"
        step = min(self.num_timesteps, self._total)
        self._bar.update(step, f"{speed} steps/s, score {score}")

    def close(self) -> None:
        """Leave the terminal in order."""
        self._bar.stop()


def positional_map_images(model: BaseAlgorithm) -> dict[str, NDArray[np.uint8]]:
    """What each CoordConv layer's coordinates do, as an image by the layer's name.

    An image ``[H, W, 3]`` is a sheet of tiles, one per filter: its positional map. White is 0; red
    adds to the filter's output there, blue takes away; full colour is the layer's largest value.
    """
    extractor = model.policy.get_submodule("features_extractor")
    layers = coordconv_layers(extractor, controls=True)
    sizes: dict[str, torch.Size] = {}  # of each layer's input, learnt from an empty image
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, inputs, name=name: sizes.update({name: inputs[0].shape[-2:]})
        )
        for name, layer in layers.items()
    ]
    with torch.no_grad():
        shape = model.policy.observation_space.shape
        assert shape is not None
        extractor(torch.zeros(1, *shape, device=model.device))
        for hook in hooks:
            hook.remove()
        return {n: _tiles(x.positional_map(sizes[n]).cpu()) for n, x in layers.items()}


def _tiles(maps: Tensor) -> NDArray[np.uint8]:
    """Maps ``[filters, h, w]`` -> a sheet of tiles ``[H, W, 3]``, blue to white to red."""
    maps = maps / maps.abs().max().clamp(min=1e-12)
    columns = math.ceil(math.sqrt(2 * len(maps)))
    maps = nn.functional.pad(maps, (0, 1, 0, 1, 0, -len(maps) % columns))  # lines and blank tiles
    sheet = torch.cat([torch.cat(list(row), dim=1) for row in maps.split(columns)])
    red, blue = sheet.relu(), (-sheet).relu()
    colours = torch.stack([1 - blue, 1 - red - blue, 1 - red], dim=-1)
    image: NDArray[np.uint8] = (colours * 255).byte().numpy()
    return image.repeat(4, axis=0).repeat(4, axis=1)
