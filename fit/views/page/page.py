"""Builds the page: the answer and the two figures that carry it, then the sections, from the result to the detail.

`python -m fit.views.verbs.report runs/demo`
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from fit.study.study_tables import StudyTables
from fit.views.page.cautions import warnings
from fit.views.page.cost import cost
from fit.views.page.design import design
from fit.views.page.drawings import figures
from fit.views.page.laws import laws
from fit.views.page.lead import divided
from fit.views.page.provenance import provenance
from fit.views.page.regimes import regimes
from fit.views.page.render import render
from fit.views.page.run_table import ended_count
from fit.views.page.runs import run_table
from fit.views.page.study_report import StudyReport, study_report
from fit.views.page.summary import summary

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Section:
    """A section: its anchor in the page's address, its title, its template, and the function that makes its facts."""

    anchor: str
    title: str
    template: str
    facts: Callable[[StudyReport], Any]


@dataclass(frozen=True)
class Rendered:
    """A section as HTML."""

    anchor: str
    title: str
    html: Markup


@dataclass(frozen=True)
class Live:
    """A page of a study that still trains, which reloads itself every `every_s`. lines: what goes on now."""

    every_s: int
    lines: tuple[str, ...]


# The sections behind the answer's figures. The other figures come last: they are more than one reads through.
SECTIONS = (
    Section("warnings", "Cautions", "warnings", warnings),
    Section("laws", "Laws", "laws", laws),
    Section("regimes", "L(C) against L(N)", "regimes", regimes),
    Section("swept", "What was swept", "design", design),
    Section("cost", "Cost", "cost", cost),
    Section("provenance", "Provenance", "provenance", provenance),
    Section("runs", "Runs", "runs", run_table),
)


def page(tables: StudyTables, live: Live | None = None) -> str:
    """The HTML of the page: the same bytes for the same tables; it requests nothing over the network.

    live: of a study that still trains; the page then reloads itself from its file.
    """
    report = study_report(tables)
    drawn = cache(lambda: divided(figures(report), report))
    sections = [
        rendered("answer", "The answer in figures", "figures", lambda: drawn()[0]),
        *(
            Rendered(part.anchor, part.title, section_html(part.template, part.facts, report))
            for part in SECTIONS
        ),
        rendered("figures", "All other figures", "figures", lambda: drawn()[1]),
    ]
    head = section_html("summary", summary, report)
    return document(report.name, head, sections, ended_count(report.runs), len(report.runs), live)


def document(
    name: str,
    head: Markup,
    sections: Sequence[Rendered],
    ended: int = 0,
    runs: int = 0,
    live: Live | None = None,
) -> str:
    """The HTML around the sections: the policy, style and script. ended: how many of the runs have ended."""
    script = "".join(map(_file, ("conditions.js", "marks.js", "page.js")))
    style = _file("page.css") + _file("marks.css")
    html = render(
        "page",
        name=name,
        style=style,
        script=script,
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        summary=head,
        ended=ended,
        runs=runs,
        live=live,
        sections=sections,
    )
    return str(html)  # a plain str, because text joined to a Markup is escaped


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def section_html(template: str, facts: Callable[[StudyReport], Any], report: StudyReport) -> Markup:
    """One section. If it fails on an unexpected table, only that section is replaced by the error."""
    return rendered("", "", template, lambda: facts(report)).html


def rendered(anchor: str, title: str, template: str, facts: Callable[[], Any]) -> Rendered:
    """A section with its facts. If it fails on an unexpected table, only that section is replaced by the error."""
    return Rendered(anchor, title, _html(template, facts))


def _html(template: str, facts: Callable[[], Any]) -> Markup:
    try:
        return render(template, section=facts())
    except Exception as error:
        return render("failed", reason=f"{type(error).__name__}: {' '.join(str(error).split())}")
