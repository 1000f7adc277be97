"""The summary of a finished toy run: its scores and the paper's, and commands to run next."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table

from rl_coordconv.experiments import CONFIGS
from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.names import MODEL_NAMES
from rl_coordconv.experiments.not_so_clevr.paper import claim
from rl_coordconv.experiments.not_so_clevr.results import Result, read_result
from rl_coordconv.experiments.not_so_clevr.tasks import TASKS
from rl_coordconv.runs.closing import next_commands
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.stored import read_stored_run


def closing(config: ToyConfig, run: Run) -> Group:
    """Return the last evaluation and useful commands, for printing.

    Args:
        config: The run's settings.
        run: The finished run.
    """
    chosen = config.model_dump(include={"task", "split", "model"})
    paper = ToyConfig.find_defaults(CONFIGS / "toy", {**chosen, "preset": "paper"}).values
    baseline = MODEL_NAMES[config.task][0]
    other = baseline if config.model != baseline else "coordconv"
    result = read_result(read_stored_run(run.folder, ["progress"]))
    return Group(results_table(result, paper["n_epochs"]), next_commands(config, run, other))


def results_table(result: Result, paper_epochs: int) -> Table:
    """Return a table of a run's last evaluation and the paper's results.

    Args:
        result: The run.
        paper_epochs: Number of epochs in the paper preset.
    """
    config, last = result.config, result.last
    paper = claim(config.task, config.split, config.model)
    is_shorter = config.n_epochs < paper_epochs
    ours = f"ours, {config.n_epochs} of {paper_epochs} epochs" if is_shorter else "ours"
    title = f"{config.task}, {config.split}, {config.model}"
    table = Table("", ours, "paper", title=title)
    for part, theirs in (("train", paper.train), ("test", paper.test)):
        for name in TASKS[config.task].metrics:
            value = last[f"{part}/{name}"]
            text = f"{value:.2%}" if name == "accuracy" else f"{value:.3f}"
            label = f"{part} {name.replace('_', ' ')}"
            table.add_row(label, text, theirs if name == result.metric else "-")
    table.add_row("seconds of training", f"{last['seconds']:,.1f}", paper.seconds)
    table.add_row("updates", f"{last['updates']:,.0f}", "-")
    table.add_row("parameters", f"{result.n_parameters:,}", paper.parameters)
    return table
