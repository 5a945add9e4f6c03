"""Where the numbers come from: commit, versions, machines, seeds and times of the runs, and the files read."""

import pandas as pd

from fit.study.fits_file import version
from fit.views.page.cells_format import counted, names
from fit.views.page.markup import Html, join, listed, table, tag
from fit.views.page.source import Source

COLUMNS = {
    "git_sha": "commit",
    "git_dirty": "uncommitted changes",
    "saescale": "saescale",
    "torch": "torch",
    "triton": "triton",
    "device": "device",
    "threads": "threads",
    "host": "host",
    "seed": "seed",
    "shuffle_seed": "seed of the order of tokens",
    "data_fingerprint": "fingerprint of the data",
}
MOST = 8


def origin(source: Source) -> Html:
    """The section."""
    rows = [
        [name, _values(source.runs, column)]
        for column, name in COLUMNS.items()
        if _known(source.runs, column)
    ]
    when = [
        shown for shown in (_first(source.runs, "started", min), _first(source.runs, "ended", max)) if shown
    ]
    if when:
        rows.append(["first start … last end, UTC", " … ".join(when)])
    parts = [table("Provenance of the runs", ["", ""], rows, (0, 1))] if rows else []
    parts.append(tag("p", "Made from:"))
    fits = [f"fits of saescale {source.fits['saescale']}"] if source.fits.get("saescale") else []
    parts.append(listed([*source.files, *fits, f"page by saescale {version() or 'from a checkout'}"]))
    return join(parts)


def _known(runs: pd.DataFrame, column: str) -> bool:
    return column in runs.columns and bool(runs[column].notna().any())


def _values(runs: pd.DataFrame, column: str) -> Html:
    """Each value with the number of its runs, the most frequent first."""
    found = names(runs, column).value_counts()
    found = found.rename(index={"": "not known"}).sort_index().sort_values(ascending=False, kind="stable")
    items = [join([tag("code", value), f" ({counted(int(count), 'run')})"]) for value, count in found.items()]
    more = [f" and {len(items) - MOST:,} more values"] if len(items) > MOST else []
    return join([join(items[:MOST], ", "), *more])


def _first(runs: pd.DataFrame, column: str, of: object) -> str:
    known = [name for name in names(runs, column) if name]
    return of(known) if known and callable(of) else ""
