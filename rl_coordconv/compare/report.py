"""Write the report: the scores of all runs, and which variant is better with what confidence."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from rl_coordconv.compare import plots, sentences, tables
from rl_coordconv.compare.comparison import Comparison, compare
from rl_coordconv.compare.find import Found, find_runs
from rl_coordconv.compare.games import OverGames, over_games
from rl_coordconv.compare.inline import inline_figure, svg
from rl_coordconv.compare.page import Drawing, Section, html_page, markdown
from rl_coordconv.compare.published import PUBLISHED
from rl_coordconv.compare.results import XAxis
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.files import atomic_write, disk_errors
from rl_coordconv.runs.versions import versions

_PACKAGES = ("rl_coordconv", "numpy", "scipy", "rliable", "matplotlib")
_IGNORED = "# By compare.py, which can make these files again."
_READING = (
    "A score is the mean over whole games (all lives) of the unclipped points. Each point of a"
    " learning curve is the mean of the last 100 training games so far, so the curve ends at the"
    " score in the table.",
    "Intervals need at least three seeds. A mean has Student's t interval, a difference of means"
    " has Welch's t interval, and the band of a curve is a 95% percentile bootstrap interval of"
    " the mean over seeds. Aggregates over several games have stratified bootstrap intervals. With"
    " three to five seeds the band is too narrow, so compare variants by the interval of their"
    " difference.",
    "The conclusions hold at one step, and may differ at another. In the figure of differences,"
    " each interval is valid on its own, not jointly.",
    "The mean over training is the area under the learning curve, divided by its length. The"
    " probability of improvement of A - B is the probability that a seed of A scores higher than a"
    " seed of B; 0.5 means no difference.",
)


class Report(NamedTuple):
    """A report that was written.

    Attributes:
        page: The path of ``report.html``.
        conclusions: By section, the sentences that say which variant is better.
    """

    page: Path
    conclusions: dict[str, Sequence[str]]


def write_report(
    roots: Sequence[Path],
    out: Path,
    x: XAxis = "steps",
    target: float | None = None,
    against: str | None = None,
    command: str = "",
) -> Report:
    """Read all runs in and below some folders, and write the report.

    Args:
        roots: The folders.
        out: The folder for ``report.html``, ``report.md``, figures and tables.
        x: The x-axis of the curves.
        target: Report the steps needed to reach this score; None for the lowest final mean of a
            game's variants.
        against: The variant to compare the others with; see `comparison.compare`.
        command: The command, which the report shows with the date; if empty, it shows neither.

    Raises:
        UserError: There are no runs or no such variant, or the report cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; the report needs a folder.")
    found = find_runs(roots)
    comparisons = compare(found.runs, against)
    summaries = over_games(comparisons)
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        with plots.house_style():
            sections = [
                *(_games_section(summary) for summary in summaries),
                *(section(comparison, x, target) for comparison in comparisons),
            ]
            figures = {d.name: _save(d, out) for section in sections for d in section.drawings}
        files = tables.write_csv(out, comparisons, summaries, x, target)
        sections.append(Section("How to read this", text=_READING))
        sections += [*_left_out(found), _provenance(found, command)]
        colours = {v.name: v.style.colour for c in comparisons for v in c.variants}
        links = _sources(found, out)
        listed = ", ".join(f"[{name}]({name})" for name in files)
        _write(out / "report.md", f"{markdown(sections, links=links)}\nTables: {listed}\n")
        _write(out / "report.html", html_page(sections, figures, files, colours, links))
        drawn = [f"{name}.{ending}" for name in figures for ending in ("png", "svg")]
        _hide_from_git(out, ["report.html", "report.md", *drawn, *files])
    conclusions = {section.title: section.verdicts for section in sections if section.verdicts}
    return Report(out / "report.html", conclusions)


def _provenance(found: Found, command: str) -> Section:
    """Return a section with date, command and package versions."""
    made = f"Made on {time.strftime('%Y-%m-%d at %H:%M:%S %z')} in {Path.cwd()} by: {command}"
    table = tables.versions_table(found.runs, versions(_PACKAGES, ()))
    return Section("How this was made", text=[made] if command else [], tables=[table])


def _sources(found: Found, out: Path) -> dict[str, str]:
    """Return link targets for published scores and for runs, relative to the report."""
    addresses = {published.source: published.address for published in PUBLISHED}
    for run in found.runs:
        # A run in a stored study has no folder; link to that of the study.
        folder = next(path for path in (run.folder, *run.folder.parents) if path.is_dir())
        relative = os.path.relpath(folder.resolve(), out.resolve())
        addresses[str(run.folder)] = quote(Path(relative).as_posix()) + "/"
    return addresses


def _hide_from_git(out: Path, names: Sequence[str]) -> None:
    """Write a ``.gitignore`` that lists the report's files, unless the user has written one."""
    path = out / ".gitignore"
    lines = path.read_text("utf-8", "replace").splitlines() if path.exists() else [_IGNORED]
    if lines[:1] == [_IGNORED]:
        lines += [f"/{name}" for name in (".gitignore", *names)]
        _write(path, "\n".join(dict.fromkeys(lines)) + "\n")


def _save(drawing: Drawing, out: Path) -> str:
    """Write a figure as PNG and SVG, and return its HTML."""
    drawing.figure.savefig(out / f"{drawing.name}.png", dpi=150)
    drawing.figure.set_layout_engine("none")  # a second layout takes as long as drawing
    _write(out / f"{drawing.name}.svg", svg(drawing.figure))
    return inline_figure(drawing.figure, drawing.name, drawing.description)


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write_text(text, encoding="utf-8")


def section(comparison: Comparison, x: XAxis = "steps", target: float | None = None) -> Section:
    """Return the section about one algorithm in one game; arguments as in `write_report`."""
    c, name = comparison, f"{comparison.algorithm}-{comparison.game}-{comparison.protocol}"
    words = [*map(sentences.stopping_sentence, c.pairs), sentences.seeds_sentence(c)]
    score = c.score_to_reach if target is None else target
    candidates = [tables.variants_table(c, score), tables.pairs_table(c)]
    candidates += [tables.published_table(c), tables.runs_table(c)]
    drawings = [Drawing(f"curves-{name}", f"Learning curves in {c.game}", plots.curves(c, x))]
    if any(pair.is_enough for pair in c.pairs):
        gaps = plots.differences(c)
        drawings.append(Drawing(f"differences-{name}", f"Differences in {c.game}", gaps))
    drawings.append(Drawing(f"final-{name}", f"Final scores in {c.game}", plots.final_scores(c)))
    return Section(
        sentences.title(c.algorithm, c.protocol, game=c.game),
        verdicts=sentences.verdicts(c),
        text=list(filter(None, words)),
        drawings=drawings,
        tables=[table for table in candidates if table.rows],
        notes=c.notes,
    )


def _games_section(summary: OverGames) -> Section:
    name = f"{summary.algorithm}-{summary.protocol}"
    return Section(
        f"{sentences.title(summary.algorithm, summary.protocol)}: {len(summary.games)} games",
        verdicts=sentences.over_games_sentences(summary),
        drawings=[
            Drawing(f"games-{name}", "Mean human-normalised scores", plots.game_bars(summary)),
            Drawing(f"profile-{name}", "Performance profiles", plots.profiles(summary)),
        ],
        tables=[tables.aggregates_table(summary)],
        notes=summary.notes,
    )


def _left_out(found: Found) -> list[Section]:
    lines = [f"{folder}: {reason}." for folder, reason in found.left_out]
    return [Section("Left out", notes=lines)] if lines else []
