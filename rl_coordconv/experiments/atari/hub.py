"""Export of a run to a folder for the Hugging Face Hub, with a model card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import yaml

from rl_coordconv.envs.play import Games
from rl_coordconv.experiments.atari.agents import load_agent
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.files import rows_until
from rl_coordconv.runs.shell import shell_command

_CARD = """---
library_name: stable-baselines3
tags: [deep-reinforcement-learning, reinforcement-learning, stable-baselines3, {env}, {extractor}]
model-index:
- name: {algorithm}
  results:
{results}
---

# {algorithm} on {env}, extractor {extractor}

Trained with Stable-Baselines3 and `rl_coordconv`, [CoordConv](https://arxiv.org/abs/1807.03247) for
reinforcement learning: {steps:,} steps, {frames:,} frames, {protocol} protocol, seed {seed}.

| protocol | actions | games | mean score | standard deviation | 95% CI of the mean |
|---|---|---|---|---|---|
{table}

Raw scores of whole games played by this agent. The interval does not cover other training seeds.

Loading the agent runs the pickled Python code in its file: load it only if you trust its author.
With `rl_coordconv` installed, and this repository in `FOLDER`:

```bash
rl-coordconv evaluate FOLDER                        # play more games
rl-coordconv train-{experiment} --config FOLDER/config.yaml  # train it again
```

Versions: {versions}.
"""

_RESULT = """\
  - task: {{type: reinforcement-learning, name: reinforcement-learning}}
    dataset: {{type: {env_id}, name: "{env}, {protocol} protocol, {policy} actions"}}
    metrics: [{{type: mean_reward, name: mean_reward, value: {mean:.2f} +/- {std:.2f}}}]"""

_ROW = "| {protocol} | {policy} | {games} | {mean:,.1f} | {std:,.1f} | {low:,.1f} to {high:,.1f} |"


def make_hub_folder(run_folder: Path, folder: Path) -> None:
    """Export a finished run of A2C or PPO to a new folder for the Hub.

    The folder contains the final agent, its settings and logs, the video if there is one, and a
    model card with the agent's scores from ``rl-coordconv evaluate``. It is also a run folder,
    which `load_agent` can load.

    Args:
        run_folder: The run folder.
        folder: The folder to create.

    Raises:
        UserError: There is no finished run, its agent was not evaluated, or ``folder`` exists.
    """
    agent = load_agent(run_folder, device="cpu")
    run, config, steps = agent.run, agent.config, agent.model.num_timesteps
    if run is None or config is None or agent.checkpoint != "final":
        raise UserError(f"{run_folder} is not the folder of a finished run.")
    scores: dict[tuple[str, str], list[float]] = {}  # by protocol and kind of actions
    for row in rows_until(run.evaluations, "step", steps):
        if row.get("checkpoint") == "final" and float(row["step"]) == steps:
            games = scores.setdefault((row["protocol"], row["policy"]), [])
            games.append(float(row["episode_return"]))
    if not scores:
        command = shell_command("evaluate", str(run_folder))
        raise UserError(f"Evaluate the agent first: {command}")
    settings = {**config.model_dump(), "log_dir": "runs"}  # no path of this machine
    card = _CARD.format(
        **settings,
        algorithm=config.experiment.upper(),
        results="\n".join(_fill(_RESULT, config.env, *kind, scores[kind]) for kind in scores),
        steps=steps,
        frames=4 * steps,
        table="\n".join(_fill(_ROW, config.env, *kind, scores[kind]) for kind in scores),
        versions=", ".join(
            f"{name} {version}"
            for name, version in json.loads(run.versions.read_text(encoding="utf-8")).items()
            if version
        ),
    )
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UserError(f"{folder} exists; delete it or choose another folder.") from None
    for file in (run.final_model, run.progress, run.episodes, run.evaluations, run.versions):
        if file.exists():
            shutil.copy(file, folder)
    for video in run.folder.glob(f"videos/final-step-{steps:010d}.mp4"):
        shutil.copy(video, folder / "replay.mp4")  # the Hub shows a file of this name with the card
    text = yaml.safe_dump(settings, sort_keys=False)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(card, encoding="utf-8")


def _fill(template: str, env: str, protocol: str, policy: str, games: list[float]) -> str:
    low, high = Games(games, ()).interval()
    return template.format(
        env=env,
        env_id=f"{env}NoFrameskip-v4" if protocol == "classic" else f"ALE/{env}-v5",
        protocol=protocol,
        policy=policy,
        games=len(games),
        mean=np.mean(games),
        std=np.std(games),
        low=low,
        high=high,
    )
