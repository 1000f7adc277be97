"""A run as a folder for the Hugging Face Hub, with a card that has the agent's scores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rl_coordconv.experiments.atari.agents import load_agent
from rl_coordconv.experiments.atari.play import Games
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.files import rows_until

_CARD = """---
{metadata}---

# {algorithm} on {env}, extractor {extractor}

Trained with Stable-Baselines3 and `rl_coordconv`, [CoordConv](https://arxiv.org/abs/1807.03247) for
reinforcement learning: {steps:,} steps, {frames:,} frames, {protocol} protocol, seed {seed}.

| protocol | actions | games | mean score | standard deviation | 95% interval of the mean |
|---|---|---|---|---|---|
{table}

Raw scores of whole games of this agent. The interval says nothing about other seeds.

In a checkout of `rl_coordconv`, with this repository in `FOLDER`:

```bash
python scripts/evaluate.py FOLDER  # runs the pickled Python code in the agent's file: trust its author
python scripts/train_{experiment}.py --config FOLDER/config.yaml  # train it again
```

Versions: {versions}.
"""


def make_hub_folder(run_folder: Path, folder: Path) -> None:
    """Make a folder for the Hub from a finished run of A2C or PPO.

    It has the final agent, its settings and logs, the video if there is one, and a card with the
    scores of the games that ``scripts/evaluate.py`` played with the final agent. It is a run folder
    too, which `load_agent` loads.

    Args:
        run_folder: The run.
        folder: The new folder.

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
            scores.setdefault((row["protocol"], row["policy"]), []).append(
                float(row["episode_return"])
            )
    if not scores:
        raise UserError(f"Evaluate the agent first: python scripts/evaluate.py {run_folder}")
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UserError(f"{folder} exists; delete it or choose another folder.") from None
    for file in (run.final_model, run.progress, run.episodes, run.evaluations, run.versions):
        if file.exists():
            shutil.copy(file, folder)
    if (video := run.folder / "video.mp4").exists():
        shutil.copy(video, folder / "replay.mp4")  # the name that the Hub plays beside a card
    settings = {**config.model_dump(), "log_dir": "runs"}  # and no path of this machine
    (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    versions = json.loads(run.versions.read_text(encoding="utf-8"))
    card = _card(settings, steps, scores, versions)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _card(
    settings: Mapping[str, Any],
    steps: int,
    scores: Mapping[tuple[str, str], list[float]],
    versions: Mapping[str, str | None],
) -> str:
    game, results, table = settings["env"], [], []
    for (protocol, policy), games in scores.items():
        mean, std, (low, high) = np.mean(games), np.std(games), Games(games, ()).interval()
        table.append(
            f"| {protocol} | {policy} | {len(games)} | {mean:,.1f} | {std:,.1f}"
            f" | {low:,.1f} to {high:,.1f} |"
        )
        env_id = f"{game}NoFrameskip-v4" if protocol == "classic" else f"ALE/{game}-v5"
        metric = {"type": "mean_reward", "value": f"{mean:.2f} +/- {std:.2f}"}
        results.append(
            {
                "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
                "dataset": {"type": env_id, "name": f"{game}, {protocol}, {policy} actions"},
                "metrics": [{**metric, "name": "mean_reward"}],
            }
        )
    tags = ["deep-reinforcement-learning", "reinforcement-learning", "stable-baselines3"]
    metadata = {
        "library_name": "stable-baselines3",
        "tags": [*tags, "atari", "coordconv", game],
        "model-index": [{"name": settings["experiment"].upper(), "results": results}],
    }
    return _CARD.format(
        **settings,
        metadata=yaml.safe_dump(metadata, sort_keys=False),
        algorithm=settings["experiment"].upper(),
        steps=steps,
        frames=4 * steps,
        table="\n".join(table),
        versions=", ".join(f"{name} {version}" for name, version in versions.items() if version),
    )
