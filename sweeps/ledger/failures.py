"""Why a run failed, what that calls for, and how often it was tried: a line a failure in the run's failures.jsonl."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae_core.errors import CheckpointError, DataError
from sae_core.training.memory import is_out_of_memory
from sweeps.errors import SweepError
from sweeps.ledger.provenance import now

# kind: what happened. What is done about each: docs/launching.md; how often: the launcher's `retries`.
KINDS = {
    "oom": "an allocation found no memory",
    "host_oom": "killed for the memory of its job",
    "node": "the node failed",
    "disk": "a file could not be written",
    "lost": "the worker died without a word",
    "data": "the data or the checkpoint cannot be used",
    "bug": "an error in the code or the config",
}
# CUDA errors of a GPU or a node that is broken, not of the program: another node may do it.
_NODE = re.compile(
    r"uncorrectable ECC|no CUDA-capable device|GPU is lost|fallen off the bus|unspecified launch failure"
    r"|hardware stack error|NVLink|driver shutting down|CUDA unknown error|devices? (?:is|are) busy or unavailable",
    re.IGNORECASE,
)
FILE = "failures.jsonl"
_RETRIED = "retried"  # the mark of `saescale retry`: what is above it counts no more


@dataclass(frozen=True)
class Failure:
    """kind, message: what happened. saved: optimizer steps in the newest checkpoint then. host, job: where."""

    kind: str
    message: str
    saved: int = 0
    at: str = ""
    host: str | None = None
    job: str | None = None


def kind_of(error: BaseException) -> str:
    """The kind of an exception. What nothing else explains is a bug, which is not tried again."""
    text = str(error)
    if is_out_of_memory(error):
        return "oom"
    if isinstance(error, DataError | SweepError | CheckpointError):
        return "data"
    if isinstance(error, RuntimeError) and _NODE.search(text):
        return "node"
    return "disk" if isinstance(error, OSError) else "bug"


def words(kind: str, error: BaseException) -> str:
    """One line for `status`: the sentence of an error of ours, of a bug its type and the traceback's last line."""
    lines = str(error).strip().splitlines()
    if kind == "bug":
        return f"{type(error).__name__}: {lines[-1] if lines else ''}"
    return (lines or [KINDS[kind]])[0]


def note(folder: Path, failure: Failure) -> None:
    """Add a failure to the run's list."""
    _append(folder, vars(failure) | {"at": now()})


def forgive(folder: Path) -> None:
    """Let the run be tried as if it had never failed; its failures stay on record."""
    if failures(folder, since_retry=False):
        _append(folder, {"kind": _RETRIED, "message": "", "at": now()})


def failures(folder: Path, since_retry: bool = True) -> list[Failure]:
    """The run's failures, by default those since the last `saescale retry`; a torn line is none."""
    try:
        lines = (folder / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found: list[Failure] = []
    for line in lines:
        try:
            one = Failure(**json.loads(line))
        except (ValueError, TypeError):
            continue
        if one.kind != _RETRIED:
            found.append(one)
        elif since_retry:
            found.clear()
    return found


def may_retry(folder: Path, retries: Mapping[str, int]) -> bool:
    """Whether the run's last failure may be tried again: of its kind no more than `retries` of it, at one checkpoint.

    A run that got further in between is not stuck, so what failed before a newer checkpoint counts no more.
    """
    known = failures(folder)
    if not known:
        return True
    last = known[-1]
    return sum((one.kind, one.saved) == (last.kind, last.saved) for one in known) <= retries.get(last.kind, 0)


def _append(folder: Path, record: Mapping[str, Any]) -> None:
    with open(folder / FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")
        file.flush()
