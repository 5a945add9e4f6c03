"""Reconcile run folders with SLURM: how a job ended is written to its runs, as a killed worker cannot do it."""

from dataclasses import replace

from sae_core.training import checkpoint
from sweeps.dispatch import slurm
from sweeps.dispatch.slurm import JobState
from sweeps.ledger import failures
from sweeps.ledger.claims import claim, holder, revoke
from sweeps.ledger.failures import Failure
from sweeps.ledger.launches import job_of_each_run
from sweeps.ledger.run_folder import RunFolder, Status, Study
from sweeps.worker.job_main import STALLED_ROUNDS

# States that the end of a job does not change.
SETTLED = ("done", "diverged", "failed", "cancelled")
_TIME_OUT = ("TIMEOUT", "DEADLINE")


def again(study: Study, folder: RunFolder, message: str | None = None) -> None:
    """Set a run back to pending. The end of the last job that it was given to is accounted for and counts no more."""
    job = job_of_each_run(study).get(folder.run_id)
    folder.set_status(Status("pending", folder.status().tokens, message=message, settled=job))


def settle(study: Study) -> dict[str, JobState]:
    """Write to the runs of ended jobs how they ended; return the job's state for every run in a living job.

    Without SLURM on this machine this does nothing. SweepError if the controller does not answer.
    """
    if not slurm.available():
        return {}
    job_of = job_of_each_run(study)
    statuses = {run: study.run(run).status() for run in job_of}
    open_runs = {
        run: job
        for run, job in job_of.items()
        if statuses[run].state not in SETTLED and statuses[run].settled != job
    }
    known = slurm.states(open_runs.values())
    living = {run: known[job] for run, job in open_runs.items() if job in known and known[job].live}
    ended = {job for job in open_runs.values() if job in known and not known[job].live}
    begun = {job for run, job in job_of.items() if job in ended and _was_claimed(study.run(run), job)}
    for run, job in open_runs.items():
        if job in ended:
            try:
                _end(study.run(run), job, known[job], job in begun)
            except OSError:  # the disk is full: try again at the next look
                continue
    return living


def _was_claimed(folder: RunFolder, job: str) -> bool:
    """Whether a worker of the job ever had the run."""
    return any(holder(path) == job for path in folder.claim_paths())


def _end(folder: RunFolder, job: str, state: JobState, begun: bool) -> None:
    """Give a run the state that its job's end means, unless another worker has it by now."""
    revoke(folder, job)
    ours = claim(folder, lease_s=60)
    if ours is None:
        return
    status = folder.status()
    if status.state not in SETTLED:
        _write(folder, status, job, state, begun)
    ours.release()


def _write(folder: RunFolder, status: Status, job: str, state: JobState, begun: bool) -> None:
    where = f" on {state.nodes}" if state.nodes else ""
    if state.state == "CANCELLED":
        message = f"job {job} was cancelled"
        folder.set_status(Status("cancelled", status.tokens, message=message, settled=job))
        return
    kind = _kind(status, state)
    message = f"job {job}{where}: {state.state.lower()}, exit code {state.reason}"
    if kind is None and state.state in _TIME_OUT and not begun:
        if status.rounds + 1 < STALLED_ROUNDS:
            folder.set_status(replace(status, rounds=status.rounds + 1, settled=job))
            return
        kind = "stalled"
        message = (
            f"{STALLED_ROUNDS} jobs in a row were killed at their time limit before their start had ended, the last of "
            f"them {job}{where}, which ran {_seconds(state.elapsed_s)} with a limit of {_seconds(state.limit_s)}. "
            "Launch again with a longer launcher.timeout_min and launcher.retries.stalled=1."
        )
    if kind is None:
        if status.state == "running":
            message = f"job {job}: {state.state.lower()}"
            folder.set_status(Status("stopped", status.tokens, message=message, settled=job))
        return
    saved = checkpoint.newest(folder.checkpoints)
    failures.record(folder, Failure(kind, message, saved, host=state.nodes or None, job=job))
    folder.set_status(Status("failed", status.tokens, kind, message, settled=job))


def _seconds(value: int | None) -> str:
    return "an unknown time" if value is None else f"{value} s"


def _kind(status: Status, state: JobState) -> str | None:
    """The kind of failure that its job's end means for a run that was open; None where the run can just go on later.

    A job that failed before it began its runs would fail again and again, so those count as lost too.
    """
    if state.state == "OUT_OF_MEMORY":
        return "host_oom"
    if state.state in ("NODE_FAIL", "BOOT_FAIL"):
        return "node"
    if state.state == "FAILED" and status.state in ("running", "pending"):
        return "lost"
    # The warning before the time limit came too late, or SLURM did not requeue the job.
    return "lost" if state.state in _TIME_OUT and status.state == "running" else None
