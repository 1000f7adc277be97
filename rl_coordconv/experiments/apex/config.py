"""The settings of Ape-X; their defaults are in ``configs/apex.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from rl_coordconv.envs.config import PROTOCOL_HELP, GameConfig
from rl_coordconv.envs.games import Protocol
from rl_coordconv.names import Precision
from rl_coordconv.runs.config import Count, NonNegativeInt, Positive, SmallCount
from rl_coordconv.runs.presets import PRESET_HELP, Preset, WithPresets

Fraction = Annotated[float, Field(ge=0, le=1)]
Runners = Annotated[int, Field(ge=0, le=4096)]

FRAME_STACK_BYTES = 4 * 84 * 84
"""Memory of one step in the replay buffer."""


class ApexConfig(WithPresets, GameConfig):
    """Settings of prioritised DQN with many environment runners (Horgan et al. 2018)."""

    folder_settings = GameConfig.folder_settings | {"preset"}

    experiment: Literal["apex"] = "apex"

    preset: Preset = Field(description=PRESET_HELP)
    num_env_runners: Runners = Field(
        description="Ray processes that play; 0 plays in the main process"
    )
    n_envs: SmallCount = Field(description="parallel games of each environment runner")
    num_learners: Runners = Field(
        description="Ray processes that learn; 0 learns in the main process"
    )
    address: str = Field(
        description="Ray cluster: local starts one for this run; auto, or host:port, uses another"
    )
    total_timesteps: Count = Field(description="training steps, summed over all games")
    protocol: Protocol = Field(description=PROTOCOL_HELP)
    precision: Precision = Field(description="floating-point type of the image network")
    hidden: SmallCount = Field(description="units in the hidden layer of each dueling stream")
    eval_freq: NonNegativeInt = Field(description="steps between evaluations; 0 disables them")
    eval_episodes: Count = Field(description="whole games per evaluation")
    eval_epsilon: Fraction = Field(description="share of random actions in an evaluation")
    log_interval: Count = Field(description="steps between rows of progress.csv")
    rollout_steps: Count = Field(description="steps of each game between two rounds of updates")
    replay_ratio: Positive = Field(description="samples to train on per step")
    learning_starts: Count = Field(description="steps before the first update, at each start")
    batch_size: Annotated[int, Field(ge=2, le=65536)] = Field(description="samples per update")
    n_step: Annotated[int, Field(ge=1, le=100)] = Field(description="steps of an n-step return")
    gamma: Fraction = Field(description="discount factor per step")
    learning_rate: Positive = Field(description="learning rate")
    adam_eps: Positive = Field(description="epsilon of Adam")
    max_grad_norm: Positive = Field(description="maximum norm of the gradient, for clipping")
    target_update_interval: Count = Field(description="updates between target-network updates")
    replay_size: Count = Field(description="steps in the replay buffer, of 28 KB each")
    replay_alpha: Fraction = Field(description="exponent of the priorities; 0 samples uniformly")
    replay_beta: Fraction = Field(description="exponent of the importance-sampling weights")

    @property
    def folder(self) -> Path:
        """The run folder, such as ``<log_dir>/apex/MsPacman/coordconv-quick/seed-0``."""
        name = f"{self.extractor}-quick" if self.preset == "quick" else self.extractor
        return Path(
            self.log_dir, self.experiment, self.env, self.variant(name), f"seed-{self.seed}"
        )

    @property
    def algorithm(self) -> str:
        """Stable-Baselines3's name of the algorithm that the agent is saved as."""
        return "dqn"

    @property
    def n_actors(self) -> int:
        """Number of games that are played at once."""
        return max(self.num_env_runners, 1) * self.n_envs

    @property
    def round_steps(self) -> int:
        """Steps of all games between two rounds of updates."""
        return self.n_actors * self.rollout_steps

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        if self.rollout_steps < self.n_step:
            raise ValueError(
                f"rollout_steps {self.rollout_steps} must be at least n_step {self.n_step}."
            )
        if self.batch_size % max(self.num_learners, 1):
            raise ValueError(
                f"num_learners {self.num_learners} must divide batch_size {self.batch_size}."
            )
        if self.learning_starts > self.replay_size:
            raise ValueError(
                f"learning_starts {self.learning_starts} must be at most replay_size"
                f" {self.replay_size}."
            )
        return self
