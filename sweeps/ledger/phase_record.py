"""The ledger of a study's phases: `runs/<study>/phases/<phase>/`, beside the run folders that all phases share.

| name                             | contents                                                                     |
|----------------------------------|------------------------------------------------------------------------------|
| phase.json                       | a `PhaseRecord`: the values that the phase took, its runs, and why it stopped |
| runs.parquet, curves.parquet     | the tables of its runs, once they have all ended                             |
| fits.json                        | the laws of these tables that later phases take values from                   |
| fitted.json                      | the runs behind these fits, each with a hash of its result                   |
| claim-000001                     | there while a launch fits the phase and begins the next one                   |
| laws.json                        | the laws beyond the default ones that rules asked for when they were made    |
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sae_core.files import write_text
from sweeps.errors import SweepError
from sweeps.ledger.run_folder import RunFolder, Study, dumps, read_json

Value = float | tuple[int, ...]
# The numbers of a result that a law can be fitted to. Times are not among them: they differ when a run is repeated.
_SCIENCE = ("tokens", "steps", "nmse", "nmse_live", "nmse_ema", "nmse_best", "converged", "nmse_inf")


@dataclass(frozen=True)
class Taken:
    """A value that a phase took from earlier phases by a rule, with its interval and the rows it rests on.

    Parameters
    ----------
    value : a number, or the sizes that `next_sizes` chose. low, high : its 95 % interval; None where it is unbounded
        or unknown.
    key : the config key that it is for, as train.lr. rule : the rule with its options, as text.
    at : what the value belongs to, as {"n_latents": 512, "k": 32}.
    phase : the phase, or the study, whose rows it rests on. law : the law fitted to them, as `LR_N (k=32)`.
    rows : how many rows the law was fitted to. runs : how many training runs these are of, None if unknown.
    notes : sentences for the reader, as how far the value is beyond the rows.
    """

    value: Value
    low: Value | None = None
    high: Value | None = None
    key: str = ""
    rule: str = ""
    at: Mapping[str, Any] = field(default_factory=dict)
    phase: str = ""
    law: str = ""
    rows: int = 0
    runs: int | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Taken":
        """The inverse of `dataclasses.asdict`, after a way through JSON."""
        values = {name: _value(content[name]) for name in ("value", "low", "high")}
        return cls(**{**content, **values, "notes": tuple(content["notes"])})


def _value(content: Any) -> Any:
    return tuple(content) if isinstance(content, list) else content


@dataclass(frozen=True)
class PhaseRecord:
    """What a phase was launched with.

    Parameters
    ----------
    phase : its name. regime : lc or ln.
    rules : the text of each rule by config key.
    inputs : for each phase that it takes values from the runs of that phase, each with the hash of its result.
    taken : the values. runs : the ids of its runs.
    replaced : the runs that earlier launches of the phase had and this one has not, each with the reason.
    stopped : why the study went no further when this phase was to be launched or closed, None otherwise.
    later : the phases that the same launch goes on with when this one has ended.
    """

    phase: str
    regime: str
    rules: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    taken: tuple[Taken, ...] = ()
    runs: tuple[str, ...] = ()
    replaced: Mapping[str, str] = field(default_factory=dict)
    stopped: str | None = None
    later: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "PhaseRecord":
        """The inverse of `dataclasses.asdict`, after a way through JSON. An older record names no later phases."""
        taken = tuple(Taken.from_dict(each) for each in content["taken"])
        lists = {"runs": tuple(content["runs"]), "later": tuple(content.get("later", ()))}
        return cls(**{**content, **lists, "taken": taken})


class PhaseFolder:
    """The folder of one phase, and the only place in the code that names its files."""

    def __init__(self, study: Study, phase: str) -> None:
        self.study, self.phase = study, phase
        self.path = study.path / "phases" / phase

    @property
    def fits(self) -> Path:
        return self.path / "fits.json"

    @property
    def claimed(self) -> RunFolder:
        """The folder as one that can be claimed, as a run's is, while the phase is fitted and the next one begins."""
        return RunFolder(self.path)

    def record(self) -> PhaseRecord | None:
        """What the phase was launched with; None before its first launch."""
        content = read_json(self.path / "phase.json")
        try:
            return None if content is None else PhaseRecord.from_dict(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SweepError(
                f"{self.path / 'phase.json'} cannot be read ({type(error).__name__}: {error}); delete it and launch "
                "again."
            ) from error

    def set_record(self, record: PhaseRecord) -> None:
        """Write the record, unless it is there already."""
        if record != self.record():
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(self.path / "phase.json", dumps(asdict(record), indent=1) + "\n")

    def fitted(self) -> dict[str, str] | None:
        """The runs behind fits.json, each with the hash of its result; None if nothing was fitted yet."""
        return read_json(self.path / "fitted.json")

    def laws(self) -> tuple[str, ...]:
        """The laws beyond the default ones that fits.json was to have, whether or not they could be fitted."""
        return tuple((read_json(self.path / "laws.json") or {}).get("laws", ()))

    def set_fitted(self, results: Mapping[str, str], laws: Sequence[str] = ()) -> None:
        write_text(self.path / "laws.json", dumps({"laws": list(laws)}) + "\n")
        write_text(self.path / "fitted.json", dumps(dict(results), indent=1) + "\n")


def records(study: Study) -> tuple[list[PhaseRecord], list[str]]:
    """The records of the phases that were launched, and a sentence on each that cannot be read."""
    known, unreadable = [], []
    for path in sorted(study.path.glob("phases/*/phase.json")):
        try:
            record = PhaseFolder(study, path.parent.name).record()
        except SweepError as error:
            unreadable.append(str(error))
        else:
            known += [] if record is None else [record]
    return known, unreadable


def to_come(launched: Iterable[PhaseRecord]) -> list[str]:
    """The phases that a launch is to go on with and that have not begun, in their order."""
    launched = list(launched)
    begun = {record.phase for record in launched}
    names = dict.fromkeys(name for record in launched for name in record.later)
    return [name for name in names if name not in begun]


def results(study: Study, run_ids: Sequence[str]) -> dict[str, str]:
    """A hash of what each run found, by its id; empty for a run without a result."""
    return {run_id: _hash(study.run(run_id).result()) for run_id in sorted(run_ids)}


def _hash(result: Mapping[str, Any] | None) -> str:
    if result is None:
        return ""
    text = json.dumps([result.get(name) for name in _SCIENCE])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """How the runs behind a value have changed, as `5 runs more and 1 with another result`; None if they have not."""
    parts = (
        (len(now.keys() - before.keys()), "more"),
        (len(before.keys() - now.keys()), "fewer"),
        (sum(before[run] != now[run] for run in before.keys() & now.keys()), "with another result"),
    )
    texts = [f"{count} run{'s' * (count != 1)} {what}" for count, what in parts if count]
    return " and ".join(texts) or None
