"""Write run folders like those of training, with made-up scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

START = 1_700_000_000.0


def write_run(
    root: Path,
    variant: str = "nature",
    seed: int = 0,
    *,
    final: float = 1000.0,
    start: float = 250.0,
    games: int = 400,
    steps_per_game: float = 150.0,
    noise: float = 200.0,
    algorithm: str = "a2c",
    game: str = "MsPacman",
    done: bool = True,
    **settings: object,
) -> Path:
    """Write a run whose mean score rises from ``start`` to ``final``, and return its folder."""
    folder = root / algorithm / game / variant / f"seed-{seed}"
    folder.mkdir(parents=True)
    config = {
        "experiment": algorithm,
        "extractor": variant,
        "env": game,
        "seed": seed,
        "protocol": "classic",
        "n_envs": 16,
        "log_dir": str(root),
        "learning_rate": 0.0007,
        "device": "cpu",
        **settings,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    rng = np.random.default_rng([seed, *variant.encode(), *game.encode()])
    steps = np.round(np.arange(1, games + 1) * steps_per_game).astype(int)
    means = start + (final - start) * (1 - np.exp(-5 * np.arange(games) / games)) / (1 - np.exp(-5))
    scores = np.round(means + noise * rng.standard_normal(games), -1)
    rows = np.column_stack([steps, START + seed + steps / 2000, scores, np.full(games, 600)])
    with (folder / "episodes.csv").open("w") as file:
        file.write("step,wall_time,episode_return,length_frames\n")
        np.savetxt(file, rows, fmt=["%d", "%.3f", "%.1f", "%d"], delimiter=",")
    with (folder / "evaluations.csv").open("w") as file:
        file.write("step,game,episode_return,length_frames,protocol,policy,seed\n")
        for game_number, score in enumerate(final + noise * rng.standard_normal(10)):
            row = (steps[-1], game_number, round(score), 600, "classic", "stochastic", "training")
            print(*row, sep=",", file=file)
    if done:
        (folder / "DONE").touch()
    return folder
