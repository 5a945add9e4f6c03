"""Entry point of a SLURM job: installs signal handlers before torch is imported, and exits with the status of its runs.

Importing torch takes seconds, or a minute from a busy disk. A signal that arrived before the handlers would kill the
process, and SLURM does not requeue a job that failed. So sweeps/dispatch/slurm.py blocks signals from the job's first
moment, `stoppable` lets them in, and nothing here imports torch before that.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sweeps.config.launcher import Launcher
from sweeps.ledger import failures
from sweeps.ledger.claims import claim
from sweeps.ledger.job_environment import job_started, slurm_job
from sweeps.ledger.run_folder import ENDED, RunFolder, Status, Study
from sweeps.worker.signals import TIME_IS_UP, await_the_end, requeue, stoppable

STALLED_ROUNDS = 3  # a job that reaches its limit so often in a row with no token gained is given up
_WARNED_EARLY_S = 60.0  # SLURM sends its warning up to a minute before it is due
_OVER = (*ENDED, "failed", "cancelled")


def job(study_path: str, run_ids: Sequence[str], launcher: Launcher) -> None:
    """Do `work` and exit with 0, unless a run failed or the job was stopped.

    A job that is stopped, but not cancelled, goes back into the queue and resumes from the checkpoints that `work`
    left, unless its start takes longer than its time limit allows: see `_end_if_stalled`. Further signals, such as
    preemption after the warning of a time limit, do not disturb this.
    """
    with stoppable() as stop:
        folders = [Study(Path(study_path)).run(run_id) for run_id in run_ids]
        before = {folder.run_id: folder.status() for folder in folders}
        from sweeps.worker.worker import work

        try:
            states = work(study_path, run_ids, launcher, stop)
            if stop.asked == TIME_IS_UP and (job_id := slurm_job()):
                _end_if_stalled(job_id, folders, before, launcher)
        except OSError as error:  # not even a claim can be written
            sys.exit(
                f"The study's folder cannot be used: {error}. Runs go on from their checkpoints when it can."
            )
        if stop:
            print(f"{stop.reason}: all runs are saved.", flush=True)
            if stop.asked != TIME_IS_UP:
                await_the_end()
            sys.exit("Back in the queue." if requeue() else "Launch again to go on.")
        failed = [run_id for run_id, state in states.items() if state == "failed"]
        if failed:
            sys.exit(f"{len(failed)} of {len(states)} runs failed: {', '.join(failed[:10])}")


def _end_if_stalled(
    job_id: str, folders: Sequence[RunFolder], before: Mapping[str, Status], launcher: Launcher
) -> None:
    """Exit, with the job's runs failed as `stalled`, after STALLED_ROUNDS rounds in which none gained a token.

    A round is one life of the job, from its start to the warning of its time limit. The status of each run keeps the
    count from one round to the next.

    Parameters
    ----------
    job_id: the SLURM job.
    folders: the runs that the job was given.
    before: their statuses when this round began.
    launcher: for the job's time limit.
    """
    started = job_started()
    if started is None:
        return
    took, limit = time.time() - started, launcher.timeout_min * 60
    if took < limit - launcher.slurm.signal_s - _WARNED_EARLY_S:  # preempted
        return
    after = {folder.run_id: folder.status() for folder in folders}
    progress = any(
        after[run_id].tokens > then.tokens or after[run_id].state in ENDED and then.state not in ENDED
        for run_id, then in before.items()
    )
    waiting = [folder for folder in folders if after[folder.run_id].state not in _OVER]
    rounds = {f.run_id: 0 if progress else before[f.run_id].rounds + 1 for f in waiting}
    stalled = bool(waiting) and min(rounds.values()) >= STALLED_ROUNDS
    message = (
        f"no run of job {job_id} gained a token in {STALLED_ROUNDS} rounds: its start took {took:.0f} s or longer, and "
        f"its limit is {limit:.0f} s, of which SLURM's warning takes {launcher.slurm.signal_s} s or more. Launch again "
        "with a longer launcher.timeout_min and launcher.retries.stalled=1."
    )
    for folder in waiting:
        _note_round(folder, rounds[folder.run_id], message if stalled else None)
    if stalled:
        sys.exit(f"Stalled: {message}")


def _note_round(folder: RunFolder, rounds: int, stalled: str | None) -> None:
    """Write the count of rounds to the run's status, or the failure that ends it, unless another worker has the run."""
    ours = claim(folder, lease_s=60)
    if ours is None:
        return
    status = folder.status()
    if status.state not in _OVER:
        if stalled:
            from sweeps.worker.training import failure

            failures.record(folder, failure(folder, "stalled", stalled))
            folder.set_status(Status("failed", status.tokens, "stalled", stalled))
        elif rounds != status.rounds:
            folder.set_status(replace(status, rounds=rounds))
    ours.release()
