"""What all benchmarks share: their rows in results/<machine>.json, each with its time and commit, and their parser."""

import argparse
import json
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sae_core.files import write_text
from sweeps.ledger.provenance import git_state, now

RESULTS = Path(__file__).parent / "results"


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m benchmarks.<name>`, whose help is the module's docstring as it stands."""
    return argparse.ArgumentParser(
        f"python -m benchmarks.{name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def machine() -> str:
    """The GPU's name, or the processor's if there is no GPU, such as `NVIDIA H200` or `AMD EPYC`."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), platform.machine())


def versions(packages: Sequence[str]) -> dict[str, str | None]:
    """Installed versions; None for a package that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def state() -> tuple[str | None, bool | None]:
    """`git_state` before the first rows of this process are written, since writing them changes a tracked file."""
    return git_state()


def append(
    benchmark: str, rows: Sequence[Mapping[str, Any]], packages: Sequence[str], to: Path = RESULTS
) -> Path:
    """Append the rows of one benchmark run to the machine's file, with time, commit and versions in each."""
    sha, dirty = state()
    made = {
        "benchmark": benchmark,
        "at": now(),
        "commit": sha,
        "dirty": dirty,
        "versions": versions(packages),
    }
    path = to / f"{machine().lower().replace(' ', '-')}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    text = ",\n".join(json.dumps(row, allow_nan=False) for row in [*before, *({**made, **r} for r in rows)])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, f"[\n{text}\n]\n")
    return path


def recorded(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The rows of all machines, the oldest first."""
    rows = [row for path in folder.glob("*.json") for row in json.loads(path.read_text(encoding="utf-8"))]
    return sorted(rows, key=lambda row: row.get("at") or "")
