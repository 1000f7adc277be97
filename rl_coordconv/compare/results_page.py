"""Write the page about the results stored in ``docs/results``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rl_coordconv.compare import plots, sentences, tables
from rl_coordconv.compare.comparison import Comparison, compare
from rl_coordconv.compare.find import find_runs
from rl_coordconv.compare.page import Section, markdown
from rl_coordconv.compare.report import section
from rl_coordconv.compare.results import algorithm_name
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.files import atomic_write

_ABOUT = "about.md"  # describes the runs of a study
_CLAIM = (
    "According to their paper and blog post, Liu et al. (2018) found that CoordConv improves A2C in"
    " six of nine Atari games, most of all in Ms. Pac-Man, makes little difference in two and is"
    " slightly worse in one. None of their scores can be compared with ours: the code of these"
    " runs, the placement of the coordinates and the names of the other games are not public."
)


def write_page(folder: Path) -> Path:
    """Write ``README.md`` and figures for the studies stored in a folder.

    Args:
        folder: The folder, with a subfolder per study, whose ``about.md`` introduces it.

    Returns:
        The path of the page.

    Raises:
        UserError: There are no results, or some cannot be read.
    """
    sections = [Section("The paper's claim", text=[_CLAIM])]
    comparisons: list[Comparison] = []
    studies = sorted(path.parent for path in folder.glob(f"*/{_ABOUT}"))
    if not studies:
        raise UserError(f"No folder in {folder} has an {_ABOUT} that says how its runs were made.")
    for study in studies:
        found = find_runs([study])
        for run, reason in found.left_out:
            raise UserError(f"The stored run {run} cannot be used: {reason}.")
        # Paths on the page are relative to its folder.
        runs = [replace(run, folder=run.folder.relative_to(folder)) for run in found.runs]
        for comparison in compare(runs):
            sections.append(_section(study, comparison))
            comparisons.append(comparison)
    with_published = list(_with_published(comparisons))
    sections.append(Section("Comparison with published scores", tables=with_published))
    if pages := sorted(folder.glob("*/README.md")):
        sections.append(Section("Other pages", notes=[_link(other, folder) for other in pages]))
    page = folder / "README.md"
    with atomic_write(page) as file:
        file.write_text(markdown(sections, "Results on Atari"), encoding="utf-8")
    return page


def _link(page: Path, folder: Path) -> str:
    title = page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
    return f"[{title}]({page.relative_to(folder)})"


def _section(study: Path, comparison: Comparison) -> Section:
    with plots.house_style():
        made = section(comparison)
        *over_training, _ = made.drawings  # the final scores are in the table
        drawings = []
        for drawing in over_training:
            kind = drawing.name.partition("-")[0]
            drawing.figure.savefig(study / f"{kind}.png", dpi=150)
            drawings.append(replace(drawing, name=f"{study.name}/{kind}"))
    about = (study / _ABOUT).read_text(encoding="utf-8").strip()
    return replace(
        made,
        title=f"{study.name}: {made.title}",
        text=[about, *made.text],
        drawings=drawings,
        tables=[t for t in made.tables if not t.caption.startswith(("Published", "Runs"))],
    )


def _with_published(comparisons: Sequence[Comparison]) -> Iterator[tables.Table]:
    """Yield a table of our scores and published ones for each algorithm and game."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        groups.setdefault((comparison.algorithm, comparison.game), []).append(comparison)
    for (algorithm, game), group in groups.items():
        published = tables.published_table(group[0])
        if not published.rows:
            continue
        ours = []
        for comparison in group:
            for variant in comparison.variants:
                mean = sentences.interval(variant.mean("training", variant.step))
                steps, seeds = sentences.count(variant.step), len(variant.at(variant.step))
                how = f"{seeds} seeds, mean of the last 100 training games"
                ours.append([f"ours, {variant.name}", steps, mean, comparison.protocol, how])
        rows = [[source, "10M", *row] for source, *row in published.rows]
        head = [published.head[0], "steps", *published.head[1:]]
        yield tables.Table(f"{algorithm_name(algorithm)} in {game}", head, [*ours, *rows])
