"""What to be careful with, grouped: runs that did not end well or did not converge, and what the fits warn of."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from fit.data.number_format import greek, percent
from fit.views.page import fit_format as words
from fit.views.page import states as standing
from fit.views.page.cells_format import counted, known, names, shown, values
from fit.views.page.markup import Html, formula, join, listed, tag
from fit.views.page.source import Source

# A group of the fits' warnings: the words that put one into it. The first that match.
KINDS = {
    "Not identified: parameters that these rows do not tell apart": (
        "trade off",
        "poorly determined",
        "not identified",
        "No intervals",
        "without an end",
        "no end",
        "unbounded",
    ),
    "Outliers": ("outlier",),
    "Another law, or another way, predicts better": ("predicts held-out", "depends on the way", "disagree"),
    "Starts that do not agree": ("starts",),
    "Which runs were used": ("converged", "lr", "seed", "cell", "run ", "runs "),
}
OTHER = "Other warnings of the fits"
# More of the latents dead than this is worth a look: at 10 % n is not the n of the law.
DEAD = 0.1
MOST = 10


def cautions(source: Source) -> Html:
    """The section."""
    groups = [*_of_runs(source.runs), *_behind(source), *_of_fits(source)]
    if not groups:
        return tag("p", "Nothing to warn of.")
    return join([tag("div", tag("h3", title), listed(items), class_="warn") for title, items in groups])


def _of_runs(runs: pd.DataFrame) -> Iterator[tuple[str, list[Html | str]]]:
    """Runs that failed, diverged, were cancelled, wait, did not converge, or have dead latents."""
    states = standing.states(runs)
    for state, title in (
        ("failed", "Failed"),
        ("unreadable", "Folders that cannot be read"),
        ("diverged", "Diverged"),
        ("cancelled", "Cancelled"),
        ("stopped", "Stopped, to be resumed"),
        (standing.UNKNOWN, "State unknown"),
    ):
        part = runs[states == state]
        if len(part):
            yield f"{title}: {counted(len(part), 'run')}", _capped([_run(runs, i) for i in part.index])
    waiting = runs[states.isin(["running", "pending"])]
    if len(waiting):
        yield "Still to come", [f"{counted(len(waiting), 'run')} running or pending: the laws will move."]
    yield from _unconverged(runs, states)
    dead = values(runs, "dead_fraction").sort_values(ascending=False, kind="stable")
    dead = dead[dead > DEAD]
    if len(dead):
        items = [join([_run(runs, i), f": {percent(share)} dead"]) for i, share in dead.items()]
        yield f"More than {percent(DEAD)} of the latents dead: {counted(len(dead), 'run')}", _capped(items)
    changed = names(runs, "git_dirty")
    if (changed == "yes").any():
        yield (
            "Provenance",
            [f"{counted(int((changed == 'yes').sum()), 'run')} of a checkout with uncommitted changes."],
        )


def _unconverged(runs: pd.DataFrame, states: pd.Series) -> Iterator[tuple[str, list[Html | str]]]:
    count = standing.converged(runs)
    if count is None or not (count[1] or count[2]):
        return
    done = runs[(states == "done") & (names(runs, "converged") == "no")]
    items = [join([_run(runs, i), _why(runs, i)]) for i in done.index]
    said: list[Html | str] = _capped(items)
    if count[2]:
        said.append(f"{counted(count[2], 'run')} more: too few evaluations to tell.")
    yield f"Not converged: {count[1] + count[2]:,} of {counted(sum(count), 'run')} done", said


def _why(runs: pd.DataFrame, index: Any) -> str:
    """How far a run is from convergence, by whichever of the two criteria is known."""
    for column, said in (
        ("tail_gap", "above the limit of its tail"),
        ("last_doubling", "gained by the last doubling"),
    ):
        if column in runs.columns and known(runs.at[index, column]):
            return f": {shown(runs.at[index, column], column)} {said}"
    return ""


def _run(runs: pd.DataFrame, index: Any) -> Html:
    """`3f2a9c01b7de (n = 2,048, k = 32, lr = 0.0012): its message`."""
    at = runs.loc[index]
    letters = (("n", "n_latents"), ("k", "k"), ("lr", "lr"))
    where = ", ".join(f"{letter} = {shown(at[c])}" for letter, c in letters if c in runs.columns)
    name = shown(at["run_id"]) if "run_id" in runs.columns else f"row {index}"
    kind = names(runs.loc[[index]], "failure").iloc[0]
    message = names(runs.loc[[index]], "message").iloc[0]
    said = ": ".join(filter(None, (kind, message)))
    return join([tag("code", name), f" ({where})" if where else "", f": {said}" if said else ""])


def _capped(items: Sequence[Html | str]) -> list[Html | str]:
    """The first few, and how many more there are; the table of runs has them all."""
    more = len(items) - MOST
    return [*items[:MOST], *([f"and {more:,} more: filter the table of runs."] if more > 0 else [])]


def _behind(source: Source) -> Iterator[tuple[str, list[Html | str]]]:
    """Where fits.json is of fewer runs than are done now."""
    if "table" not in source.fits:  # fitted for this page
        return
    done = int((standing.states(source.runs) == "done").sum())
    for law, name in (("L_NK", "L(N, K)"), ("L_N", "L(N)")):
        chosen = [fit.get("selection") or {} for fit in source.laws if fit["law"] == law]
        seen = sum(part["runs"] - part.get("not_done", 0) for part in chosen if known(part.get("runs")))
        if 0 < seen < done:
            said = f"{name} was fitted to a choice of {seen:,} of the {done:,} runs that are done. "
            yield (
                "Fits of fewer runs",
                [said + "If more have ended since: saescale report --refit takes them all."],
            )
            return
        if seen:
            return


def _of_fits(source: Source) -> Iterator[tuple[str, list[Html | str]]]:
    """The fits' own warnings, each once, with the fits that have it."""
    said: dict[str, list[str]] = {}
    for fit in source.laws:
        for warning in fit.get("warnings") or []:
            said.setdefault(str(warning), []).append(
                f"{fit['law']} ({words.of(fit)})".replace(" (all rows)", "")
            )
    for warning in (source.regimes or {}).get("warnings") or []:
        said.setdefault(str(warning), []).append("L(C) against L(N)")
    groups: dict[str, list[Html | str]] = {}
    for warning, fits in said.items():
        item = join([formula(greek(warning)), " ", tag("small", ", ".join(dict.fromkeys(fits)))])
        groups.setdefault(_kind(warning), []).append(item)
    yield from ((kind, groups[kind]) for kind in (*KINDS, OTHER) if kind in groups)


def _kind(warning: str) -> str:
    return next((kind for kind, marks in KINDS.items() if any(mark in warning for mark in marks)), OTHER)
