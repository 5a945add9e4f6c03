"""The page: its head with a strict policy, and its sections in the order in which a person would ask for them.

`python -m fit.views.verbs.report runs/demo`
"""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

from fit.views.page import states
from fit.views.page.cautions import cautions
from fit.views.page.cost import cost
from fit.views.page.design import swept
from fit.views.page.drawings import drawings
from fit.views.page.laws import laws
from fit.views.page.markup import Html, join, tag
from fit.views.page.provenance import origin
from fit.views.page.regimes import against
from fit.views.page.runs import runs
from fit.views.page.source import Source
from fit.views.page.summary import answer

HERE = Path(__file__).parent
SECTIONS: dict[str, tuple[str, Callable[[Source], Html]]] = {
    "swept": ("What was swept", swept),
    "laws": ("Laws", laws),
    "regimes": ("L(C) against L(N)", against),
    "figures": ("Figures", drawings),
    "warnings": ("Warnings", cautions),
    "cost": ("Cost", cost),
    "provenance": ("Provenance", origin),
    "runs": ("Runs", runs),
}


def page(source: Source) -> str:
    """The HTML of the page: the same bytes for the same tables, and no request to anywhere."""
    script, sheet = ((HERE / f"page.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    links = [tag("a", title, href=f"#{name}") for name, (title, _) in SECTIONS.items()]
    head = tag(
        "head",
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy(script)}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="referrer" content="no-referrer">'),
        tag("title", f"{source.name}: scaling laws"),
        Html('<link rel="icon" href="data:,">'),
        tag("style", Html(sheet)),
    )
    sections = [
        tag("section", tag("h2", title), guarded(make, source), id=name)
        for name, (title, make) in SECTIONS.items()
    ]
    body = tag(
        "body",
        tag("a", "To the content", href="#content", class_="skip"),
        guarded(answer, source),
        _banner(source),
        tag("nav", *links, aria_label="Sections"),
        tag("main", *sections, id="content"),
        tag("script", Html(script)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def policy(script: str) -> str:
    """Nothing is loaded; only this script runs; styles are inline, and images only those inside the page."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def guarded(make: Callable[[Source], Html], source: Source) -> Html:
    """A part of the page, or the line that says why there is none: a table of another make costs that part alone."""
    try:
        return make(source)
    except Exception as error:
        said = f"This part could not be made: {type(error).__name__}: {' '.join(str(error).split())}"
        return tag("p", said, class_="caution")


def _banner(source: Source) -> Html:
    """Of a sweep that still runs, how far it is."""
    ended, every = states.ended(source.runs), len(source.runs)
    if ended == every:
        return Html()
    share = tag("progress", value=ended, max=every, aria_label="runs that have ended")
    said = join([f"{ended:,} of {every:,} runs have ended; all below is as they stand. ", share])
    return tag("p", said, class_="banner", role="status")
