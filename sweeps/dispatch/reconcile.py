"""What SLURM knows and a dead worker could not say: why a job ended, written to the folders of its runs."""

from sae_core.training import checkpoint
from sweeps.dispatch import slurm
from sweeps.dispatch.slurm import JobState
from sweeps.ledger import failures
from sweeps.ledger.claims import claim, revoke
from sweeps.ledger.failures import Failure
from sweeps.ledger.launches import job_of_each_run
from sweeps.ledger.run_folder import RunFolder, Status, Study

# States in which a run has nothing more to learn from its job.
SETTLED = ("done", "diverged", "failed", "cancelled")


def again(study: Study, folder: RunFolder, message: str | None = None) -> None:
    """Set a run back to pending; the end of the job that it was given to last has been told and counts no more."""
    job = job_of_each_run(study).get(folder.run_id)
    folder.set_status(Status("pending", folder.status().tokens, message=message, settled=job))


def settle(study: Study) -> dict[str, JobState]:
    """Write down how the runs of ended jobs ended; returns the job's state of every run that is in a living one.

    Without SLURM on this machine nothing is known and nothing written. SweepError if the controller does not answer.
    """
    if not slurm.available():
        return {}
    statuses = {run: (job, study.run(run).status()) for run, job in job_of_each_run(study).items()}
    open_runs = {
        run: job
        for run, (job, status) in statuses.items()
        if status.state not in SETTLED and status.settled != job
    }
    known = slurm.states(open_runs.values())
    living = {run: known[job] for run, job in open_runs.items() if job in known and known[job].live}
    for run, job in open_runs.items():
        if job in known and not known[job].live:
            try:
                _end(study.run(run), job, known[job])
            except OSError:  # no space left to say so: at the next look
                continue
    return living


def _end(folder: RunFolder, job: str, state: JobState) -> None:
    """Give a run the state that its job's end means, unless somebody else is at it by now."""
    revoke(folder, job)
    ours = claim(folder, lease_s=60)
    if ours is None:
        return
    status = folder.status()
    if status.state not in SETTLED:
        _write(folder, status, job, state)
    ours.release()


def _write(folder: RunFolder, status: Status, job: str, state: JobState) -> None:
    if state.state == "CANCELLED":
        message = f"job {job} was cancelled"
        folder.set_status(Status("cancelled", status.tokens, message=message, settled=job))
        return
    kind = _kind(status, state)
    if kind is None:
        if status.state == "running":
            message = f"job {job}: {state.state.lower()}"
            folder.set_status(Status("stopped", status.tokens, message=message, settled=job))
        return
    where = f" on {state.nodes}" if state.nodes else ""
    message = f"job {job}{where}: {state.state.lower()}, exit code {state.reason}"
    saved = checkpoint.newest(folder.checkpoints)
    failures.record(folder, Failure(kind, message, saved, host=state.nodes or None, job=job))
    folder.set_status(Status("failed", status.tokens, kind, message, settled=job))


def _kind(status: Status, state: JobState) -> str | None:
    """The kind of failure that the end of its job is for a run that was still open; None where it just goes on later.

    A job that fails before it has begun its runs would fail again and again: they are lost too.
    """
    if state.state == "OUT_OF_MEMORY":
        return "host_oom"
    if state.state in ("NODE_FAIL", "BOOT_FAIL"):
        return "node"
    if state.state == "FAILED" and status.state in ("running", "pending"):
        return "lost"
    # The warning before the time limit came too late, or SLURM did not take the job back.
    return "lost" if state.state in ("TIMEOUT", "DEADLINE") and status.state == "running" else None
