"""The programs of a SLURM cluster: found on this machine, or installed by apt-get where root may do so."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # daemons lie in sbin, which users may lack
# MariaDB's -core packages have the programs without its service: 76 MB in all for 207 (measured on Debian 12).
_PACKAGE_OF = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "slurmdbd": "slurmdbd",
    "sacct": "slurm-client",
    "munged": "munge",
    "mariadbd": "mariadb-server-core",
    "mariadb-install-db": "mariadb-server-core",
    "my_print_defaults": "mariadb-client-core",
}
_POLICY = Path("/usr/sbin/policy-rc.d")


def missing() -> list[str]:
    """The Debian packages whose programs this machine lacks."""
    return sorted(
        {package for program, package in _PACKAGE_OF.items() if not shutil.which(program, path=PATH)}
    )


def install() -> str | None:
    """Install what is missing; None when all is there, otherwise a sentence that says why it is not."""
    packages = missing()
    if not packages:
        return None
    lacking = f"A SLURM cluster for tests needs {', '.join(packages)}"
    if os.geteuid() != 0:
        return f"{lacking}, and only root may install packages: sudo apt-get install {' '.join(packages)}"
    if not shutil.which("apt-get", path=PATH):
        return f"{lacking}, and this machine has no apt-get to install them with."
    with _one_at_a_time(), _no_daemons():
        # The lists may be old, or a mirror of them unreachable: what counts is whether the install works.
        _apt_get("update")
        done = _apt_get("install", "-y", "--no-install-recommends", *packages)
    if done.returncode or missing():
        said = done.stderr.strip() or "it gave no reason"
        return f"{lacking}, and apt-get could not install them: {said.splitlines()[-1]}"
    return None


def _apt_get(*arguments: str) -> subprocess.CompletedProcess[str]:
    quiet = ["-q", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=120"]  # another apt-get may be at it
    env = {**os.environ, "PATH": PATH, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(["apt-get", *quiet, *arguments], env=env, capture_output=True, text=True)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Workers of pytest-xdist that start together wait for each other: the lists of apt-get have no patient lock."""
    with (Path(tempfile.gettempdir()) / "saescale-apt-get.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _no_daemons() -> Iterator[None]:
    """Packages installed in the block start no services: Debian asks policy-rc.d, and 101 means no."""
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            _POLICY.unlink()
