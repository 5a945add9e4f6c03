"""Charts of Weights & Biases as they are exported: a column for each run, made into rows."""

import pandas as pd

_LOWEST, _HIGHEST = "__MIN", "__MAX"
_STATES = {"finished", "crashed", "failed", "killed", "running", "preempted", "preempting", "pending"}


def with_runs_as_rows(table: pd.DataFrame, name: str) -> tuple[pd.DataFrame, list[str]]:
    """A chart's export with a row for each run and step, and notes; any other table as it is.

    The column of the run is called Name, as in the export of the table of runs, so that both can be joined by it.
    The export has the step, then for each run `RUN - METRIC`, `RUN - METRIC__MIN` and `RUN - METRIC__MAX`. Lowest and
    highest value differ only where a point of the chart stands for several steps.
    """
    columns = list(map(str, table.columns))
    curves = [c for c in columns if f"{c}{_LOWEST}" in columns and f"{c}{_HIGHEST}" in columns and " - " in c]
    bounds = {f"{c}{end}" for c in curves for end in (_LOWEST, _HIGHEST)}
    shared = [c for c in columns if c not in curves and c not in bounds]
    if not curves or len(shared) != 1:
        return table, _about_states(table, name)
    (step,) = shared
    runs: dict[str, dict[str, str]] = {}
    for column in curves:
        run, _, metric = column.rpartition(" - ")
        runs.setdefault(run, {})[metric] = column
    metrics = list(dict.fromkeys(metric for by_metric in runs.values() for metric in by_metric))
    parts = []
    for run, by_metric in runs.items():
        part = table[[step, *by_metric.values()]].set_axis([step, *by_metric], axis=1)
        parts.append(part.dropna(subset=list(by_metric), how="all").assign(Name=run))
    rows = pd.concat(parts, ignore_index=True)[["Name", step, *metrics]]
    averaged = 0
    for column in curves:
        low, high = (pd.to_numeric(table[f"{column}{end}"], errors="coerce") for end in (_LOWEST, _HIGHEST))
        averaged += int((high > low).sum())
    notes = [
        f"{name} is a chart of Weights & Biases: its {len(runs)} runs were made into {len(rows):,} rows with the "
        f"columns {', '.join(rows.columns)}."
    ]
    if averaged:
        points = "1 point of the chart stands" if averaged == 1 else f"{averaged:,} points of the chart stand"
        notes.append(f"{name}: {points} for several steps; export the runs' history for all.")
    return rows, notes


def _about_states(table: pd.DataFrame, name: str) -> list[str]:
    """A note about runs that did not finish, in an export of the table of runs."""
    if not {"Name", "State"} <= set(table.columns):
        return []
    states = table["State"].astype("string").str.strip().str.lower()
    if not set(states.dropna()) <= _STATES or "finished" not in set(states):
        return []
    other = states[states != "finished"].dropna()
    if other.empty:
        return []
    listed = ", ".join(sorted(set(other)))
    return [
        f"{name}: {len(other)} of {len(table)} runs did not finish ({listed}) and count like the others: leave them "
        f"out with --where \"State == '{table['State'][states == 'finished'].iloc[0]}'\"."
    ]
