"""A worker that is asked to stop: it saves between two steps, and goes back into SLURM's queue where its time is up."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sweeps.ledger.job_environment import slurm_job

# SLURM's warning before the time limit and, on clusters that are set so, at preemption.
TIME_IS_UP = signal.SIGUSR2
GRACE_S = 120.0  # longer than KillWait; whoever has more grace than this goes back into the queue by itself
STOP = (signal.SIGTERM, signal.SIGINT, TIME_IS_UP)


class Stop:
    """`asked`: the signal that came, None so far."""

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.asked is not None

    def _handle(self, number: int, _: object) -> None:
        # A preempted job gets SIGUSR2 and then SIGTERM at the end of its grace: the first says what to do.
        self.asked = self.asked or signal.Signals(number)

    @property
    def words(self) -> str:
        """For the run's status."""
        if self.asked is None:
            return ""
        return "time is up or preempted" if self.asked == TIME_IS_UP else f"stopped by {self.asked.name}"


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Signals inside the block set the flag and interrupt nothing; outside of the main thread none are seen.

    submitit's own handlers, which would raise in the middle of a step, are put aside: a step is a fraction of a second.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop._handle) for number in STOP}
    # What came since the job began, held back by sweeps/dispatch/slurm.py, comes now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def requeue() -> bool:
    """Put this SLURM job back into the queue, under the same id; False where there is no job or SLURM refuses.

    After preemption SLURM requeues by itself, before the time limit nobody does.
    """
    job = slurm_job()
    if job is None:
        return False
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if done.returncode:
        print(f"SLURM did not requeue job {job}: {done.stderr.strip()}. Launch again to go on.", flush=True)
    return done.returncode == 0


def await_the_end() -> None:
    """After SIGTERM in a SLURM job, with everything saved: give SLURM the time to kill it, so that SLURM knows why.

    A preempted job that ends by itself within its grace is not requeued, one that SLURM kills is. A cancelled one is
    killed after KillWait, 30 s by default. A job that lives on was sent a signal and nothing else.
    """
    if slurm_job() is not None:
        time.sleep(GRACE_S)
