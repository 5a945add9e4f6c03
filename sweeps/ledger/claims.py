"""Who trains a run: numbered claim files, so that two workers never train one run twice.

claim-000001 is made with O_EXCL; its holder touches it as a sign of life. A claim without one for its lease may be
followed by claim-000002, again with O_EXCL, so exactly one of several followers wins. A holder that finds a higher
number than its own has lost the run and leaves it. Old claims stay: a number is used once. Only O_EXCL, mtime and
listing are needed, which NFS keeps.

A claim says who made it: host, process, lease, and in SLURM the job and how often it was requeued. So a process of this
machine that is gone, or an earlier life of this same job on a node that was lost, is followed without waiting.
"""

import os
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from sweeps.ledger.job_environment import restarts, slurm_job

_UNWRITTEN_S = 60.0  # how long a claim may be without its words


class Claim:
    """Held until `release`, or until another follows because signs of life stopped.

    follows_this_job: the claim before it was an earlier life of this same SLURM job.
    """

    def __init__(self, path: Path, follows_this_job: bool = False) -> None:
        self.path, self.follows_this_job = path, follows_this_job
        self._ours = True
        self._lock = threading.Lock()  # a heartbeat must not revive a claim that is being released

    def touch(self) -> bool:
        """Give a sign of life; False if the run is not ours any more."""
        with self._lock:
            self._ours = self._ours and _last(self.path.parent) == self.path and self.path.exists()
            if self._ours:
                os.utime(self.path)
            return self._ours

    def release(self) -> None:
        """Let anyone follow at once."""
        if self.touch():
            with self._lock:
                self._ours = False
                os.utime(self.path, (0, 0))


class Heartbeat(threading.Thread):
    """Touches claims every `period_s` in the background, however long a step or an evaluation takes."""

    def __init__(self, claims: Sequence[Claim], period_s: float) -> None:
        super().__init__(daemon=True)
        self.claims, self.period_s = claims, period_s
        self._over = threading.Event()

    def run(self) -> None:
        held = list(self.claims)
        while not self._over.wait(self.period_s):
            held = [one for one in held if one.touch()]

    def stop(self) -> None:
        self._over.set()
        self.join()


def claim(folder: Path, lease_s: float) -> Claim | None:
    """Claim the run in `folder`; None if another worker holds it."""
    last = _last(folder)
    if last is not None and _alive(last):
        return None
    number = int(last.name.split("-")[1]) + 1 if last else 1
    path = folder / f"claim-{number:06d}"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return None
    job = slurm_job()
    life = f" {job} {restarts()}" if job else ""
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{socket.gethostname()} {os.getpid()} {lease_s}{life}\n")
    except OSError:  # a full disk: a claim without a word would hold the run for nobody
        path.unlink()
        raise
    return Claim(path, follows_this_job=last is not None and job is not None and holder(last) == job)


def held(folder: Path) -> bool:
    """Whether some worker holds the run now."""
    last = _last(folder)
    return last is not None and _alive(last)


def holder(path: Path) -> str | None:
    """The SLURM job that a claim was made in; None outside of SLURM."""
    words = path.read_text().split()
    return words[3] if len(words) == 5 else None


def revoke(folder: Path, job: str) -> None:
    """Free a run whose last claim was made in a SLURM job that is over."""
    last = _last(folder)
    if last is not None and holder(last) == job:
        os.utime(last, (0, 0))


def _alive(path: Path) -> bool:
    """Touched within its lease, and not by a process or a job's earlier life that is known to be gone."""
    try:
        age_s = time.time() - path.stat().st_mtime
        host, pid, lease_s, *life = path.read_text().split()
    except FileNotFoundError:
        return False
    except ValueError:  # made this instant, not written yet; or its maker died in that instant
        return age_s < _UNWRITTEN_S
    if age_s >= float(lease_s):
        return False
    if life and life[0] == slurm_job() and int(life[1]) < restarts():
        return False
    return host != socket.gethostname() or _runs(int(pid))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's process
        return True
    return True


def _last(folder: Path) -> Path | None:
    return max(folder.glob("claim-*"), default=None)
