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
    met = [folder for folder in runs if folder.status().state not in (*ENDED, "cancelled")]
    for folder in met:
        folder.ask_to_cancel()
        ours = claim(folder, lease_s=60)
        if ours is None:  # its worker will see the request
            continue
        status = folder.status()
        if status.state not in ENDED:
            folder.set_status(Status("cancelled", status.tokens, message="cancelled by hand"))
        ours.release()
    if slurm.available():
        slurm.cancel(_idle(study))
    return met


def retry(study: Study, runs: Sequence[RunFolder]) -> list[RunFolder]:
    """Set failed and cancelled runs back to pending and clear their failure counts; returns the runs reset."""
    met = []
    for folder in runs:
        if folder.status().state not in ("failed", "cancelled", "unreadable") and not folder.cancelled:
            continue
        ours = claim(folder, lease_s=60)
        if ours is None:  # its worker is still saving it
            continue
        folder.withdraw_cancel()
        failures.reset(folder)
        again(study, folder)
        ours.release()
        met.append(folder)
    return met


def _idle(study: Study) -> list[str]:
    """The living jobs that have no run left to train. A job that is still saving a run exits on its own."""
    given: dict[str, list[str]] = {}
    for run, job in launches.job_of_each_run(study).items():
        given.setdefault(job, []).append(run)
    idle = [job for job, runs in given.items() if all(study.run(r).status().state in SETTLED for r in runs)]
    return [job for job, state in slurm.states(idle).items() if state.live]
