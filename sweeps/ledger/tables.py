"""Rebuild the tables of a study from its run folders.  Schema: docs/reference/tables.md"""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fit.data.columns import CURVES, LATENTS, REPEATED, RUNS, dtypes
from sae_core.files import replacing
from sweeps.errors import SweepError
from sweeps.ledger import failures
from sweeps.ledger.claims import current_status
from sweeps.ledger.phase_record import records
from sweeps.ledger.run_folder import RunFolder, Study

# The order and type of the columns, which do not depend on the progress of the runs: a column can be all missing.
RUN_COLUMNS, CURVE_COLUMNS, LATENT_COLUMNS = map(dtypes, (RUNS, CURVES, LATENTS))
Say = Callable[[str], None]
_REPEATED = ("study", *(column.name for column in REPEATED))


def on_stderr(text: str) -> None:
    print(text, file=sys.stderr)


def collect(
    study: Study, ids: Collection[str] | None = None, say: Say = on_stderr
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The current tables `runs` and `curves` of a study. Failed and pending runs have rows too.

    ids: of the runs to collect; None for all. say: called with a sentence on a phase that cannot be read.
    """
    runs: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    phases = phases_of_runs(study, say)
    for folder in _folders(study, ids):
        curve = folder.curve()
        row = run_row(folder, study.name, curve, phases)
        runs.append(row)
        curves += [evaluation | {key: row[key] for key in ("run_id", *_REPEATED)} for evaluation in curve]
    return _typed(runs, RUN_COLUMNS), _typed(curves, CURVE_COLUMNS)


def run_row(
    folder: RunFolder, study: str, curve: Sequence[dict[str, Any]], phases: Mapping[str, str]
) -> dict[str, Any]:
    """The row of one run: config, last evaluation and, if it has ended, the result. Unreadable values are missing.

    phases: of the study's runs, see `phases_of_runs`.
    """
    status = current_status(folder)
    row: dict[str, Any] = {"run_id": folder.run_id, "study": study, "phase": phases.get(folder.run_id)}
    row["state"] = status.state
    row |= {"failure": status.failure, "message": status.message}
    row["failures"] = len(failures.failures(folder, since_retry=False))
    last = dict(curve[-1]) if curve else {}
    last["steps"] = last.pop("step", None)
    try:
        config = folder.config()
        facts = folder.environment() or {}, folder.result() or {}
    except SweepError as error:
        return dict.fromkeys(_REPEATED) | row | {"state": "unreadable", "message": str(error)}
    return row | _config_columns(config) | last | facts[0] | facts[1]


def phases_of_runs(study: Study, say: Say = on_stderr) -> dict[str, str]:
    """The phase of each run that the latest launches of the study's phases have, or several, `main, tune`.

    A phase with a phase.json that cannot be read is missing from the runs that it has, as `say` is told.
    """
    phases: dict[str, str] = {}
    launched, unreadable = records(study)
    for text in unreadable:
        say(f"{text} Until then no run is known to be of this phase.")
    for record in sorted(launched, key=lambda record: record.phase):
        for run_id in record.runs:
            phases[run_id] = f"{phases[run_id]}, {record.phase}" if run_id in phases else record.phase
    return phases


def _config_columns(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run, by column; keys that its config.yaml does not have are missing values."""
    run = config["run"]
    settings = run | {
        "data": config["data"] | run["data"]
    }  # the d_model of the run is that of the data, not the requested one
    row = {column.name: _setting(settings, column.key) for column in RUNS if column.key}
    return row | {"store": Path(row["store"]).name if row["store"] else None}


def _setting(settings: dict[str, Any], key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = (value or {}).get(part)
    return value


def _folders(study: Study, ids: Collection[str] | None) -> list[RunFolder]:
    return [folder for folder in study.runs() if ids is None or folder.run_id in ids]


def collect_latents(study: Study) -> pd.DataFrame:
    """The histograms over the latents of every run that has them, with one row per non-empty bin."""
    rows = [row for folder in study.runs() for row in _latent_rows(folder)]
    return _typed(rows, LATENT_COLUMNS)


def _latent_rows(folder: RunFolder) -> list[dict[str, Any]]:
    try:
        found = folder.latents() or {}
        sae = folder.config()["run"]["sae"] if found else {}
    except SweepError:
        return []  # `run_row` reports folders that cannot be read
    rows = []
    for quantity in found.keys() - {"tokens"}:
        of = found[quantity]
        row = {"run_id": folder.run_id, "n_latents": sae["n_latents"], "k": sae["k"], "quantity": quantity}
        width = (of["high"] - of["low"]) / len(of["counts"])
        bins = [
            {"low": of["low"] + i * width, "high": of["low"] + (i + 1) * width, "count": count}
            for i, count in enumerate(of["counts"])
        ]
        rows += [row | part for part in [*bins, {"count": of["never"]}] if part["count"]]
    return sorted(rows, key=lambda row: row["quantity"])


def write_tables(study: Study, into: Path | None = None, ids: Collection[str] | None = None) -> list[Path]:
    """Write runs.parquet, curves.parquet and, where a run has them, latents.parquet into the study's folder.

    Each file is written under another name and then renamed. Returns the paths.

    into, ids: another folder, and the only runs to write, for the tables of a phase, which have no latents.
    """
    into = study.path if into is None else into
    runs, curves = collect(study, ids)
    paths = [_write(runs, into / "runs.parquet"), _write(curves, into / "curves.parquet")]
    if ids is not None:
        return paths
    latents = collect_latents(study)
    return paths + ([_write(latents, into / "latents.parquet")] if len(latents) else [])


def _typed(rows: list[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def _write(frame: pd.DataFrame, path: Path) -> Path:
    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False)
    return path
