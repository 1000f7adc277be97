"""The settings of A2C and PPO on Atari; their defaults are in ``configs/``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from rl_coordconv.envs.config import PROTOCOL_HELP, GameConfig
from rl_coordconv.envs.games import Backend, Protocol
from rl_coordconv.names import Precision
from rl_coordconv.runs.config import (
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


class AtariConfig(GameConfig):
    """Settings that A2C and PPO share."""

    n_envs: SmallCount = Field(description="number of parallel environments")
    total_timesteps: Count = Field(description="training steps, summed over all environments")
    protocol: Protocol = Field(description=PROTOCOL_HELP)
    backend: Backend = Field(
        description="native: ALE in C++ threads; sb3: the wrappers of Stable-Baselines3"
    )
    precision: Precision = Field(description="floating-point type of the image network")
    # These have a default here for runs that are older than them.
    cuda_graphs: Literal["auto", "on", "off"] = Field(
        "off",
        description="keep rollouts on the GPU, and replay inference and updates as CUDA graphs;"
        " auto: on a GPU; on a CPU, on runs the same code without graphs",
    )
    env_groups: Annotated[int, Field(ge=0, le=64)] = Field(
        0,
        description="groups of environments, of which one plays while the actions of another are"
        " chosen; 0: two with CUDA graphs and at least 8 environments, else one",
    )
    eval_freq: NonNegativeInt = Field(description="steps between evaluations; 0 disables them")
    eval_episodes: Count = Field(description="whole games per evaluation")
    log_interval: Count = Field(description="updates between rows of progress.csv")
    n_steps: Count = Field(description="steps per environment and update")
    learning_rate: Positive = Field(description="initial learning rate")
    learning_rate_schedule: Schedule = Field(description="constant, or linear decay to 0")
    gamma: Fraction = Field(description="discount factor per step")
    gae_lambda: Fraction = Field(
        description="lambda of generalised advantage estimation; 1 disables GAE"
    )
    ent_coef: NonNegativeFloat = Field(description="weight of the entropy bonus")
    vf_coef: NonNegativeFloat = Field(description="weight of the value loss")
    max_grad_norm: Positive = Field(description="maximum norm of the gradient, for clipping")

    @field_validator("cuda_graphs", mode="before")
    @classmethod
    def _from_yaml(cls, value: object) -> object:
        # In YAML, on and off without quotes are booleans.
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _equal_groups(self) -> Self:
        if self.env_groups and self.n_envs % self.env_groups:
            raise ValueError(f"env_groups {self.env_groups} must divide n_envs = {self.n_envs}.")
        return self

    def uses_cuda_graphs(self, device: str) -> bool:
        """Return whether a training on a device uses `speedups.captured`."""
        if self.cuda_graphs == "auto":
            return device.startswith("cuda")
        return self.cuda_graphs == "on"

    def number_of_groups(self, device: str) -> int:
        """Return into how many groups a training on a device divides the environments."""
        if self.env_groups:
            return self.env_groups
        is_faster = device.startswith("cuda") and self.uses_cuda_graphs(device)
        is_large = self.n_envs >= 8 and self.n_envs % 2 == 0
        return 2 if is_faster and is_large and self.backend == "native" else 1


class A2CConfig(AtariConfig):
    """Settings of A2C (Mnih et al. 2016)."""

    experiment: Literal["a2c"] = "a2c"

    rms_prop_eps: Positive = Field(description="epsilon of RMSProp, inside the square root")


class PPOConfig(AtariConfig):
    """Settings of PPO (Schulman et al. 2017)."""

    experiment: Literal["ppo"] = "ppo"

    batch_size: Annotated[int, Field(ge=2)] = Field(description="samples per minibatch")
    n_epochs: Count = Field(description="passes over each rollout")
    clip_range: Positive = Field(description="initial clip range of the probability ratio")
    clip_range_schedule: Schedule = Field(description="constant, or linear decay to 0")

    @model_validator(mode="after")
    def _whole_batches(self) -> Self:
        rollout = self.n_envs * self.n_steps
        if rollout % self.batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} must divide n_envs * n_steps = {rollout}."
            )
        return self
