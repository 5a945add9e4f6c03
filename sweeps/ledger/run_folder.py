"""The ledger: one folder a run, and nothing else. Every write is whole or not there, and safe on NFS and Lustre."""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sae_core.files import write_text
from sweeps.errors import SweepError

ENDED = ("done", "diverged")  # results; a failed run may be tried again
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True)
class Status:
    """What a run says of itself.

    state: pending; running; stopped, to be resumed; done; diverged; failed; cancelled; unreadable if the file is torn.
    """

    state: str
    tokens: int = 0
    failure: str | None = None  # its kind, see `sweeps.ledger.failures`
    message: str | None = None
    rate: float | None = None  # tokens a second of the clock, while it runs
    settled: str | None = (
        None  # the SLURM job whose end is in this status, or was before it was set back to pending
    )
    updated: float = 0.0  # seconds since the epoch, when it was written


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

    @property
    def cancelled(self) -> bool:
        """Whether `saescale cancel` has asked for its end."""
        return (self.path / "cancel").exists()

    def create(self, config: dict[str, Any]) -> None:
        """Write config.yaml, again where it differs: the science in it is the run's id, but its data may have moved."""
        self.path.mkdir(parents=True, exist_ok=True)
        text = yaml.dump(config, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
        if _read(self.path / "config.yaml") != text:
            write_text(self.path / "config.yaml", text)

    def config(self) -> dict[str, Any]:
        """run_id, study, data, run, as `create` wrote them. SweepError if they are not there."""
        path = self.path / "config.yaml"
        try:
            config = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
            return {key: config[key] for key in ("run_id", "study", "data", "run")}
        except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError) as error:
            reason = _first_line(error)
            raise SweepError(f"{path} is not a run's config ({reason}); launch the study again.") from error

    def status(self) -> Status:
        """The last status written; pending where there is none."""
        text = _read(self.path / "status")
        try:
            return Status("pending") if text is None else Status(**json.loads(text))
        except (ValueError, TypeError):
            return Status("unreadable", message=f"{self.path / 'status'} is torn; launch the study again")

    def set_status(self, status: Status) -> None:
        text = dumps(vars(status) | {"updated": time.time()})
        try:
            write_text(self.path / "status", text, durable=status.state != "running")
        except OSError:
            if status.state != "failed":
                raise
            _overwrite(self.path / "status", text)  # a full disk is to be told

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
                rows.append(dict(json.loads(line)))
            except (ValueError, TypeError):
                break
        return rows

    def rewind(self, rows: list[dict[str, Any]]) -> None:
        """Make the curve exactly `rows`: what was evaluated after the checkpoint will be evaluated again."""
        write_text(self.curve_path, "".join(dumps(row) + "\n" for row in rows))

    def write_json(self, name: str, values: dict[str, Any]) -> None:
        write_text(self.path / name, dumps(values, indent=1) + "\n")

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The values of a JSON file, None where there is none. SweepError if it is torn."""
        return read_json(self.path / name)


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


def read_json(path: Path) -> dict[str, Any] | None:
    """The values of a JSON file, None where there is none. SweepError if it is torn."""
    text = _read(path)
    try:
        return None if text is None else dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise SweepError(f"{path} is torn ({_first_line(error)}); delete it and launch again.") from error


def dumps(values: Any, indent: int | None = None) -> str:
    """JSON in which a number that is not finite is null: missing is missing."""
    return json.dumps(_finite(values), allow_nan=False, indent=indent)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def _overwrite(path: Path, text: str) -> None:
    """Write over a small file in its place: a full disk has no room for a new one, and this one has its block."""
    with open(path, "r+b") as file:
        old = len(file.read())
        file.seek(0)
        file.write(text.encode().ljust(old))


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
