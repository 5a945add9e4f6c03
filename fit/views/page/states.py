"""How the runs stand: states in order, how many have ended, and what is said of a sweep that still runs."""

from collections import Counter

import pandas as pd

from fit.data import tables
from fit.law.errors import FitError
from fit.views.page.cells_format import names

ORDER = ("done", "running", "pending", "stopped", "diverged", "failed", "cancelled", "unreadable")
ENDED = ("done", "diverged", "failed", "cancelled", "unreadable")
UNKNOWN = "unknown"


def states(runs: pd.DataFrame) -> pd.Series:
    """The state of each run; `done` for every row of a table without states."""
    if "state" not in runs.columns:
        return pd.Series("done", index=runs.index, dtype=object)
    return names(runs, "state").replace("", UNKNOWN)


def counts(runs: pd.DataFrame) -> dict[str, int]:
    """How many runs are in each state that occurs, in the order of `ORDER`, foreign ones at the end."""
    found = Counter(states(runs))
    return {state: found[state] for state in (*ORDER, *sorted(found.keys() - set(ORDER))) if state in found}


def ended(runs: pd.DataFrame) -> int:
    """How many runs will not go on by themselves."""
    return int(states(runs).isin(ENDED).sum())


def converged(runs: pd.DataFrame) -> tuple[int, int, int] | None:
    """How many runs that are done are converged, are not, and are not known to be; None without the column."""
    done = runs[states(runs) == "done"]
    if "converged" not in runs.columns:
        return None
    try:
        yes, unknown = tables.truths(done, "converged")
    except FitError:
        return None
    return int(yes.sum()), int((~yes & ~unknown).sum()), int(unknown.sum())
