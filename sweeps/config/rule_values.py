"""The values that a phase takes from earlier ones by its rules, and the guesses that stand in for them in a plan."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fit.law.errors import FitError
from sweeps.config.expression import compute
from sweeps.errors import SweepError, ended
from sweeps.ledger.phase_record import PhaseRecord, Taken
from sweeps.rules.rule import NOT_YET, Spec

if TYPE_CHECKING:
    from fit.law.result import FitResult
    from sweeps.config.phases import Earlier

# The columns of a cell that a rule's value can depend on: the inputs of laws, and what tells groups of rows apart.
_OF_A_VALUE = (
    "n_latents",
    "k",
    "activation",
    "sparsity_coef",
    "batch_tokens",
    "lr_schedule",
    "parametrization",
    "max_tokens",
    "d_model",
    "data",
)


def fits_at(path: Path) -> "tuple[FitResult, ...]":
    """The laws in a fits.json. SweepError if it cannot be read."""
    return _fits(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _fits(path: Path, _: int) -> "tuple[FitResult, ...]":
    from fit.study import fits_file  # scipy, which a plan without fits does not need

    try:
        return fits_file.read(path).fits
    except FitError as error:
        raise SweepError(f"{path}: {error}") from error


@dataclass(frozen=True)
class Given:
    """A value for a cell: taken from a law, or a guess where taken is None."""

    value: Any
    taken: Taken | None = None


class RuleValues:
    """The values of the rules of one phase.

    waiting: which phases have to be fitted, or fitted again, before the values are final; shared by all cells.
    """

    def __init__(
        self,
        phase: str,
        specs: Mapping[str, Spec],
        guesses: Mapping[str, Any],
        earlier: Mapping[str, "Earlier"],
        record: PhaseRecord | None,
        waiting: set[str],
    ) -> None:
        self.phase, self.guesses, self.earlier, self.record = phase, guesses, earlier, record
        self.waiting = waiting
        self.of_axis = [spec for spec in specs.values() if spec.definition.of_axis]
        self.of_cell = [spec for spec in specs.values() if not spec.definition.of_axis]
        self.memo: dict[tuple[Any, ...], Given] = {}

    def at(self, spec: Spec, cell: Mapping[str, Any]) -> Given:
        """The value of a rule for a cell, or a guess while the earlier phase has no laws."""
        place = (spec.key, *(cell.get(name) for name in _OF_A_VALUE))
        if place not in self.memo:
            self.memo[place] = self._at(spec, cell)
        return self.memo[place]

    def _at(self, spec: Spec, cell: Mapping[str, Any]) -> Given:
        assert spec.source is not None
        source = self.earlier[spec.source]
        pending = source.pending or self._to_be_fitted(spec, source)
        if pending is not None:
            self.waiting.add(f"{spec.source} ({pending})")
        if not source.fits.exists():
            return Given(self._guess(spec, cell))
        try:
            taken = spec.function()(fits_at(source.fits), cell, **spec.options)
        except SweepError as error:
            if pending is not None:
                return Given(self._guess(spec, cell))
            raise SweepError(
                f"phases.{self.phase}.{spec.name}: {spec.text} has no value: {ended(error)}"
            ) from error
        return Given(taken.value, replace(taken, key=spec.key, rule=spec.text, phase=spec.source))

    def _to_be_fitted(self, spec: Spec, source: "Earlier") -> str | None:
        """Why an earlier phase has to be fitted again for a rule that came after its fit; the next launch does it."""
        if not source.fits.exists():
            return "to be fitted"
        asked = set(spec.laws) - set(source.laws)
        if not asked or {fit.law for fit in fits_at(source.fits)} & set(spec.laws):
            return None
        return f"to be fitted again, with {' and '.join(law for law in spec.laws if law in asked)}"

    def _guess(self, spec: Spec, cell: Mapping[str, Any]) -> Any:
        guess = self.guess_of(spec)
        known = {name: value for name, value in cell.items() if value is not NOT_YET}
        return compute(guess, known, {}) if isinstance(guess, str) else guess

    def guess_of(self, spec: Spec) -> Any:
        """What stands in for a rule: its guess, or what the config has for its key without the rule."""
        guess = spec.guess if spec.guess is not None else self.guesses.get(spec.key)
        if isinstance(guess, list) and not spec.definition.of_axis:
            guess = None
        if guess is None:
            raise SweepError(
                f"phases.{self.phase}.{spec.name} is from {spec.source}, which is not fitted yet: give a guess, with "
                f"which the plan can say what this phase costs: {spec.name}: {{rule: {spec.rule}, …, guess: …}}."
            )
        return guess

    def sizes(self, spec: Spec, hours_at: Callable[[int], Any], known: bool) -> Given:
        """The sizes of `next_sizes`: those that the phase was launched with, if what they rest on is the same.

        known: whether hours are known, without which the sizes are a guess.
        """
        before, source = self.record, self._source(spec)
        pending = None if source is None else source.pending
        if pending is not None and source is not None:
            self.waiting.add(f"{source.phase} ({pending})")
        elif before is not None and before.rules.get(spec.key) == spec.text and before.inputs == self.inputs:
            taken = next((one for one in before.taken if one.key == spec.key), None)
            if taken is not None:
                return Given(taken.value, taken)
        start = spec.options["start"] or (source.largest if source else None)
        if start is None:
            raise SweepError(
                f"phases.{self.phase}.{spec.name}: {spec.rule} needs `from`, a phase with smaller sizes, or `start`."
            )
        if not known:
            return Given(self.guess_of(spec))
        try:
            taken = spec.function()(start, spec.options["ratio"], spec.options["gpu_hours"], hours_at)
        except SweepError as error:
            raise SweepError(f"phases.{self.phase}.{spec.name}: {error}") from error
        return Given(taken.value, replace(taken, key=spec.key, rule=spec.text, phase=spec.source or ""))

    def _source(self, spec: Spec) -> "Earlier | None":
        return None if spec.source is None else self.earlier[spec.source]

    @property
    def inputs(self) -> dict[str, dict[str, str]]:
        """For each phase that values are from, its runs with the hashes of their results."""
        every: Sequence[Spec] = [*self.of_axis, *self.of_cell]
        return {spec.source: dict(self.earlier[spec.source].results) for spec in every if spec.source}
