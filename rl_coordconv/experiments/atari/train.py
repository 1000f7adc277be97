"""Train A2C or PPO on an Atari game, from the start or from the run's last checkpoint."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import ConstantSchedule, LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.experiments.atari.callbacks import (
    Checkpoints,
    ComparisonPages,
    CoordinateLog,
    EpisodeLog,
    Evaluation,
    ProgressBar,
    SpeedLog,
)
from rl_coordconv.experiments.atari.checkpoint import load_checkpoint, make_logger
from rl_coordconv.experiments.atari.config import A2CConfig, AtariConfig, PPOConfig
from rl_coordconv.extractors import policy_kwargs
from rl_coordconv.runs.checkpoint import environment_seed
from rl_coordconv.runs.console import summary
from rl_coordconv.runs.device import use_device
from rl_coordconv.runs.files import atomic_write, disk_errors
from rl_coordconv.runs.folder import Run, record_start
from rl_coordconv.runs.signals import StopSignals
from rl_coordconv.speedups.memory import keep_freed_memory
from rl_coordconv.speedups.optimizers import LightAdam, LightRMSpropTFLike
from rl_coordconv.speedups.policy import OrderedRolloutBuffer, ReuseCnnPolicy

Model = A2C | PPO


def train(config: AtariConfig, run: Run) -> None:
    """Train until ``total_timesteps``; write only into the run's folder.

    The run goes on from its last checkpoint where there is one. What cannot be restored is the
    emulators' state: a resumed run begins new games, so it is as good as an uninterrupted one but
    not equal to it.

    Args:
        config: An `A2CConfig` or a `PPOConfig`.
        run: An open run folder.

    Raises:
        Stopped: SIGINT or SIGTERM came; a checkpoint was saved first.
        UserError: The disk could not be written.
    """
    device = str(use_device(config.device, config.num_threads))
    if device == "cpu":
        keep_freed_memory()
    env = make_env(config)
    with disk_errors(run.folder), StopSignals() as signals:
        record_start(run, device)
        model, state = load_checkpoint(run, algorithm(config), env, device) or (
            make_model(config, env, device),
            {},
        )
        env.seed(environment_seed(config.seed, model.num_timesteps))
        model.set_logger(make_logger(run, model.num_timesteps))
        console = Console()
        parameters = f"{sum(p.numel() for p in model.policy.parameters()):,}"
        resuming = {"resuming": f"from step {model.num_timesteps:,}"} if model.num_timesteps else {}
        console.print(summary(config, run, device_used=device, parameters=parameters, **resuming))

        logs = [EpisodeLog(run), SpeedLog(), CoordinateLog(), ComparisonPages(config)]
        evaluation = Evaluation(config, run, make_env(config, training=False), state)
        checkpoints = Checkpoints(config.save_freq, run, signals, evaluation, state)
        bar = ProgressBar(config.total_timesteps, console)
        # Checkpoints come after the evaluation whose state they store.
        callbacks: list[BaseCallback] = [*logs, evaluation, checkpoints, bar]
        try:
            model.learn(
                config.total_timesteps - model.num_timesteps,
                callbacks,
                log_interval=config.log_interval,
                reset_num_timesteps=False,
            )
        finally:
            bar.close()
            model.logger.close()
            env.close()
            evaluation.env.close()
        with atomic_write(run.final_model) as path:
            model.save(path)
        run.finish()


def algorithm(config: AtariConfig) -> type[Model]:
    """The Stable-Baselines3 class that a config is for."""
    return A2C if isinstance(config, A2CConfig) else PPO


def make_env(config: AtariConfig, *, training: bool = True) -> VecEnv:
    """The games to train on, or the whole games to evaluate on."""
    return make_atari_env(
        config.env,
        config.n_envs if training else min(config.n_envs, config.eval_episodes),
        protocol=config.protocol,
        backend=config.backend,
        training=training,
        num_threads=config.num_threads,
    )


def make_model(config: AtariConfig, env: VecEnv, device: str) -> Model:
    """A new model with the settings of a config."""
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
    network = {"features_extractor_kwargs": {"precision": config.precision}}
    if isinstance(config, PPOConfig):
        # Epsilon is that of Stable-Baselines3 for its default, Adam.
        optimizer = {"optimizer_class": LightAdam, "optimizer_kwargs": {"eps": 1e-5}}
        return PPO(
            "CnnPolicy",
            env,
            batch_size=config.batch_size,
            n_epochs=config.n_epochs,
            clip_range=_schedule(config.clip_range, config.clip_range_schedule),
            policy_kwargs=policy_kwargs(config.extractor, **network, **optimizer),
            **shared,
        )
    assert isinstance(config, A2CConfig)
    # torch's RMSprop, with epsilon outside the root, is less stable (Stable-Baselines3's A2C page).
    optimizer = {
        "optimizer_class": LightRMSpropTFLike,
        "optimizer_kwargs": {"eps": config.rms_prop_eps},
    }
    return A2C(
        ReuseCnnPolicy,
        env,
        rollout_buffer_class=OrderedRolloutBuffer,
        policy_kwargs=policy_kwargs(
            config.extractor, reuse_steps=config.n_steps, **network, **optimizer
        ),
        **shared,
    )


def _schedule(start: float, kind: str) -> ConstantSchedule | LinearSchedule:
    return LinearSchedule(start, 0.0, 1.0) if kind == "linear" else ConstantSchedule(start)
