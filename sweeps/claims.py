"""Who trains a run: numbered claim files, so that two workers never train one run twice.

claim-000001 is made with O_EXCL; its holder touches it as a sign of life. A claim without one for `lease_s` seconds may
be followed by claim-000002, again with O_EXCL, so exactly one of several followers wins. A holder that finds a higher
number than its own has lost the run and leaves it. Old claims stay: a number is used once. Only O_EXCL, mtime and
listing are needed, which NFS keeps.
"""

import os
import socket
import time
from pathlib import Path


class Claim:
    """Held until `release`, or until another follows because signs of life stopped."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def touch(self) -> bool:
        """Give a sign of life; False if the run is not ours any more."""
        if _last(self.path.parent) != self.path:
            return False
        try:
            os.utime(self.path)
        except FileNotFoundError:
            return False
        return True

    def release(self) -> None:
        """Let anyone follow at once."""
        if _last(self.path.parent) == self.path:
            os.utime(self.path, (0, 0))


def claim(folder: Path, lease_s: float) -> Claim | None:
    """Claim the run in `folder`; None if another worker holds it."""
    last = _last(folder)
    if last is not None and alive(last, lease_s):
        return None
    number = int(last.name.split("-")[1]) + 1 if last else 1
    path = folder / f"claim-{number:06d}"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return None
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{socket.gethostname()} {os.getpid()}\n")
    return Claim(path)


def held(folder: Path, lease_s: float) -> bool:
    """Whether some worker holds the run now."""
    last = _last(folder)
    return last is not None and alive(last, lease_s)


def alive(path: Path, lease_s: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime < lease_s
    except FileNotFoundError:
        return False


def _last(folder: Path) -> Path | None:
    return max(folder.glob("claim-*"), default=None)
