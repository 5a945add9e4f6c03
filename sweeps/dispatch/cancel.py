"""Cancelling runs, and setting failed and cancelled runs back to pending."""

from collections.abc import Sequence

from sweeps.dispatch import slurm
from sweeps.dispatch.reconcile import SETTLED, again
from sweeps.ledger import failures, launches
from sweeps.ledger.claims import claim
from sweeps.ledger.run_folder import ENDED, RunFolder, Status, Study


def cancel(study: Study, runs: Sequence[RunFolder]) -> list[RunFolder]:
    """Cancel these runs, and the SLURM jobs that have nothing else left to train; returns the runs it cancelled.

    A running run's worker sees the request at its next heartbeat, saves the run and goes on with its others. `retry`
    takes a cancellation back.
    """
    to_cancel = [folder for folder in runs if folder.status().state not in (*ENDED, "cancelled")]
    for folder in to_cancel:
        folder.ask_to_cancel()
        claimed = claim(folder, lease_s=60)
        if claimed is None:  # its worker will see the request
            continue
        status = folder.status()
        if status.state not in ENDED:
            folder.set_status(Status("cancelled", status.tokens, message="cancelled by hand"))
        claimed.release()
    if slurm.available():
        slurm.cancel(_idle(study))
    return to_cancel


def retry(study: Study, runs: Sequence[RunFolder]) -> list[RunFolder]:
    """Set failed and cancelled runs back to pending and clear their failure counts; returns the runs reset."""
    reset = []
    for folder in runs:
        if folder.status().state not in ("failed", "cancelled", "unreadable") and not folder.cancelled:
            continue
        claimed = claim(folder, lease_s=60)
        if claimed is None:  # its worker is still saving it
            continue
        folder.withdraw_cancel()
        failures.reset(folder)
        again(study, folder)
        claimed.release()
        reset.append(folder)
    return reset


def _idle(study: Study) -> list[str]:
    """The living jobs that have no run left to train. A job that is still saving a run exits on its own."""
    runs_of: dict[str, list[str]] = {}
    for run, job in launches.job_of_each_run(study).items():
        runs_of.setdefault(job, []).append(run)
    idle = [job for job, runs in runs_of.items() if all(study.run(r).status().state in SETTLED for r in runs)]
    if all(study.run(run).status().state in SETTLED for runs in runs_of.values() for run in runs):
        idle += launches.planners(study)  # nothing is left for the next phase to wait for
    return [job for job, state in slurm.states(idle).items() if state.live]
