"""The rules by name: what each can give, its options, and what the earlier phase must vary for its law."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from fit.data.near_names import did_you_mean
from sweeps.errors import SweepError
from sweeps.ledger.phase_record import Taken

# What a phase may take, and the config key that it is for; in the order in which a later value may use earlier ones.
KEYS = {
    "n_latents": "sae.n_latents",
    "batch_tokens": "train.batch_tokens",
    "tokens": "train.max_tokens",
    "lr": "train.lr",
}
REGIMES = ("lc", "ln")
REGIME_TEXT = "lc (compute-optimal) or ln (converged)"
_REQUIRED = object()


class _NotYet:
    """The value of a column that the grid derives only after the value that is asked for."""

    def __repr__(self) -> str:
        return "not known yet"


NOT_YET = _NotYet()


@dataclass(frozen=True)
class Rule:
    """A rule.

    Parameters
    ----------
    home : its module in this room, imported when it is first used, since scipy would double the time of a plan.
    gives : names in KEYS of what it is a value of. options : by name, with their defaults.
    varied : columns of which the earlier phase needs so many values for the law.
    of_axis : whether it gives the values of an axis, and not a value of each cell.
    laws : laws that it needs beyond those that are fitted to every phase.
    """

    home: str
    gives: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    varied: Mapping[str, int] = field(default_factory=dict)
    of_axis: bool = False
    laws: tuple[str, ...] = ()


RULES: dict[str, Rule] = {
    "lr_law": Rule("lr", ("lr",), {"regime": None}, {"n_latents": 4, "lr": 3}),
    "lr_transfer": Rule("lr", ("lr",), {}, {"n_latents": 3, "lr": 3}, laws=("LR_NDB", "LR_ND")),
    "tokens_to_convergence": Rule("tokens", ("tokens",), {"safety": 1.5}, {"n_latents": 4}),
    "tokens_at_optimum": Rule("tokens", ("tokens",), {"safety": 1.0}, {"n_latents": 4}),
    "next_sizes": Rule("sizes", ("n_latents",), {"gpu_hours": _REQUIRED, "ratio": 2.0, "start": None}, of_axis=True),
    "size_for_loss": Rule("sizes", ("n_latents",), {"nmse": _REQUIRED}, {"n_latents": 5}),
    "law": Rule("law_value", tuple(KEYS), {"law": _REQUIRED}, {"n_latents": 2}),
}  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """A rule as a phase names it: `lr: {from: tune, rule: lr_law, regime: ln, guess: …}`.

    source : the earlier phase; None for a rule that may do without. guess : an expression for plans before that phase
    has been fitted; None: what the config has for this key without the rule.
    """

    name: str
    rule: str
    source: str | None
    options: Mapping[str, Any]
    guess: Any = None

    @property
    def key(self) -> str:
        return KEYS[self.name]

    @property
    def definition(self) -> Rule:
        return RULES[self.rule]

    @property
    def text(self) -> str:
        """`lr_law(from tune, regime=ln)`."""
        source = [f"from {self.source}"] if self.source else []
        given = [f"{name}={value}" for name, value in self.options.items() if value is not None]
        return f"{self.rule}({', '.join([*source, *given])})"

    @property
    def laws(self) -> tuple[str, ...]:
        """The laws that the earlier phase needs beyond those that are fitted to every phase."""
        named = self.options.get("law") if self.rule == "law" else None
        return (*self.definition.laws, *([str(named)] if named else []))

    def function(self) -> Callable[..., Taken]:
        return getattr(import_module(f"sweeps.rules.{self.definition.home}"), self.rule)


def read_spec(phase: str, name: str, content: Mapping[str, Any], regime: str) -> Spec:
    """The rule that a phase names for one of its values. SweepError, with what is there, for anything unknown.

    regime : that of the phase, the default of rules that differ between the two.
    """
    given = dict(content)
    rule, source, guess = (given.pop(key, None) for key in ("rule", "from", "guess"))
    where = f"phases.{phase}.{name}"
    if rule not in RULES:
        there = [known for known, one in RULES.items() if name in one.gives]
        raise SweepError(
            f"{where}: there is no rule {rule!r}; for {name} there are {', '.join(there)}."
            f"{did_you_mean(str(rule), RULES)}"
        )
    definition = RULES[rule]
    if name not in definition.gives:
        raise SweepError(f"{where}: the rule {rule} gives {' or '.join(definition.gives)}, and not {name}.")
    for option in given:
        if option not in definition.options:
            raise SweepError(
                f"{where}: the rule {rule} has no option {option!r}; it has {', '.join(definition.options) or 'none'}."
                f"{did_you_mean(option, definition.options)}"
            )
    options = {**definition.options, **given}
    for option, value in options.items():
        if value is _REQUIRED:
            raise SweepError(
                f"{where}: the rule {rule} needs {option}: {name}: {{rule: {rule}, {option}: …}}."
            )
    if "regime" in options:
        options["regime"] = options["regime"] or regime
        if options["regime"] not in REGIMES:
            wrong = options["regime"]
            raise SweepError(f"{where}: regime is {wrong!r}; it must be {REGIME_TEXT}.", wrong, REGIMES)
    if source is None and not definition.of_axis:
        raise SweepError(f"{where}: the rule {rule} needs `from`, the phase whose laws it takes.")
    return Spec(name, rule, source, options, guess)


def check_varied(phase: str, spec: Spec, values: Mapping[str, Sequence[Any]]) -> None:
    """Raise SweepError if the earlier phase cannot have the law of a rule, because it does not vary what the law needs.

    values : the values of each column over the runs of the earlier phase.
    """
    for column, least in spec.definition.varied.items():
        count = len(set(values[column]))
        if count < least:
            raise SweepError(
                f"phases.{phase}.{spec.name}: {spec.rule} needs at least {least} values of {column} in {spec.source}, "
                f"which has {count}: widen its grid, or give {spec.name} a value."
            )
