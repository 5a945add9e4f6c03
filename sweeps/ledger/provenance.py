"""Provenance of a result: the code, the versions and the machine that made it."""

import json
import platform
import socket
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sweeps.ledger.job_environment import slurm_job

CODE = "code.json"  # in a snapshot, see `sweeps.dispatch.snapshot`: what git said where it was taken
_ROOT = Path(__file__).parents[2]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment(device: str) -> dict[str, Any]:
    """The provenance of a run that starts on this machine now."""
    import torch  # here: a job imports this module before its signal handlers are installed

    sha, dirty = git_state()
    return {
        "started": now(),
        "host": socket.gethostname(),
        "job": slurm_job(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else platform.machine() + " CPU",
        "threads": torch.get_num_threads(),
        "git_sha": sha,
        "git_dirty": dirty,
        "saescale": _version("saescale"),
        "torch": torch.__version__,
        "triton": _version("triton"),
    }


def git_state() -> tuple[str | None, bool | None]:
    """The commit of this code, and whether it was edited since; None where the code is not from a checkout."""
    if (_ROOT / CODE).exists():
        known = json.loads((_ROOT / CODE).read_text(encoding="utf-8"))
        return known["git_sha"], known["git_dirty"]
    sha = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain", "--untracked-files=no")
    return sha, None if sha is None or status is None else bool(status)


def changes() -> str | None:
    """The edits since the commit, as a patch."""
    return _git("diff", "HEAD")


def _git(*arguments: str) -> str | None:
    if not (_ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
