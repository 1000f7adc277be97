"""The settings of a training on Atari; ``configs/a2c.yaml`` and ``ppo.yaml`` have the values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from rl_coordconv.envs.games import Backend, Protocol, game_name
from rl_coordconv.names import NAMES, Precision, find_by_name
from rl_coordconv.runs.config import (
    Config,
    Count,
    NonNegativeFloat,
    NonNegativeInt,
    Positive,
    SmallCount,
)

Fraction = Annotated[float, Field(ge=0, le=1)]
Schedule = Literal["constant", "linear"]

ALGORITHMS = ("a2c", "dqn", "ppo", "qrdqn")
"""The algorithms whose agents can be evaluated."""


class AtariConfig(Config):
    """The settings that A2C and PPO share. Steps are agent steps, of four emulator frames each."""

    unit = "steps"
    length_setting = "total_timesteps"
    folder_settings = frozenset({"extractor", "env"})

    extractor: str = Field(description=f"network, with or without coordinates: {', '.join(NAMES)}")
    env: str = Field(description="game, as MsPacman, ms_pacman or ALE/MsPacman-v5")
    n_envs: SmallCount = Field(description="games played at once")
    total_timesteps: Count = Field(description="length of the training, in steps over all games")
    protocol: Protocol = Field(
        description="classic: a lost life ends an episode; sticky: actions stick, p = 0.25, and "
        "only game over ends one (Machado et al. 2018)"
    )
    backend: Backend = Field(
        description="emulation in C++ threads, or by the wrappers of Stable-Baselines3"
    )
    precision: Precision = Field(description="type that the image network computes in")
    eval_freq: NonNegativeInt = Field(description="steps between evaluations; 0: none")
    eval_episodes: Count = Field(description="whole games per evaluation")
    log_interval: Count = Field(description="updates between rows of the log")
    n_steps: Count = Field(description="steps per game between updates")
    learning_rate: Positive = Field(description="step size of the optimiser, at the start")
    learning_rate_schedule: Schedule = Field(description="constant, or linear down to 0")
    gamma: Fraction = Field(description="discount per step")
    gae_lambda: Fraction = Field(description="lambda of the advantage estimate; 1 disables GAE")
    ent_coef: NonNegativeFloat = Field(description="weight of the entropy bonus")
    vf_coef: NonNegativeFloat = Field(description="weight of the value loss")
    max_grad_norm: Positive = Field(description="gradients are clipped to this norm")

    @property
    def folder(self) -> Path:
        """``<log_dir>/a2c/MsPacman/coordconv/seed-0``."""
        variant = self.variant(self.extractor)
        return Path(self.log_dir, self.experiment, self.env, variant, f"seed-{self.seed}")

    @property
    def score(self) -> str:
        """The mean score of the last 100 training games."""
        return "rollout/ep_rew_mean"

    @field_validator("extractor")
    @classmethod
    def _known_extractor(cls, name: str) -> str:
        find_by_name(name, NAMES)
        return name

    @field_validator("env")
    @classmethod
    def _known_game(cls, name: str) -> str:
        return game_name(name)


class A2CConfig(AtariConfig):
    """Settings of A2C (Mnih et al. 2016)."""

    experiment: Literal["a2c"] = "a2c"

    rms_prop_eps: Positive = Field(description="epsilon of RMSProp, inside the root")


class PPOConfig(AtariConfig):
    """Settings of PPO (Schulman et al. 2017)."""

    experiment: Literal["ppo"] = "ppo"

    batch_size: Annotated[int, Field(ge=2)] = Field(description="samples per gradient step")
    n_epochs: Count = Field(description="passes over each rollout")
    clip_range: Positive = Field(description="clipping of the probability ratio, at the start")
    clip_range_schedule: Schedule = Field(description="constant, or linear down to 0")

    @model_validator(mode="after")
    def _whole_batches(self) -> Self:
        rollout = self.n_envs * self.n_steps
        if rollout % self.batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} must divide n_envs * n_steps = {rollout}."
            )
        return self
