"""Why a run failed, what to do about it, and how often it was tried: one line per failure in failures.jsonl."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sae_core.errors import CheckpointError, DataError
from sweeps.errors import SweepError
from sweeps.ledger.provenance import now
from sweeps.ledger.run_folder import RunFolder

# Kind: what happened. docs/guide/launching.md says what is done about each.
KINDS = {
    "oom": "an allocation found no memory",
    "host_oom": "killed for the memory of its job",
    "node": "the node failed",
    "disk": "a file could not be written",
    "stalled": "the job's time limit came before its start had ended",
    "lost": "the worker died without recording a reason",
    "data": "the data or the checkpoint cannot be used",
    "bug": "an error in the code or the config",
}
# How often a failure of each kind is retried, unless `launcher.retries` says otherwise.
RETRIES = {"oom": 4, "host_oom": 2, "node": 3, "disk": 5, "stalled": 0, "lost": 2, "data": 0, "bug": 0}
# CUDA errors that mean a broken GPU or node rather than a broken program: another node may do it.
_NODE = re.compile(
    r"uncorrectable ECC|no CUDA-capable device|GPU is lost|fallen off the bus|unspecified launch failure"
    r"|hardware stack error|NVLink|driver shutting down|CUDA unknown error|devices? (?:is|are) busy or unavailable",
    re.IGNORECASE,
)
_RETRIED = "retried"  # the mark that `saescale retry` leaves: failures above it no longer count


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
    """The kind of an exception. One that nothing else explains is a bug, which is not retried."""
    from sae_core.training.memory import (
        is_out_of_memory,  # imports torch, which a job's start has to do without
    )

    text = str(error)
    if is_out_of_memory(error):
        return "oom"
    if isinstance(error, DataError | SweepError | CheckpointError):
        return "data"
    if isinstance(error, RuntimeError) and _NODE.search(text):
        return "node"
    return "disk" if isinstance(error, OSError) else "bug"


def message_of(kind: str, error: BaseException) -> str:
    """One line for `status`: for a bug the exception's type and last line, otherwise its first line."""
    lines = str(error).strip().splitlines()
    if kind == "bug":
        return f"{type(error).__name__}: {lines[-1] if lines else ''}"
    return (lines or [KINDS[kind]])[0]


def record(folder: RunFolder, failure: Failure) -> None:
    """Add a failure to the run's list."""
    _append(folder, vars(failure) | {"at": now()})


def reset(folder: RunFolder) -> None:
    """Let the run be tried as if it had never failed. Its failures stay on record."""
    if failures(folder, since_retry=False):
        _append(folder, {"kind": _RETRIED, "message": "", "at": now()})


def failures(folder: RunFolder, since_retry: bool = True) -> list[Failure]:
    """The run's failures, by default those since the last `saescale retry`. Torn lines are skipped."""
    try:
        lines = folder.failures_path.read_text(encoding="utf-8", errors="replace").splitlines()
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


def may_retry(folder: RunFolder, retries: Mapping[str, int]) -> bool:
    """Whether the run may be tried again after its last failure.

    It may while failures of that kind at that checkpoint number at most `retries` of the kind. A run that has got
    further in between is not stuck, so failures before a newer checkpoint do not count.
    """
    known = failures(folder)
    if not known:
        return True
    last = known[-1]
    return sum((one.kind, one.saved) == (last.kind, last.saved) for one in known) <= retries.get(last.kind, 0)


def _append(folder: RunFolder, record: Mapping[str, Any]) -> None:
    with open(folder.failures_path, "a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")
        file.flush()
