"""Training of A2C and PPO on Atari games."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.utils import ConstantSchedule, LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from rl_coordconv.callbacks import CoordinateCallback
from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.experiments.atari.callbacks import Checkpoints, Evaluation, ProgressBar
from rl_coordconv.experiments.atari.checkpoint import load_checkpoint, make_logger
from rl_coordconv.experiments.atari.config import A2CConfig, AtariConfig, PPOConfig
from rl_coordconv.experiments.atari.logs import (
    ComparisonPages,
    EpisodeCallback,
    MoreRows,
    SpeedLog,
)
from rl_coordconv.experiments.atari.play import is_nan_output
from rl_coordconv.extractors import policy_kwargs
from rl_coordconv.runs.checkpoint import derived_seed, diverged
from rl_coordconv.runs.console import Bar, saving, summary
from rl_coordconv.runs.device import print_slow_precision, use_device
from rl_coordconv.runs.files import atomic_write, disk_errors
from rl_coordconv.runs.folder import Run, record_start
from rl_coordconv.runs.signals import StopSignals
from rl_coordconv.speedups.captured import CapturedA2C, CapturedPPO
from rl_coordconv.speedups.groups import GroupedVecEnv
from rl_coordconv.speedups.memory import keep_freed_memory
from rl_coordconv.speedups.optimizers import LightAdam, LightRMSpropTFLike
from rl_coordconv.speedups.policy import OrderedRolloutBuffer, ReuseCnnPolicy


def train(config: AtariConfig, run: Run, callbacks: Sequence[BaseCallback] = ()) -> None:
    """Train until ``total_timesteps``, from scratch or from the run's last checkpoint.

    Write only into the run folder. The state of the emulators is not saved: a resumed run begins
    new games, so it does not equal an uninterrupted run.

    Args:
        config: An `A2CConfig` or a `PPOConfig`.
        run: An open run folder.
        callbacks: Further callbacks. If one stops the training, the run is unfinished, and the same
            call resumes it.

    Raises:
        Stopped: SIGINT or SIGTERM was received; a checkpoint was saved first.
        UserError: A file could not be written, or the training diverged.
    """
    device = str(use_device(config.device, config.num_threads))
    print_slow_precision(run, device, config.precision)
    if device == "cpu":
        keep_freed_memory()
    graphs, n_groups = config.uses_cuda_graphs(device), config.number_of_groups(device)
    env = make_env(config, n_groups=n_groups)
    with disk_errors(run.folder), StopSignals(saving(run)) as signals:
        classes = pickled_classes(config, graphs=graphs)
        resumed = load_checkpoint(run, algorithm_of(config, graphs=graphs), env, device, classes)
        model, state = resumed or (make_model(config, env, device, graphs=graphs), {})
        console = Console(quiet=not run.verbose)
        bar = Bar(console, config.total_timesteps, "steps", model.num_timesteps)
        evaluation_env = make_env(config, training=False)
        evaluation = Evaluation(config, run, evaluation_env, signals, bar, state)
        record_start(run, device)  # write nothing before everything is set up
        env.seed(derived_seed(config.seed, model.num_timesteps))
        model.set_logger(make_logger(run, model.num_timesteps, state.get("last_step", 0)))
        facts = {"resuming": f"from step {model.num_timesteps:,}"} if resumed else {}
        facts["parameters"] = f"{sum(p.numel() for p in model.policy.parameters()):,}"
        facts["cuda_graphs_used"] = "yes" if graphs and device != "cpu" else "no"
        facts["env_groups_used"] = str(n_groups)
        console.print(summary(config, run, device_used=device, **facts))

        coordinates = CoordinateCallback(freq=1, maps=False)
        logs = [EpisodeCallback(run), SpeedLog(), coordinates, ComparisonPages(config)]
        checkpoints = Checkpoints(config.save_freq, run, signals, evaluation, state)
        last = [MoreRows(config), ProgressBar(bar, config.total_timesteps)]
        try:
            # If the training diverges, SB3's statistics would warn before the check reports it.
            with bar, np.errstate(over="ignore", invalid="ignore"):
                model.learn(
                    config.total_timesteps - model.num_timesteps,
                    [*logs, checkpoints, evaluation, *callbacks, *last],
                    log_interval=config.log_interval,
                    reset_num_timesteps=False,
                )
            checkpoints.save()  # including the last evaluation, for extending the run
        except ValueError as error:
            if is_nan_output(error):
                step = f"step {model.num_timesteps:,}"
                raise diverged(run, step, "the policy's output") from None
            raise
        finally:
            model.logger.close()
            env.close()
            evaluation.env.close()
        with atomic_write(run.final_model) as path:
            model.save(path)
        if model.num_timesteps >= config.total_timesteps:
            run.finish()


def load_model(config: AtariConfig, run: Run) -> A2C | PPO:
    """Return the final agent of a run."""
    return algorithm_of(config).load(
        run.final_model, device=config.device, custom_objects=pickled_classes(config)
    )


def algorithm_of(config: AtariConfig, *, graphs: bool = False) -> type[A2C] | type[PPO]:
    """Return the Stable-Baselines3 algorithm of a config, or its subclass with CUDA graphs."""
    if isinstance(config, A2CConfig):
        return CapturedA2C if graphs else A2C
    return CapturedPPO if graphs else PPO


def make_env(config: AtariConfig, *, training: bool = True, n_groups: int = 1) -> VecEnv:
    """Return the environments for training, or for evaluation on whole games.

    Args:
        config: The settings.
        training: Whether they are for training.
        n_groups: Number of groups that can step separately; 1 for plain environments.
    """
    n_envs = config.n_envs if training else min(config.n_envs, config.eval_episodes)
    n_threads = config.num_threads and max(1, config.num_threads // n_groups)
    groups = [
        make_atari_env(
            config.env,
            n_envs // n_groups,
            protocol=config.protocol,
            backend=config.backend,
            training=training,
            num_threads=n_threads,
        )
        for _ in range(n_groups)
    ]
    return GroupedVecEnv(groups) if n_groups > 1 else groups[0]


def make_model(config: AtariConfig, env: VecEnv, device: str, *, graphs: bool = False) -> A2C | PPO:
    """Return an untrained model with the settings of a config."""
    shared: dict[str, Any] = {
        "learning_rate": _schedule(config.learning_rate, config.learning_rate_schedule),
        "n_steps": config.n_steps,
        "gamma": config.gamma,
        "gae_lambda": config.gae_lambda,
        "ent_coef": config.ent_coef,
        "vf_coef": config.vf_coef,
        "max_grad_norm": config.max_grad_norm,
        "seed": config.seed,
        "device": device,
    }
    classes = pickled_classes(config, graphs=graphs)
    shared |= {name: classes[name] for name in ("policy_kwargs", "rollout_buffer_class")}
    policy = classes["policy_class"]
    if isinstance(config, PPOConfig):
        return (CapturedPPO if graphs else PPO)(
            policy,
            env,
            batch_size=config.batch_size,
            n_epochs=config.n_epochs,
            clip_range=_schedule(config.clip_range, config.clip_range_schedule),
            **shared,
        )
    return (CapturedA2C if graphs else A2C)(policy, env, **shared)


def network(config: AtariConfig, *, reuse: bool) -> dict[str, Any]:
    """Return the ``policy_kwargs`` of a config: the network and the optimiser.

    Args:
        config: The settings.
        reuse: Whether the policy is a `ReuseCnnPolicy`.
    """
    own: dict[str, Any] = {"features_extractor_kwargs": {"precision": config.precision}}
    if reuse:
        own["reuse_steps"] = config.n_steps
    if isinstance(config, A2CConfig):
        return policy_kwargs(
            config.extractor,
            # torch's RMSprop, with epsilon outside the root, is less stable (SB3's docs on A2C).
            optimizer_class=LightRMSpropTFLike,
            optimizer_kwargs={"eps": config.rms_prop_eps},
            **own,
        )
    return policy_kwargs(
        config.extractor,
        optimizer_class=LightAdam,
        optimizer_kwargs={"eps": 1e-5},  # as SB3 sets it for its default, Adam
        **own,
    )


def pickled_classes(config: AtariConfig, *, graphs: bool = False) -> dict[str, Any]:
    """Return the ``custom_objects`` for loading a model of any version of this package.

    A file refers to classes by module, and some have been moved or removed. They also differ with
    CUDA graphs, in which the reuse of a rollout's forward passes cannot be captured.
    """
    reuse = isinstance(config, A2CConfig) and not graphs
    return {
        "policy_class": ReuseCnnPolicy if reuse else ActorCriticCnnPolicy,
        "policy_kwargs": network(config, reuse=reuse),
        "rollout_buffer_class": OrderedRolloutBuffer if reuse else RolloutBuffer,
    }


def _schedule(start: float, kind: str) -> ConstantSchedule | LinearSchedule:
    return LinearSchedule(start, 0.0, 1.0) if kind == "linear" else ConstantSchedule(start)
