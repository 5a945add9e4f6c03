"""A worker as a job of its own, that hears SLURM from its first moment and tells it the truth at its end.

A worker imports torch, seconds or, from a busy disk, a minute. A signal that came before there was a handler would kill
it: a job that fails, which nobody requeues. sweeps/dispatch/slurm.py holds signals back until `stoppable` lets them in,
and nothing here imports torch before.
"""

import sys
from collections.abc import Sequence

from sweeps.config.launcher import Launcher
from sweeps.worker.signals import TIME_IS_UP, await_the_end, requeue, stoppable


def job(study_path: str, run_ids: Sequence[str], launcher: Launcher) -> None:
    """`work`, with an exit code: 0 unless a run failed or it was stopped.

    A job that is stopped and not cancelled goes back into the queue and resumes from the checkpoints that `work` left.
    A second signal, as where preemption follows the warning of a time limit, does not disturb its going back.
    """
    with stoppable() as stop:
        from sweeps.worker.worker import work

        try:
            states = work(study_path, run_ids, launcher, stop)
        except OSError as error:  # not even a claim can be written
            sys.exit(
                f"The study's folder cannot be used: {error}. Runs go on from their checkpoints when it can."
            )
        if stop:
            print(f"{stop.words}: all runs are saved.", flush=True)
            if stop.asked != TIME_IS_UP:
                await_the_end()
            sys.exit("Back in the queue." if requeue() else "Launch again to go on.")
        failed = [run_id for run_id, state in states.items() if state == "failed"]
        if failed:
            sys.exit(f"{len(failed)} of {len(states)} runs failed: {', '.join(failed[:10])}")
