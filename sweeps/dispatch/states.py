"""The states of a study's runs, from their folders and SLURM's queue, and the details of a single run."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sae_core.config import RunConfig
from sweeps.dispatch.reconcile import settle
from sweeps.dispatch.slurm import JobState
from sweeps.errors import SweepError
from sweeps.ledger import failures, launches
from sweeps.ledger.claims import current_status
from sweeps.ledger.phase_record import records, to_come
from sweeps.ledger.run_folder import RunFolder, Status, Study


def states(study: Study, in_jobs: Mapping[str, JobState] | None = None) -> pd.DataFrame:
    """One row per run: run_id, n_latents, k, lr, state, tokens, budget, nmse (last evaluation), seconds_left, message …

    rate: tokens per second of a run that trains. stop: by which rule the run ends, ended_by: by which it did, None
    while it has not. in_jobs: the state of the SLURM job that a run is in, see `settle`.
    """
    return pd.DataFrame([_row(folder, (in_jobs or {}).get(folder.run_id)) for folder in study.runs()])


def _row(folder: RunFolder, job: JobState | None) -> dict[str, Any]:
    status, curve = current_status(folder), folder.curve()
    row = {"run_id": folder.run_id, "tokens": status.tokens, "state": status.state, "message": status.message}
    if status.state == "failed":
        row["state"] = f"failed ({status.failure})"
    if job is not None and status.state in ("pending", "stopped"):
        row |= {"state": "queued", "message": job.reason or f"job {job.state.lower()}"}
    last = {key: curve[-1].get(key) if curve else None for key in ("nmse", "tokens_per_second")}
    try:
        run = RunConfig.from_dict(folder.config()["run"])
    except SweepError as error:
        return row | last | {"state": "unreadable", "message": str(error)}
    row |= {"n_latents": run.sae.n_latents, "k": run.sae.k, "lr": run.train.lr, "budget": run.train.budget}
    row |= {"stop": run.train.stop, "ended_by": _ended_by(folder) if status.state == "done" else None}
    row["rate"] = status.rate if status.state == "running" else None
    return row | last | {"seconds_left": _left(status, run.train.budget)}


def _ended_by(folder: RunFolder) -> str | None:
    """What ended a run: its budget, or that it converged, or that its L∞ was predicted; None if nothing says."""
    try:
        return (folder.result() or {}).get("ended_by")
    except SweepError:  # a torn result.json
        return None


def progress_text(row: Mapping[Any, Any]) -> str:
    """How far a row of `states` is: `converged at 441,344 of at most 2,000,000`, `12,288 of 65,536 (19 %)`.

    A run that stops by itself has no share of a known whole, so its tokens have no per cent.
    """
    tokens, budget = f"{row['tokens']:,}", row.get("budget")
    if budget is None or pd.isna(budget):
        return tokens
    whole = f"{budget:,.0f}"
    match row["state"], row.get("ended_by"):
        case "done", "converged":
            return f"converged at {tokens} of at most {whole}"
        case "done", "predicted":
            return f"L∞ predicted at {tokens} of at most {whole}"
        case "done", _ if row["tokens"] >= budget:
            return f"all {whole}"
        case "diverged", _:
            return f"diverged at {tokens} of {whole}"
    if row.get("stop") in ("converged", "predicted"):
        return f"{tokens} of at most {whole}"
    return f"{tokens} of {whole} ({row['tokens'] / budget:.0%})".replace("%)", " %)")


def _left(status: Status, budget: int) -> float | None:
    """Seconds to the end of a running run's budget, at its worker's pace so far; None before the pace is known."""
    if status.state != "running" or not status.rate:
        return None
    return (budget - status.tokens) / status.rate


def states_now(study: Study) -> tuple[pd.DataFrame, str]:
    """`states` with the jobs in SLURM's queue, where SLURM is here and answers, and a line of counts."""
    note = ""
    try:
        in_jobs = settle(study)
    except SweepError as error:
        in_jobs, note = {}, f" (SLURM: {error}; from the folders alone)"
    frame = states(study, in_jobs)
    counts = Counter(frame.state)
    launched, unreadable = records(study)
    later = to_come(launched)
    phases = f"\n{'phases' if len(later) > 1 else 'phase'} to come: {', '.join(later)}" if later else ""
    stopped = [f"\n{record.phase} stopped: {record.stopped}" for record in launched if record.stopped]
    stopped += [f"\n{text}" for text in unreadable]
    text = ", ".join(f"{c} {s}" for s, c in sorted(counts.items()))
    return frame, f"{study.path}: {text}{note}{phases}{''.join(stopped)}"


def run_facts(folder: RunFolder) -> dict[str, Any]:
    """Everything about one run as plain data: its state, where it ran, how it ended, why it failed, and its logs."""
    status = current_status(folder)
    return {
        "path": str(folder.path),
        "state": status.state,
        "tokens": status.tokens,
        "message": status.message,
        "environment": folder.environment() or {},
        "result": folder.result() or {},
        "failures": [vars(one) for one in failures.failures(folder, since_retry=False)],
        "logs": [str(path) for path in logs(folder)],
        "traceback": folder.traceback(),
    }


def run_detail(folder: RunFolder) -> list[str]:
    """`run_facts` as lines."""
    facts = run_facts(folder)
    lines = [f"{facts['path']}: {facts['state']} at {facts['tokens']:,} tokens"]
    if facts["message"]:
        lines.append(f"  {facts['message']}")
    for known in (facts["environment"], facts["result"]):
        lines += [f"  {key}: {value}" for key, value in known.items() if value is not None]
    lines += [
        f"  failed {one['at']}: {one['kind']}, {one['message']}"
        + (f" ({one['host']})" if one["host"] else "")
        for one in facts["failures"]
    ]
    lines += [f"  log: {path}" for path in facts["logs"]]
    return lines + (facts["traceback"] or "").splitlines()


def logs(folder: RunFolder) -> list[Path]:
    """The logs of the jobs that contained the run, the newest last."""
    paths: list[Path] = []
    for launch in launches.launches(Study(folder.path.parent)):
        jobs = [job for job, runs in launch.jobs.items() if folder.run_id in runs]
        paths += [path for job in jobs for path in sorted(launch.folder.glob(f"{job}_*log.out"))]
    return paths
