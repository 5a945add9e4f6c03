"""Stopping a worker by a signal: it saves its runs between two steps, and requeues its job where its time is up."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sweeps.ledger.job_environment import slurm_job

# SLURM's warning before the time limit and, on clusters configured for it, at preemption.
TIME_IS_UP = signal.SIGUSR2
GRACE_S = 120.0  # longer than KillWait; sites with a longer grace period requeue the job themselves
STOP = (signal.SIGTERM, signal.SIGINT, TIME_IS_UP)


class Stop:
    """`asked`: the signal that arrived, None so far."""

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.asked is not None

    def _handle(self, number: int, _: object) -> None:
        # A preempted job gets SIGUSR2, and SIGTERM at the end of its grace period: the first one decides.
        self.asked = self.asked or signal.Signals(number)

    @property
    def reason(self) -> str:
        """Why the worker stops, for the status of its runs."""
        if self.asked is None:
            return ""
        return "time is up or preempted" if self.asked == TIME_IS_UP else f"stopped by {self.asked.name}"


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Make signals inside the block set the flag and interrupt nothing. Outside of the main thread none arrive.

    They replace submitit's handlers, which would raise in the middle of a step; a step takes a fraction of a second.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop._handle) for number in STOP}
    # Signals sent since the job began, which sweeps/dispatch/slurm.py blocked, are delivered now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def requeue() -> bool:
    """Put this SLURM job back into the queue, under the same id; False outside of a job, or where SLURM refuses.

    SLURM requeues a preempted job itself, but not one that is about to reach its time limit.
    """
    job = slurm_job()
    if job is None:
        return False
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if done.returncode:
        print(f"SLURM did not requeue job {job}: {done.stderr.strip()}. Launch again to go on.", flush=True)
    return done.returncode == 0


def await_the_end() -> None:
    """After SIGTERM in a SLURM job, with everything saved, wait for SLURM to kill the job, so that SLURM knows why.

    SLURM requeues a preempted job that it has to kill, but not one that exits within its grace period. A cancelled job
    is killed after KillWait, 30 s by default. A job that outlives this wait was sent a signal and nothing else.
    """
    if slurm_job() is not None:
        time.sleep(GRACE_S)
