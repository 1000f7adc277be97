"""Every setting that the paper's authors tried, one run after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.results import read_result
from rl_coordconv.experiments.not_so_clevr.train import train
from rl_coordconv.runs.config import UserError, read_yaml
from rl_coordconv.runs.folder import run_experiment


def run_sweep(config: ToyConfig, file: Path, *, overwrite: bool = False) -> int:
    """Do every run of a sweep, or what is left of it, and name the best.

    Args:
        config: What stays the same.
        file: The settings, as in ``configs/toy``, with what varies.
        overwrite: Start each of them over.

    Returns:
        The exit code: 0, or that of the run which was stopped.
    """
    configs = list(sweep_configs(config, file))
    for number, one in enumerate(configs, start=1):
        print(f"Run {number} of {len(configs)}: {one.folder}")
        if code := run_experiment(train, one, overwrite=overwrite):
            return code
    results = [read_result(one.folder) for one in configs]
    column = f"test_{results[0].measure}"
    results.sort(key=lambda r: r.last[column], reverse=not results[0].less_is_better)
    print(f"Best by {column}:")
    for result in results[:5]:
        print(f"{result.last[column]:.4f}  {result.config.folder}")
    return 0


def sweep_configs(config: ToyConfig, file: Path) -> Iterator[ToyConfig]:
    """The configs of a sweep, each with a log folder of its own below the config's.

    Args:
        config: What stays the same.
        file: The settings, as in ``configs/toy``, with what varies.

    Raises:
        UserError: The file holds no sweep of the config's model.
    """
    try:
        settings = dict(read_yaml(file)[config.model]["sweep"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{file} holds no sweep of {config.model}.") from None
    for values in itertools.product(*settings.values()):
        chosen = dict(zip(settings, values, strict=True))
        name = "-".join(f"{key}_{value}" for key, value in chosen.items())
        log_dir = str(Path(config.log_dir, "toy-sweep", name))
        yield ToyConfig.model_validate({**config.model_dump(), **chosen, "log_dir": log_dir})
