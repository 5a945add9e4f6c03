"""The run folder and the study folder: the names of their files, and how each is written and read.

The folder tree is the ledger; there is no database. Every write is complete or absent, and safe on NFS and Lustre.
"""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sae_core.files import write_text
from sweeps.errors import SweepError

ENDED = ("done", "diverged")  # the states with a result; a failed run may be tried again
_CONFIG = "config.yaml"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True)
class Status:
    """The contents of a run's status file.

    state: pending, running, stopped (to be resumed), done, diverged, failed, cancelled, or unreadable where the file
    is torn.
    """

    state: str
    tokens: int = 0
    failure: str | None = None  # its kind, see `sweeps.ledger.failures`
    message: str | None = None
    rate: float | None = None  # tokens per second of wall time, while the run trains
    # The last SLURM job with an end that this status, or the one before a reset to pending, has taken into account.
    settled: str | None = None
    rounds: int = 0  # consecutive time limits that its job reached without training on a token
    updated: float = 0.0  # when it was written, in seconds since the epoch


class RunFolder:
    """`runs/<study>/<run_id>/`, and the only place in the code that names its files.

    | name                             | contents                                                                    |
    |----------------------------------|-----------------------------------------------------------------------------|
    | config.yaml                      | the resolved config; its science is hashed to the run id                    |
    | status                           | a `Status` as JSON                                                          |
    | environment.json                 | versions, commit and machine of the worker                                  |
    | curve.jsonl                      | one line per evaluation                                                     |
    | checkpoint/                      | the newest checkpoint, then weights.safetensors                             |
    | latents.json                     | histograms over the latents of a finished run                               |
    | result.json                      | the numbers of an ended run                                                 |
    | traceback.txt                    | of the last failure, until the run ends well                                |
    | failures.jsonl                   | one line per failure, see `sweeps.ledger.failures`                          |
    | claim-000001, claim-000002, …    | which worker has had the run, see `sweeps.ledger.claims`                    |
    | cancel                           | there while `saescale cancel` asks for the run's end                        |
    | tensorboard/, wandb/             | event files of the trackers                                                 |
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_id = path.name

    @property
    def exists(self) -> bool:
        """Whether this is the folder of a run."""
        return self._config_path.is_file()

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoint"

    @property
    def weights_path(self) -> Path:
        """The weights of an ended run."""
        return self.checkpoints / "weights.safetensors"

    @property
    def curve_path(self) -> Path:
        return self.path / "curve.jsonl"

    @property
    def failures_path(self) -> Path:
        return self.path / "failures.jsonl"

    @property
    def tensorboard_path(self) -> Path:
        return self.path / "tensorboard"

    @property
    def _config_path(self) -> Path:
        return self.path / _CONFIG

    @property
    def _status_path(self) -> Path:
        return self.path / "status"

    @property
    def _traceback_path(self) -> Path:
        return self.path / "traceback.txt"

    @property
    def _cancel_path(self) -> Path:
        return self.path / "cancel"

    def claim_path(self, number: int) -> Path:
        return self.path / f"claim-{number:06d}"

    def claim_paths(self) -> list[Path]:
        """Every claim ever made on the run, the newest last."""
        return sorted(self.path.glob("claim-*"))

    def create(self, config: dict[str, Any]) -> None:
        """Write config.yaml. It is replaced where it differs: the run id fixes the science, but the data may move."""
        self.path.mkdir(parents=True, exist_ok=True)
        text = yaml.dump(config, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
        if _read(self._config_path) != text:
            write_text(self._config_path, text)

    def config(self) -> dict[str, Any]:
        """run_id, study, data and run as `create` wrote them. SweepError where they cannot be read."""
        try:
            config = yaml.load(self._config_path.read_text(encoding="utf-8"), Loader=_Loader)
            return {key: config[key] for key in ("run_id", "study", "data", "run")}
        except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError) as error:
            raise SweepError(
                f"{self._config_path} cannot be read as a run's config ({_first_line(error)}); launch the study again."
            ) from error

    def branches_off(self) -> str | None:
        """The ended run off whose kept state this one branches, as its launch decided; None for most runs."""
        try:
            config = yaml.load(self._config_path.read_text(encoding="utf-8"), Loader=_Loader)
            return str(config["branches_off"])
        except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError):
            return None

    def status(self) -> Status:
        """The last status written; pending if there is none. `claims.current_status` also looks for a living worker."""
        text = _read(self._status_path)
        try:
            return Status("pending") if text is None else _status(json.loads(text))
        except (ValueError, TypeError):
            return Status("unreadable", message=f"{self._status_path} is torn; launch the study again")

    def set_status(self, status: Status) -> None:
        fields = vars(status) | {"updated": time.time()}
        text = dumps({name: value for name, value in fields.items() if name != "rounds" or value})
        try:
            write_text(self._status_path, text, durable=status.state != "running")
        except OSError:
            if status.state != "failed":
                raise
            _overwrite(self._status_path, text)  # the disk is full, and the user must learn of it

    @property
    def cancelled(self) -> bool:
        """Whether `saescale cancel` has asked to end the run."""
        return self._cancel_path.exists()

    def ask_to_cancel(self) -> None:
        """Ask the worker that has the run to save it and stop training it, and all other workers not to start it."""
        self._cancel_path.touch()

    def withdraw_cancel(self) -> None:
        self._cancel_path.unlink(missing_ok=True)

    def append_row(self, row: dict[str, Any]) -> None:
        """Append one evaluation to curve.jsonl and flush it."""
        with open(self.curve_path, "a", encoding="utf-8") as file:
            file.write(dumps(row) + "\n")
            file.flush()

    def curve(self) -> list[dict[str, Any]]:
        """The evaluations, without a last line that was cut off when the process was killed."""
        rows = []
        for line in (_read(self.curve_path) or "").splitlines():
            try:
                rows.append(dict(json.loads(line)))
            except (ValueError, TypeError):
                break
        return rows

    def rewind(self, rows: list[dict[str, Any]]) -> None:
        """Replace the curve by `rows`, because evaluations after the checkpoint will be repeated."""
        write_text(self.curve_path, "".join(dumps(row) + "\n" for row in rows))

    # Each of these returns None if there is no file, and raises SweepError if the file is incomplete.

    def environment(self) -> dict[str, Any] | None:
        return self._read_json("environment.json")

    def set_environment(self, facts: dict[str, Any]) -> None:
        self._write_json("environment.json", facts)

    def result(self) -> dict[str, Any] | None:
        return self._read_json("result.json")

    def set_result(self, numbers: dict[str, Any]) -> None:
        self._write_json("result.json", numbers)

    def latents(self) -> dict[str, Any] | None:
        return self._read_json("latents.json")

    def set_latents(self, histograms: dict[str, Any]) -> None:
        self._write_json("latents.json", histograms)

    def traceback(self) -> str | None:
        """The traceback of the last failure; None if the run has ended well or never failed."""
        return _read(self._traceback_path)

    def set_traceback(self, text: str | None) -> None:
        """Write the traceback of a failure; None removes an earlier one."""
        if text is None:
            self._traceback_path.unlink(missing_ok=True)
        else:
            write_text(self._traceback_path, text)

    def _write_json(self, name: str, values: dict[str, Any]) -> None:
        write_text(self.path / name, dumps(values, indent=1) + "\n")

    def _read_json(self, name: str) -> dict[str, Any] | None:
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

    @property
    def has_runs(self) -> bool:
        return any(self.path.glob(f"*/{_CONFIG}"))

    def run(self, run_id: str) -> RunFolder:
        return RunFolder(self.path / run_id)

    def runs(self) -> list[RunFolder]:
        """Every run of the study, in the order of their ids."""
        return [RunFolder(path.parent) for path in sorted(self.path.glob(f"*/{_CONFIG}"))]


def open_study(path: Path) -> Study:
    """The study in the folder `path`. If there is none, raises SweepError, which names the studies beside it."""
    study = Study(path)
    if not study.has_runs:
        others = sorted({config.parent.parent.name for config in path.parent.glob(f"*/*/{_CONFIG}")})
        there = (
            f"There are: {', '.join(others)}."
            if others
            else "There are none; `saescale launch study=demo` makes one."
        )
        raise SweepError(f"No study at {path}. {there}")
    return study


def read_json(path: Path) -> dict[str, Any] | None:
    """The values of a JSON file; None if there is no file. Raises SweepError if the file is incomplete."""
    text = _read(path)
    try:
        return None if text is None else dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise SweepError(f"{path} is torn ({_first_line(error)}); delete it and launch again.") from error


def dumps(values: Any, indent: int | None = None) -> str:
    """JSON with null for every number that is not finite."""
    return json.dumps(_finite(values), allow_nan=False, indent=indent)


def _status(fields: dict[str, Any]) -> Status:
    """The status without fields of a newer version, since a job from the queue runs the code of its launch."""
    return Status(**{name: value for name, value in fields.items() if name in Status.__dataclass_fields__})


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def _overwrite(path: Path, text: str) -> None:
    """Overwrite a small file in place: a full disk has no room for a new file, but this one already has its block."""
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
