"""Make the tables and figures of ``docs/detection.md`` and ``docs/results/detection``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from rl_coordconv.experiments.mnist_detection import pictures
from rl_coordconv.experiments.mnist_detection.groups import Group, group_runs
from rl_coordconv.experiments.mnist_detection.paper import IOU_GAIN
from rl_coordconv.experiments.mnist_detection.results import measures
from rl_coordconv.experiments.mnist_detection.train import count_parameters
from rl_coordconv.runs.differences import difference, gain
from rl_coordconv.runs.reports import Report
from rl_coordconv.runs.results import Line, table_of_lines
from rl_coordconv.runs.stored import has_weights, stored_runs

_PROBE = "probe/"  # start of the names of the probe's columns
_DIFFERENCES = {
    "rpn": {"test/ap": "{:+.3f}", "test/box_loss": "{:+.4f}", "test/score_loss": "{:+.4f}"},
    "faster-rcnn": {"test/ap": "{:+.3f}", "test/recall": "{:+.3f}"},
}


def tables(groups: Sequence[Group]) -> dict[str, str]:
    """Return every table of the pages in Markdown, by name."""
    tested = [group for group in groups if group.config.evaluate_on == "test"]
    kinds = {
        "rpn": [group for group in tested if group.config.proposes_only],
        "faster-rcnn": [group for group in tested if not group.config.proposes_only],
    }
    validated = [group for group in groups if group.config.evaluate_on == "validation"]
    made = {"choice": choice_table(validated), "detection-runs": runs_table(groups)}
    for kind, own in kinds.items():
        made[kind] = metrics_table(own)
        made[f"{kind}-probe"] = metrics_table(own, of_probe=True)
        made[f"{kind}-differences"] = differences_table(own, _DIFFERENCES[kind])
    return made


def metrics_table(groups: Sequence[Group], *, of_probe: bool = False) -> str:
    """Return a table of metrics at the last evaluation: mean (min to max) over seeds.

    Args:
        groups: Groups of region proposals, or of Faster R-CNN.
        of_probe: Show the metrics of single digits, instead of those of test canvases.
    """
    lines: list[Line] = []
    head: dict[str, None] = dict.fromkeys(["model", "anchors", "preset"])
    for group in groups:
        line = _settings(group)
        for measure in measures(group.config):
            if measure.column.startswith(_PROBE) == of_probe:
                line[measure.name] = group.spread(measure.column, measure.number)
                if measure.name.endswith("loss"):
                    line[f"{measure.name}, paper"] = measure.paper
        head |= dict.fromkeys(line)
        lines.append(line)
    return table_of_lines([*(name for name in head if name != "seeds"), "seeds"], lines)


def differences_table(groups: Sequence[Group], columns: Mapping[str, str]) -> str:
    """Return a table of the differences between each model and the one without coordinates.

    Args:
        groups: Groups of region proposals, or of Faster R-CNN.
        columns: Format strings of other metrics than the IOU, by column of ``progress.csv``.
    """
    names = {m.column: m.name for group in groups for m in measures(group.config)}
    lines: list[Line] = []
    for baseline, group in _pairs(groups):
        overlaps = baseline.values("test/iou"), group.values("test/iou")
        others = {
            names[column]: difference(baseline.values(column), group.values(column), number.format)
            for column, number in columns.items()
        }
        is_claim = group.config.model == "rpn-coordconv"
        line = {
            **_settings(group),
            "model": f"{group.name} - {baseline.config.model}",
            "gain of IOU": gain(*overlaps),
            "paper: gain": f"{IOU_GAIN:.0%}" if is_claim else "-",
            "IOU": difference(*overlaps, "{:+.3f}".format),
            **others,
            "seeds": str(len(overlaps[0].keys() & overlaps[1].keys())),
        }
        lines.append(line)
    head = ["model", "anchors", "preset", "gain of IOU", "paper: gain", "IOU"]
    return table_of_lines(
        [*head, *(names.get(column, column) for column in columns), "seeds"], lines
    )


def _pairs(groups: Sequence[Group]) -> Iterator[tuple[Group, Group]]:
    """Yield each baseline with every model that differs in its coordinates only."""
    for baseline in groups:
        for group in groups:
            if baseline.is_baseline and group != baseline and baseline.is_comparable(group):
                yield baseline, group


def choice_table(groups: Iterable[Group]) -> str:
    """Return a table of the losses of the baseline on validation canvases, by optimiser."""
    lines = [
        {
            **_settings(group),
            "optimiser": group.config.optimizer,
            "learning rate": str(group.config.learning_rate),
            "epochs": str(group.config.n_epochs),
            "validation loss": group.spread("validation/loss", "{:.4f}"),
            "IOU": group.spread("validation/iou", "{:.3f}"),
        }
        for group in groups
    ]
    head = "anchors, preset, optimiser, learning rate, epochs, validation loss, IOU, seeds"
    return table_of_lines(head.split(", "), lines)


def runs_table(groups: Iterable[Group]) -> str:
    """Return a table of commands, times and numbers of parameters."""
    lines = [
        {
            **_settings(group),
            "command": f"`{group.command}`",
            "updates": group.spread("updates", "{:,.0f}"),
            "seconds": group.seconds,
            "parameters": f"{count_parameters(group.config):,}",
        }
        for group in groups
    ]
    head = "model, anchors, preset, command, updates, seconds, parameters, seeds"
    return table_of_lines(head.split(", "), lines)


def _settings(group: Group) -> dict[str, str]:
    return {
        "model": group.name,
        "anchors": group.anchors,
        "preset": group.config.preset,
        "seeds": str(len(group.results)),
    }


class DetectionReport(Report):
    """The contents of ``docs/detection.md`` and ``docs/results/detection``."""

    name = "detection"

    def wants(self, settings: Mapping[str, Any]) -> bool:
        """Return whether a run trained a detector."""
        return bool(settings["experiment"] == "detection")

    def figures(self, stored: Path) -> dict[str, Figure]:
        """Draw the learning curves."""
        tested = [group for group in _read(stored) if group.config.evaluate_on == "test"]
        return {"iou": pictures.curves(tested)} if tested else {}

    def pictures(self, runs: Path) -> dict[str, Figure]:
        """Draw detections and errors by place of the first seed of each model."""
        finished = filter(has_weights, stored_runs(runs, ["progress"]))
        return pictures.from_weights(group_runs(finished))

    def tables(self, stored: Path) -> dict[str, str]:
        """Return all tables in Markdown, by name."""
        return tables(_read(stored))


def _read(stored: Path) -> list[Group]:
    return group_runs(stored_runs(stored, ["progress"]))


REPORT = DetectionReport()
