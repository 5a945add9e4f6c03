"""Cautions, a line each: runs that did not end well or did not converge, and the cautions of the fits by kind."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fit.law.laws import L_N, L_NK
from fit.law.selection import ConvergedSelection
from fit.views.format import greek, percent
from fit.views.lines.merged_cautions import Owner, in_full, merged_cautions, owners_text
from fit.views.page.run_table import (
    UNKNOWN,
    as_floats,
    as_texts,
    cell_text,
    converged_counts,
    counted,
    known,
    states,
)
from fit.views.page.study_report import StudyReport

STATE_TITLES = {
    "failed": "Failed",
    "unreadable": "Folders that cannot be read",
    "diverged": "Diverged",
    "cancelled": "Cancelled",
    "stopped": "Stopped, to be resumed",
    UNKNOWN: "State unknown",
}
# The distance of a run from convergence, by whichever of the two criteria is known.
CRITERIA = {
    "tail_gap": "above the limit of its tail",
    "last_doubling": "gained by the last doubling of tokens",
}
# Runs with a larger share of dead latents than this are listed: from 10 % on, n_latents overstates the n of the law.
DEAD = 0.1
# At most this many runs of a group are listed; the table of runs has them all.
MOST_RUNS = 10


@dataclass(frozen=True)
class Run:
    """A run in a list: its name, its n, k and lr, and what happened to it."""

    name: str
    place: str
    message: str


@dataclass(frozen=True)
class Group:
    """Runs and sentences under one title. more_runs: how many runs are not listed."""

    title: str
    runs: tuple[Run, ...] = ()
    more_runs: int = 0
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class FitCaution:
    """A caution, and which fits have it, `L_N k=16, 32`."""

    text: str
    fits: str


@dataclass(frozen=True)
class MergedCaution:
    """The cautions of one kind in a line, as `saescale fit` has it. sentences: each of them, if there are several."""

    text: str
    sentences: tuple[FitCaution, ...]


@dataclass(frozen=True)
class Warnings:
    """What to be careful with: groups of runs, then the cautions of the fits by kind."""

    groups: tuple[Group, ...]
    merged: tuple[MergedCaution, ...]


def warnings(report: StudyReport) -> Warnings:
    """The facts of the section."""
    groups = (*_run_groups(report.runs), *_outdated_fits(report))
    return Warnings(groups, tuple(_merged_cautions(report)))


def _run_groups(runs: pd.DataFrame) -> Iterator[Group]:
    """Runs that failed, diverged, were cancelled, have not ended, did not converge, or have many dead latents."""
    state = states(runs)
    for name, title in STATE_TITLES.items():
        part = runs[state == name]
        if len(part):
            yield _group(f"{title}: {counted(len(part), 'run')}", [_run(runs, i) for i in part.index])
    waiting = int(state.isin(["running", "pending"]).sum())
    if waiting:
        sentence = f"{counted(waiting, 'run')} running or pending: the laws will change."
        yield Group("Still to come", sentences=(sentence,))
    yield from _not_converged(runs, state)
    dead = as_floats(runs, "dead_fraction").sort_values(ascending=False, kind="stable")
    dead = dead[dead > DEAD]
    if len(dead):
        title = f"More than {percent(DEAD)} of the latents dead: {counted(len(dead), 'run')}"
        yield _group(title, [_run(runs, i, f"{percent(share)} dead") for i, share in dead.items()])
    changed = int((as_texts(runs, "git_dirty") == "yes").sum())
    if changed:
        sentence = f"{counted(changed, 'run')} from a checkout with uncommitted changes."
        yield Group("Provenance", sentences=(sentence,))


def _not_converged(runs: pd.DataFrame, state: pd.Series) -> Iterator[Group]:
    count = converged_counts(runs)
    if count is None or not (count[1] or count[2]):
        return
    done = runs[(state == "done") & (as_texts(runs, "converged") == "no")]
    sentences = []
    if count[2]:
        more = counted(count[2], "run")
        sentences.append(f"{more} more: their evaluations are too few or too noisy to decide.")
    converged = as_texts(runs, "converged") == "yes"
    early = int(((as_texts(runs, "ended_by") == "predicted") & (state == "done") & ~converged).sum())
    if early:
        sentences.append(
            f"Of these, {counted(early, 'run')} stopped as asked: L∞ was known to within the target."
        )
    title = f"Not converged: {count[1] + count[2]:,} of {counted(sum(count), 'run')} done"
    listed = [_run(runs, i, _distance(runs, i)) for i in done.index]
    yield _group(title, listed, tuple(sentences))


def _distance(runs: pd.DataFrame, index: Any) -> str:
    """The distance of a run from convergence; empty if neither criterion is known."""
    for column, meaning in CRITERIA.items():
        if column in runs.columns and known(runs.at[index, column]):
            return f"{cell_text(runs.at[index, column], column)} {meaning}"
    return ""


def _group(title: str, runs: Sequence[Run], sentences: tuple[str, ...] = ()) -> Group:
    return Group(title, tuple(runs[:MOST_RUNS]), max(len(runs) - MOST_RUNS, 0), sentences)


def _run(runs: pd.DataFrame, index: Any, remark: str = "") -> Run:
    """A run with its failure, its message, and a remark."""
    row = runs.loc[index]
    letters = {"n": "n_latents", "k": "k", "lr": "lr"}
    place = ", ".join(f"{letter} = {cell_text(row[c])}" for letter, c in letters.items() if c in runs.columns)
    name = cell_text(row["run_id"]) if "run_id" in runs.columns else f"row {index}"
    texts = [as_texts(runs.loc[[index]], column).iloc[0] for column in ("failure", "message")]
    return Run(name, place, ": ".join(filter(None, [*texts, remark])))


def _outdated_fits(report: StudyReport) -> Iterator[Group]:
    """A group if fits.json was made from fewer runs than are done now."""
    if report.fitted_here:
        return
    runs = report.runs[states(report.runs) == "done"]
    for law, name in ((L_NK.name, "L(N, K)"), (L_N.name, "L(N)")):
        chosen = [(fit.group, fit.selection) for fit in report.fits if fit.law == law]
        counts = [
            (part.runs - (part.not_done or 0), _in_group(runs, group))
            for group, part in chosen
            if isinstance(part, ConvergedSelection)
        ]
        seen, done = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
        if 0 < seen < done:
            sentence = f"{name} was fitted to a choice of {seen:,} of the {done:,} runs that are done. "
            sentence += "If more have ended since: saescale report --refit takes them all."
            yield Group("Fits of fewer runs", sentences=(sentence,))
            return
        if seen:
            return


def _merged_cautions(report: StudyReport) -> Iterator[MergedCaution]:
    """The cautions of the fits and of the comparison, by kind; each sentence once, with the fits that have it."""
    for each in merged_cautions(report.fits, report.regimes):
        owners: dict[str, list[Owner]] = {}
        for caution, owner in each.cautions:
            owners.setdefault(caution.text, []).append(owner)
        sentences = [
            FitCaution(greek(text), owners_text(having, report.fits)) for text, having in owners.items()
        ]
        yield MergedCaution(in_full(each, report.fits), tuple(sentences) if len(sentences) > 1 else ())


def _in_group(runs: pd.DataFrame, group: Mapping[str, Any]) -> int:
    """How many runs have the values of a group: a law may have no fit of another group, for want of sizes."""
    inside = np.ones(len(runs), dtype=bool)
    for name, value in group.items():
        if name in runs.columns:
            inside &= (runs[name] == value).to_numpy(dtype=bool, na_value=False)
    return int(inside.sum())
