"""The results that are kept with the code: small files of finished runs, and a page about them."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from rl_coordconv.compare import plots, sentences, tables
from rl_coordconv.compare.comparison import Comparison, compare
from rl_coordconv.compare.find import find_runs
from rl_coordconv.compare.page import Section, markdown
from rl_coordconv.compare.report import section
from rl_coordconv.compare.results import packed, read_text
from rl_coordconv.compare.statistics import mean_interval
from rl_coordconv.runs.config import UserError, read_yaml
from rl_coordconv.runs.files import atomic_write
from rl_coordconv.runs.folder import Run

# Before the numbers of a folder: what made them, in words.
_ABOUT = "about.md"
_LEVELS = 4  # of a run's folder: algorithm, game, arm, seed
_CLAIM = (
    "By their paper and their blog post, Liu et al. (2018) saw A2C with CoordConv get better in six"
    " of nine Atari games, most of all in Ms. Pac-Man, stay about equal in two and get slightly"
    " worse in one. We know of no number of theirs to stand beside ours: the code of these runs,"
    " the placement of the coordinates and the names of the other games are not public."
)


def keep(runs: Path, folder: Path) -> None:
    """Copy what counts of every finished run below a folder: settings, versions, games.

    Args:
        runs: Where the runs are.
        folder: Where to keep them; a run that is there is replaced.

    Raises:
        UserError: There is no finished run of an agent.
    """
    finished = [Run(done.parent) for done in sorted(runs.rglob("DONE"))]
    finished = [run for run in finished if run.episodes.exists() and run.versions.exists()]
    if not finished:
        raise UserError(f"There is no finished run in {runs}.")
    for run in finished:
        path = run.folder.resolve()
        inner = path.relative_to(runs.resolve()).parts
        # Under its own name, even if `runs` is a folder within that of all runs, or the run's.
        kept = Run(folder.joinpath(*(inner if len(inner) >= _LEVELS else path.parts[-_LEVELS:])))
        settings = read_yaml(run.config)
        kept.folder.mkdir(parents=True, exist_ok=True)
        kept.config.write_text(yaml.safe_dump({**settings, "log_dir": "runs"}, sort_keys=False))
        # Without a time, so that the same games are the same file.
        packed(kept.episodes).write_bytes(gzip.compress(read_text(run.episodes).encode(), mtime=0))
        shutil.copyfile(run.versions, kept.versions)
        if run.evaluations.exists():
            shutil.copyfile(run.evaluations, kept.evaluations)


def write_page(folder: Path) -> Path:
    """Write ``README.md`` about all results in a folder, and a figure into each.

    Args:
        folder: Holds a folder for each set of runs; what its ``about.md`` says comes first.

    Returns:
        The page.

    Raises:
        UserError: There are no results, or some cannot be read.
    """
    sections = [Section("The claim", text=[_CLAIM])]
    comparisons: list[Comparison] = []
    parts = sorted(path.parent for path in folder.glob(f"*/{_ABOUT}"))
    if not parts:
        raise UserError(f"No folder in {folder} has an {_ABOUT} that says how its runs were made.")
    for part in parts:
        # Paths on the page are those within the folder.
        found = find_runs([part])
        for run, reason in found.left_out:
            raise UserError(f"{run}, which is kept there, cannot be used: {reason}.")
        runs = [replace(r, folder=r.folder.relative_to(folder)) for r in found.runs]
        for comparison in compare(runs):
            sections.append(_section(part, comparison))
            comparisons.append(comparison)
    sections.append(Section("Beside published scores", tables=list(_beside_others(comparisons))))
    own_pages = sorted(path.parent.name for path in folder.glob("*/README.md"))
    if own_pages:
        sections.append(Section("Elsewhere", notes=[f"[{n}]({n}/README.md)" for n in own_pages]))
    page = folder / "README.md"
    with atomic_write(page) as file:
        file.write_text(markdown(sections, "Results on Atari"), encoding="utf-8")
    return page


def _section(part: Path, comparison: Comparison) -> Section:
    with plots.house_style():
        made = section(comparison)
        *over_training, _ = made.drawings  # the final scores are in the table
        drawings = []
        for drawing in over_training:
            kind = drawing.name.partition("-")[0]
            drawing.figure.savefig(part / f"{kind}.png", dpi=150)
            drawings.append(replace(drawing, name=f"{part.name}/{kind}"))
    about = (part / _ABOUT).read_text(encoding="utf-8").strip()
    return replace(
        made,
        title=f"{part.name}: {made.title}",
        text=[about, *made.text],
        drawings=drawings,
        tables=[table for table in made.tables if not table.caption.startswith("Published")],
    )


def _beside_others(comparisons: Sequence[Comparison]) -> Iterator[tables.Table]:
    """For each algorithm and game, our scores and those of others."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        groups.setdefault((comparison.algorithm, comparison.game), []).append(comparison)
    for (algorithm, game), group in groups.items():
        ours = []
        for comparison in group:
            for arm in comparison.arms:
                score = sentences.interval(mean_interval(arm.scores("training", arm.step)))
                steps, seeds = sentences.count(arm.step), len(arm.at(arm.step))
                how = f"{seeds} seeds, mean of the last 100 training games"
                ours.append([f"ours, {arm.name}", steps, score, comparison.protocol, how])
        theirs = tables.peers_table(group[0])
        rows = [[source, "10M", *row] for source, *row in theirs.rows]
        head = [theirs.head[0], "steps", *theirs.head[1:]]
        yield tables.Table(f"{algorithm.upper()} in {game}", head, [*ours, *rows])
