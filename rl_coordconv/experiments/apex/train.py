"""Training of prioritised DQN with RLlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from rich.console import Console
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import VecEnv

from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.experiments.apex.agent import load_weights, make_agent
from rl_coordconv.experiments.apex.config import ApexConfig
from rl_coordconv.experiments.apex.evaluation import Evaluation
from rl_coordconv.experiments.apex.logs import Logs
from rl_coordconv.experiments.apex.memory import check_memory
from rl_coordconv.runs.checkpoint import State, load_state, refuse_diverged, save_state
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.console import Bar, saving, summary
from rl_coordconv.runs.device import print_slow_precision, use_device
from rl_coordconv.runs.files import atomic_write, disk_errors
from rl_coordconv.runs.folder import Run, record_start
from rl_coordconv.runs.pace import is_due
from rl_coordconv.runs.signals import StopSignals

Callback = Callable[[int, dict[str, float]], object]
_KEYS = {"step", "updates", "evaluation", "learner"}  # of a checkpoint


def train(config: ApexConfig, run: Run, callbacks: Sequence[Callback] = ()) -> None:
    """Train until ``total_timesteps``, from scratch or from the run's last checkpoint.

    Write only into the run folder, and Ray's files into a temporary one. Neither the state of the
    emulators nor the replay buffer is saved: a resumed run begins new games and fills the buffer
    with ``learning_starts`` steps before it learns.

    Args:
        config: The settings.
        run: An open run folder.
        callbacks: Functions that are called with the step and the metrics of each evaluation.

    Raises:
        Stopped: SIGINT or SIGTERM was received; a checkpoint was saved first.
        UserError: RLlib is not installed, the cluster cannot be reached or is too small, the replay
            buffer does not fit, a file could not be written, or the training diverged.
    """
    algorithm = _import_rllib()
    check_memory(config)
    from rl_coordconv.experiments.apex.cluster import ray_cluster

    device = str(use_device(config.device, config.num_threads))
    print_slow_precision(run, device, config.precision)
    env = make_env(config)
    try:
        with (
            disk_errors(run.folder),
            StopSignals(saving(run)) as signals,
            ray_cluster(config.address),
        ):
            algorithm.check_size(config)
            _Training(config, run, algorithm, device, env, signals, callbacks).run()
    finally:
        env.close()


def load_model(config: ApexConfig, run: Run) -> DQN:
    """Return the final agent of a run, a DQN of Stable-Baselines3."""
    return DQN.load(run.final_model, device=config.device)


def make_env(config: ApexConfig) -> VecEnv:
    """Return the environments for evaluation on whole games."""
    return make_atari_env(
        config.env,
        min(config.eval_episodes, 16),
        protocol=config.protocol,
        training=False,
        num_threads=config.num_threads,
    )


def _import_rllib() -> ModuleType:
    """Return the module that needs RLlib.

    Raises:
        UserError: RLlib is not installed.
    """
    try:
        from rl_coordconv.experiments.apex import algorithm
    except ImportError as error:
        if (error.name or "").startswith("rl_coordconv"):
            raise
        raise UserError(
            f"Ape-X needs RLlib ({error}): pip install 'rl_coordconv[rllib]'."
        ) from None
    return algorithm


class _Training:
    """The loop of a training, between a running cluster and the run folder."""

    def __init__(
        self,
        config: ApexConfig,
        run: Run,
        algorithm: Any,
        device: str,
        env: VecEnv,
        signals: StopSignals,
        callbacks: Sequence[Callback],
    ) -> None:
        self._config, self._run, self._signals = config, run, signals
        self._algorithm, self._device, self._callbacks = algorithm, device, callbacks
        self._env = env
        self._agent = make_agent(config, env, device)

    def run(self) -> None:
        config, run, agent = self._config, self._run, self._agent
        state = load_state(run, torch.device("cpu"))
        if state and not state.keys() >= _KEYS:
            raise _other_version(run)
        self._step: int = state["step"] if state else 0
        self._updates: int = state["updates"] if state else 0
        self._apex = self._algorithm.Apex(
            config, self._device, agent.observation_space, agent.action_space, self._step
        )
        try:
            if state:
                self._restore(state["learner"])
            record_start(run, self._device)  # write nothing before all is set up
            console = Console(quiet=not run.verbose)
            console.print(self._summary(state))
            self._bar = Bar(console, config.total_timesteps, "steps", self._step)
            evaluated = state["evaluation"] if state else {}
            self._evaluation = Evaluation(
                config, run, self._env, self._signals, self._bar, self._step, evaluated
            )
            kept = evaluated.get("last_step", 0)
            with self._bar, Logs(config, run, self._step, kept) as self._logs:
                self._loop()
        finally:
            self._apex.close()
        with atomic_write(run.final_model) as path:
            agent.save(path)
        run.finish()

    def _restore(self, learner: State) -> None:
        # RLlib would ignore that weights are missing.
        if _shapes(learner) != _shapes(self._apex.state()):
            raise _other_version(self._run)
        self._apex.restore(learner)

    def _summary(self, state: State | None) -> Any:
        facts = {"resuming": f"from step {self._step:,}, with an empty buffer"} if state else {}
        parameters = sum(p.numel() for p in self._agent.policy.q_net.parameters())
        return summary(
            self._config,
            self._run,
            device_used=self._device,
            parameters=f"{parameters:,}",
            samples_per_step=f"{self._apex.replay_ratio:.3g}",
            **facts,
        )

    def _loop(self) -> None:
        config, saved = self._config, self._step if self._run.saved else None
        while True:
            is_last = self._step >= config.total_timesteps
            evaluates = self._evaluation.is_due(self._step, is_last)
            saves = saved is None or is_due(config.save_freq, saved, self._step)
            # Save before an evaluation, so that a resumed run repeats an interrupted one.
            if saves or evaluates or is_last or self._signals.received:
                self._save()
                saved = self._step
            self._signals.stop()
            if evaluates:
                metrics = self._evaluation.run(self._agent)
                self._logs.write_evaluation(self._step, self._updates, metrics, self._agent)
                for callback in self._callbacks:
                    callback(self._step, metrics)
            if is_last:
                break
            self._round()
        if evaluates:
            self._save()

    def _round(self) -> None:
        """Play and learn for one round, and log it."""
        done = self._apex.train()
        self._step += done.steps
        self._updates += done.updates
        self._logs.write_round(self._step, self._updates, done.games, done.metrics, self._weights)
        self._bar.update(min(self._step, self._config.total_timesteps), self._logs.note)

    def _weights(self) -> DQN:
        """Return the agent with the present weights."""
        load_weights(self._agent, self._apex.weights(), self._step)
        return self._agent

    def _save(self) -> None:
        agent, step = self._weights(), f"step {self._step:,}"
        refuse_diverged(self._run, step, agent.policy.q_net, self._logs.losses)
        state: State = {
            "step": self._step,
            "updates": self._updates,
            "evaluation": self._evaluation.state,
            "learner": self._apex.state(),
        }
        save_state(self._run, self._step, state)


def _shapes(learner: State) -> dict[tuple[str, str], torch.Size]:
    """Return the shapes of the weights in what `Apex.state` returned."""
    modules = learner.get("rl_module", {}).items()
    return {(name, x): values[x].shape for name, values in modules for x in values}


def _other_version(run: Run) -> UserError:
    return UserError(
        f"The checkpoint {run.saved[0]} is of another version of rl_coordconv or RLlib; resume"
        " with that version, or start over with --overwrite."
    )
