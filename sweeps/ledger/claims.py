"""Which worker trains a run: numbered claim files, so that two workers never train one run at the same time.

claim-000001 is created with O_EXCL, and its holder touches it as a heartbeat. When a claim has had no heartbeat for its
lease, another worker may create claim-000002, again with O_EXCL, so exactly one of several candidates succeeds. A
holder that finds a higher number than its own has lost the run and stops training it. Claims that trained are kept, so
a number is used only once. This needs O_EXCL, modification times and directory listings, and NFS provides all three.

A claim records who made it: host, process, lease, and in SLURM the job and how often the job was requeued. So a claim
by a dead process of this machine, or by an earlier life of this same job on a lost node, is superseded without waiting.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sweeps.ledger.job_environment import restarts, slurm_job
from sweeps.ledger.run_folder import RunFolder, Status

_HOLDING_S = 60.0  # the lease of `holding`
_UNWRITTEN_S = 60.0  # how long a claim file may stay empty before its maker counts as dead


class Claim:
    """A worker's hold on a run, until `release` or until another worker supersedes it for lack of heartbeats.

    follows_this_job: the claim before it was made by an earlier life of this same SLURM job.
    """

    def __init__(self, folder: RunFolder, path: Path, follows_this_job: bool = False) -> None:
        self.folder, self.path, self.follows_this_job = folder, path, follows_this_job
        self._ours = True
        self._lock = threading.Lock()  # a heartbeat must not revive a claim that is being released

    def touch(self) -> bool:
        """Give a heartbeat; False if another worker has the run by now."""
        with self._lock:
            self._ours = self._ours and _newest(self.folder) == self.path and self.path.exists()
            if self._ours:
                os.utime(self.path)
            return self._ours

    def release(self) -> None:
        """Let any worker claim the run at once."""
        if self.touch():
            with self._lock:
                self._ours = False
                os.utime(self.path, (0, 0))

    def withdraw(self) -> None:
        """Take back a claim under which nothing was done, because the run had ended before it was made."""
        with self._lock:
            self._ours = False
            self.path.unlink(missing_ok=True)


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


def claim(folder: RunFolder, lease_s: float) -> Claim | None:
    """Claim a run; None if another worker holds it."""
    last = _newest(folder)
    if last is not None and _alive(last):
        return None
    number = int(last.name.split("-")[1]) + 1 if last else 1
    path = folder.claim_path(number)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return None
    job = slurm_job()
    life = f" {job} {restarts()}" if job else ""
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{socket.gethostname()} {os.getpid()} {lease_s}{life}\n")
    except OSError:  # a full disk: an empty claim would block the run with no worker behind it
        path.unlink()
        raise
    return Claim(folder, path, follows_this_job=last is not None and job is not None and holder(last) == job)


@contextmanager
def holding(folder: RunFolder, lease_s: float = _HOLDING_S) -> Iterator[None]:
    """Hold a folder while the block runs, for others to see that somebody works on it; the claim is then removed.

    The block runs all the same where another process holds the folder.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    own = claim(folder, lease_s)
    beat = Heartbeat([own] if own is not None else [], lease_s / 4)
    beat.start()
    try:
        yield
    finally:
        beat.stop()
        if own is not None:
            own.withdraw()


def held(folder: RunFolder) -> bool:
    """Whether a living worker holds the run."""
    last = _newest(folder)
    return last is not None and _alive(last)


def current_status(folder: RunFolder) -> Status:
    """The run's status, with `stopped` in place of `running` where its worker is dead."""
    status = folder.status()
    if status.state == "running" and not held(folder):
        return replace(status, state="stopped", message="its worker is gone; launch again to go on")
    return status


def holder(path: Path) -> str | None:
    """The SLURM job in which a claim was made; None outside of SLURM."""
    fields = path.read_text().split()
    return fields[3] if len(fields) == 5 else None


def revoke(folder: RunFolder, job: str) -> None:
    """Free a run if its newest claim was made in `job`, a SLURM job that has ended."""
    last = _newest(folder)
    if last is not None and holder(last) == job:
        os.utime(last, (0, 0))


def _alive(path: Path) -> bool:
    """Touched within its lease, and not made by a process or an earlier life of a job that is known to be dead."""
    try:
        age_s = time.time() - path.stat().st_mtime
        host, pid, lease_s, *life = path.read_text().split()
    except FileNotFoundError:
        return False
    except ValueError:  # created a moment ago and still empty, or its maker died in that moment
        return age_s < _UNWRITTEN_S
    if age_s >= float(lease_s):
        return False
    if life and life[0] == slurm_job() and int(life[1]) < restarts():
        return False
    return host != socket.gethostname() or _process_exists(int(pid))


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        return True
    return True


def _newest(folder: RunFolder) -> Path | None:
    return max(folder.claim_paths(), default=None)
