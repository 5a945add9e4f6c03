"""The ledger: one folder a run, and nothing else. Every write is whole or not there, and safe on NFS and Lustre."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sweeps.errors import SweepError

ENDED = ("done", "diverged")  # results; a failed run may be tried again
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True)
class Status:
    """What a run says of itself. `state`: pending, running, done, diverged, failed."""

    state: str
    tokens: int = 0
    failure: str | None = None  # oom, data, bug
    message: str | None = None


class RunFolder:
    """`runs/<study>/<run_id>/`: config.yaml, status, environment.json, curve.jsonl, checkpoint/, result.json."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_id = path.name

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoint"

    @property
    def curve_path(self) -> Path:
        return self.path / "curve.jsonl"

    def create(self, config: dict[str, Any]) -> bool:
        """Write config.yaml if the run is not there yet; returns whether it was new."""
        if (self.path / "config.yaml").exists():
            return False
        self.path.mkdir(parents=True, exist_ok=True)
        replace(
            self.path / "config.yaml", yaml.dump(config, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
        )
        return True

    def config(self) -> dict[str, Any]:
        return yaml.load((self.path / "config.yaml").read_text(), Loader=_Loader)

    def status(self) -> Status:
        """The last status written; pending where there is none."""
        text = _read(self.path / "status")
        return Status(**json.loads(text)) if text else Status("pending")

    def set_status(self, status: Status) -> None:
        replace(self.path / "status", dumps(vars(status)))

    def append_row(self, row: dict[str, Any]) -> None:
        """Add one evaluation to curve.jsonl and see it on its way to the disk."""
        with open(self.curve_path, "a", encoding="utf-8") as file:
            file.write(dumps(row) + "\n")
            file.flush()

    def curve(self) -> list[dict[str, Any]]:
        """The evaluations; a last line torn by a kill is not one."""
        rows = []
        for line in (_read(self.curve_path) or "").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return rows

    def rewind(self, rows: list[dict[str, Any]]) -> None:
        """Make the curve exactly `rows`: what was evaluated after the checkpoint will be evaluated again."""
        replace(self.curve_path, "".join(dumps(row) + "\n" for row in rows))

    def write_json(self, name: str, values: dict[str, Any]) -> None:
        replace(self.path / name, dumps(values, indent=1) + "\n")

    def read_json(self, name: str) -> dict[str, Any] | None:
        text = _read(self.path / name)
        return json.loads(text) if text else None


@dataclass(frozen=True)
class Study:
    """`runs/<study>/`: the run folders, the job logs, and the tables made from them."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def jobs(self) -> Path:
        return self.path / "jobs"

    def run(self, run_id: str) -> RunFolder:
        return RunFolder(self.path / run_id)

    def runs(self) -> list[RunFolder]:
        """Every run of the study, in the order of their ids."""
        return [RunFolder(p.parent) for p in sorted(self.path.glob("*/config.yaml"))]


def open_study(path: Path) -> Study:
    """An existing study; SweepError with the studies nearby if it is not there."""
    if not any(path.glob("*/config.yaml")):
        near = sorted({p.parent.parent.name for p in path.parent.glob("*/*/config.yaml")})
        there = (
            f"There are: {', '.join(near)}."
            if near
            else "There are none; `saescale launch study=demo` makes one."
        )
        raise SweepError(f"No study at {path}. {there}")
    return Study(path)


def replace(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new, never half: temporary name, rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def dumps(values: Any, indent: int | None = None) -> str:
    """JSON in which a number that is not finite is null: missing is missing."""
    return json.dumps(_finite(values), allow_nan=False, indent=indent)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def iter_states(study: Study) -> Iterator[tuple[RunFolder, Status]]:
    for folder in study.runs():
        yield folder, folder.status()
