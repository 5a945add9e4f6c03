"""The target of a design as a user writes it: an exponent or another number of a law, or L at given inputs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fit.data.near_names import did_you_mean
from fit.law.basis import Basis
from fit.law.derived import allocation, by_k, tokens_to_converge
from fit.law.errors import FitError
from fit.law.functionals import DerivedQuantities, Parameters, Predictions, Quantities
from fit.law.json_values import integral
from fit.law.law import Array, Derived, Inputs, Law, RowSource
from fit.law.laws import LAWS, named

LOSS = "L"
# Other names of inputs that a user may write.
SHORT = {"n": "n_latents", "N": "n_latents", "K": "k", "D": "tokens", "T": "tokens"}
# A law is tried before those behind it: all k in one law first, and with a floor before without.
ORDER = ("L_NK", "L_N", "L_NDK", "L_ND_cross", "L_ND", "L_NK_pure", "L_N_pure", "L_N_broken")
# The names of what follows from the parameters of a law.
DERIVED = ((by_k, ("alpha", "E")), (allocation, ("a", "G")), (tokens_to_converge, ("g",)))
_FORM = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\((.*)\))?\s*")
_POWER = re.compile(r"(\d+)\s*(?:\^|\*\*)\s*(\d+)")


@dataclass(frozen=True)
class Target:
    """What is to be known better: the loss at inputs, or a number of a law by its name.

    at : the inputs of the loss, or {"k": 32} of an exponent at one k; empty for every k.
    laws : that can give it, in the order in which they are tried.
    """

    name: str
    at: Mapping[str, float] = field(default_factory=dict)
    laws: tuple[str, ...] = ()

    @property
    def is_loss(self) -> bool:
        """Whether it is a loss at given inputs."""
        return self.name == LOSS

    def __str__(self) -> str:
        """`L(n_latents=131072, k=32)`."""
        inputs = ", ".join(f"{name}={_written(value)}" for name, value in self.at.items())
        return f"{self.name}({inputs})" if inputs else self.name


def designable() -> dict[str, Law]:
    """The laws that a design can be made for: those of a loss whose rows are runs, in the order of `ORDER`.

    L(C) is not among them: its rows are a frontier, of which a run that has not been trained may or may not be a part.
    """
    rows = (RowSource.CONVERGED, RowSource.BUDGETS)
    losses = {name: law for name, law in LAWS.items() if law.response == "nmse" and "flops" not in law.inputs}
    known = {name: law for name, law in losses.items() if law.rows in rows}
    return {name: known[name] for name in (*ORDER, *(n for n in known if n not in ORDER)) if name in known}


def read_target(text: str, law: str | None = None) -> Target:
    """The target that a text names: `alpha`, `alpha(k=32)`, `E`, `L(n_latents=131072, k=32)`, `L(n=2^17, tokens=1e9)`.

    Parameters
    ----------
    text : as the user wrote it.
    law : the only law to ask; None for any.

    Raises
    ------
    FitError
        If it cannot be read, or no law gives it.
    """
    form = _FORM.fullmatch(str(text))
    if form is None:
        raise FitError(
            f"The target {text!r} cannot be read: write a number of a law, as alpha or alpha(k=32), or a loss, as "
            "L(n_latents=131072, k=32)."
        )
    name, at = form.group(1), _inputs(str(text), form.group(2))
    laws = designable()
    if law is not None:
        named(law)
        if law not in laws:
            raise FitError(
                f"A design cannot be made for {law}: its rows are not runs, or it is not a law of a loss. There are "
                f"{', '.join(laws)}.{did_you_mean(law, laws)}"
            )
        laws = {law: laws[law]}
    if name == LOSS:
        return Target(name, at, _of_loss(at, laws))
    gives = {key: names_of(each) for key, each in laws.items()}
    can = [key for key, names in gives.items() if name in names]
    if not can:
        every = list(dict.fromkeys(each for names in gives.values() for each in names))
        whose = f"{law} gives" if law else "laws give"
        raise FitError(
            f"No law gives {name!r}: {whose} {', '.join(every)}, and the loss as L(n_latents=…)."
            f"{did_you_mean(name, every)}"
        )
    for key in at:
        if key != "k":
            raise FitError(f"{name} has no {key}: it can be asked for at one k, as {name}(k=32).")
    return Target(name, at, tuple(can))


def names_of(law: Law) -> tuple[str, ...]:
    """The numbers that a law gives: its parameters, and what follows from them.

    The parameter alpha of L(N, K) is an intercept, and the exponent follows from it at each k.
    """
    derived = next((names for function, names in DERIVED if function is law.derived), ())
    return tuple(dict.fromkeys([*derived, *law.params]))


def _written(value: float) -> str:
    """131072 in full, 1e+09 as it is."""
    return str(integral(value)) if value < 1e9 else f"{value:g}"


def _inputs(text: str, inside: str | None) -> dict[str, float]:
    """`n=2^17, k=32` as numbers by the names of the inputs."""
    at: dict[str, float] = {}
    for part in (inside or "").split(","):
        if not part.strip():
            continue
        name, _, value = (piece.strip() for piece in part.partition("="))
        power = _POWER.fullmatch(value)
        try:
            number = (
                float(power.group(1)) ** float(power.group(2)) if power else float(value.replace("_", ""))
            )
        except (ValueError, OverflowError):
            number = float("nan")
        if not (np.isfinite(number) and number > 0):
            raise FitError(
                f"{part.strip()!r} in the target {text!r} is not an input with a number above 0: write "
                "n_latents=131072."
            )
        at[SHORT.get(name, name)] = number
    return at


def _of_loss(at: Mapping[str, float], laws: Mapping[str, Law]) -> tuple[str, ...]:
    """The laws of the loss at these inputs. k may be an input, or what the rows of a law have in common."""
    inputs = list(dict.fromkeys(name for each in laws.values() for name in each.inputs))
    for name in at:
        if name not in (*inputs, "k"):
            extra = (
                " L at a compute is on a frontier of whole curves: give tokens."
                if name in ("flops", "C")
                else ""
            )
            raise FitError(
                f"No law gives a loss at {name}; there are {', '.join(inputs)}.{extra}"
                f"{did_you_mean(name, [*inputs, *SHORT])}"
            )
    can = tuple(
        key for key, each in laws.items() if set(each.inputs) <= set(at) and set(at) <= {*each.inputs, "k"}
    )
    if not can:
        asked = ", ".join(at) or "nothing"
        needs = "; ".join(f"{key} needs {', '.join(each.inputs)}" for key, each in laws.items())
        raise FitError(f"No law gives the loss at {asked} alone: {needs}.")
    return can


def quantities(target: Target, law: Law, basis: Basis, x: Inputs) -> Quantities:
    """The target as functions of the whitened parameters of a fit.

    Parameters
    ----------
    target : of `read_target`. law, basis : of the fit.
    x : the inputs of its rows and of the cells that could be trained, whose k are those at which an exponent is known.
    """
    if target.is_loss:
        at: dict[str, Array] = {name: np.array([target.at[name]]) for name in law.inputs}
        return Predictions(basis.at(at))
    wanted = list(derived_of(target, law, x).values())
    return DerivedQuantities(basis, wanted) if wanted else Parameters(basis, [target.name])


def derived_of(target: Target, law: Law, x: Inputs) -> dict[str, Derived]:
    """The quantities that follow from the parameters and have the target's name, by label; none for a parameter."""
    if law.derived is None:
        return {}
    one_k = {"k": np.array([target.at["k"]])} if "k" in target.at and "k" in law.inputs else {}
    derived = law.derived(law, {**x, **one_k})
    return {label: each for label, each in derived.items() if target.name in (each.name, label)}


def missing_values(law: Law, x: Mapping[str, Sequence[float] | Array]) -> str | None:
    """Why rows with these inputs could not be fitted, as `3 values of n_latents (it has 1)`; None if they could."""
    for name, least in law.distinct.items():
        count = len(np.unique(np.asarray(x[name], dtype=float)))
        if count < least:
            return f"{least} values of {name} (there {'is' if count == 1 else 'are'} {count})"
    return None
