"""Builds the page about two studies: compute ratio, laws over one another and in one table, what differs, runs."""

from dataclasses import dataclass

from fit.study.study_tables import StudyTables
from fit.views.page.page import document, rendered
from fit.views.page.pair.cheaper import Cheaper, cheaper
from fit.views.page.pair.law_table import law_table
from fit.views.page.pair.overlaid import figures
from fit.views.page.pair.sides import Pair, pair, together
from fit.views.page.runs import run_table
from fit.views.page.study_report import StudyReport


@dataclass(frozen=True)
class Head:
    """The top of the page: the answer, and what speaks against the comparison."""

    a: str
    b: str
    cheaper: Cheaper
    doubts: tuple[str, ...]
    runs: tuple[int, int]
    notes: tuple[tuple[str, str], ...]


def pair_page(a: StudyTables, b: StudyTables) -> str:
    """The HTML of the page: the same bytes for the same tables; it requests nothing over the network.

    Raises
    ------
    FitError
        If both are the same table, or one has no rows.
    """
    both = pair(a, b)
    answer = cheaper(both)
    one, other = both.sides
    notes = tuple((side.name, note) for side in both.sides for note in side.report.notes)
    head = Head(one.name, other.name, answer, both.doubts, (len(one.runs), len(other.runs)), notes)
    sections = [
        rendered("cheaper", "Compute at equal loss", "pair_cheaper", lambda: answer),
        rendered("figures", "The laws over one another", "figures", lambda: figures(both)),
        rendered("laws", "The laws in one table", "pair_laws", lambda: law_table(both)),
        rendered("settings", "What differs", "pair_settings", lambda: both),
        rendered("runs", "Runs", "runs", lambda: _runs(both)),
    ]
    name = f"{one.name} and {other.name}"
    return document(name, rendered("head", name, "pair_head", lambda: head).html, sections)


def _runs(both: Pair) -> object:
    """The table of the runs of both studies."""
    return run_table(StudyReport(StudyTables(runs=together(both)), fitted_here=False))
