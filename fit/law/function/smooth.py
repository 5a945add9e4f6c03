"""A law of one's own as any smooth function f(x, p) > 0, with exact slopes and its own starts.

Its derivatives come from `jets`, where these know all that it uses. Otherwise complex steps give them: the slope of an
analytic function is Im f(θ + ih)/h, exact to rounding for h → 0, because nothing is subtracted. The
function is written with numpy and needs no other library. Its curvature is the central difference of these slopes.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fit.law.errors import FitError
from fit.law.function.jets import Jet
from fit.law.law import Array, Law, RowSource, Term

Complex = NDArray[np.complex128]
ZERO = np.zeros(1)
# The complex step. Its square, 1e-60, is its relative error.
STEP = 1e-30
# The real step, in units of the parameter's scale: the curvature is then known to 1e-7.
DIFFERENCE = 1e-4
# A slope by complex steps may differ from a real difference by this share of the steepest, else f is not analytic.
ANALYTIC = 1e-3
# Places tried in the box of starting ranges. The best 16 that lie apart are refined.
PLACES = 2**12
# Names that a point of fits.json has for other numbers than inputs.
RESERVED = frozenset({"row", "predicted", "residual", "weight", "outlier", "score", "value", "low", "high"})
GREEK = {
    letter: rf"\{command} "
    for letter, command in zip(
        "αβγδεζηθικλμνξπρστυφχψωΔΣΦΩΓΛΠ",
        (
            "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon "
            "varphi chi psi omega Delta Sigma Phi Omega Gamma Lambda Pi"
        ).split(),
        strict=True,
    )
}
# Starts lie apart by this share of the box in at least one parameter.
APART = 0.1


@dataclass(frozen=True)
class Smooth:
    """ln f(x, p) as the shape of a term, see `law.Bend`, whose methods it shares; u: (inputs, rows).

    function: f. inputs, params: their names. ranges: of each parameter, (low, high), to start from. A parameter with
    a positive range stays positive: its internal value is its logarithm.
    """

    name: str
    function: Callable[[Any, Any], Any]
    inputs: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]]

    @property
    def params(self) -> tuple[str, ...]:
        return tuple(self.ranges)

    @property
    def positive(self) -> frozenset[str]:
        return frozenset(name for name, (low, _) in self.ranges.items() if low > 0)

    @cached_property
    def scale(self) -> Array:
        """The unit of each ν: 1 for a logarithm, else the width of the range."""
        ends = self.ranges.items()
        return np.array([1.0 if name in self.positive else high - low for name, (low, high) in ends])

    def at(self, coordinates: list[Array]) -> Array:
        return np.stack(np.broadcast_arrays(*coordinates))

    def value(self, u: Array, nu: Array) -> Array:
        """ln f, (R, rows), for parameters (R, p); NaN where f is not positive."""
        return _log(self._f(u, nu.T[:, :, None]).real)

    def slopes(self, u: Array, nu: Array) -> Array:
        """∂ln f/∂ν, (R, p, rows)."""
        jet = self._last_jet(u, nu)
        by_parameter = (
            self._slopes(u, nu.T[:, :, None]) if jet is None else self._first(jet, (len(nu), u.shape[1]))
        )
        return by_parameter.transpose(1, 0, 2)

    def curvature(self, u: Array, nu: Array, weight: Array) -> Array:
        """Σ_i weight_i ∂²ln f_i, (R, p, p), for weights (R, rows)."""
        H = np.zeros((len(nu), nu.shape[1], nu.shape[1]))
        some = np.flatnonzero((weight != 0).any(axis=1))
        jet = self._last_jet(u, nu) if len(some) else None
        if jet is not None:
            for (a, b), row in self._second(jet, (len(nu), u.shape[1])).items():
                H[some, a, b] = H[some, b, a] = np.einsum("ri,ri->r", row[some], weight[some])
        elif len(some):
            for b, row in enumerate(self._curvature(u, nu[some].T[:, :, None])):
                H[some, b, : b + 1] = np.einsum("ari,ri->ra", row, weight[some])
                H[some, : b + 1, b] = H[some, b, : b + 1]
        return H

    def paired(self, u: Array, nu: Array) -> tuple[Array, Array, Array]:
        """ln f, (R,), its slopes, (R, p), and curvature, (R, p, p), of parameters (R, p) at one row each."""
        at = nu.T
        H = np.zeros((len(nu), nu.shape[1], nu.shape[1]))
        jet = self._jet(u, at)
        if jet is not None:
            for (a, b), row in self._second(jet, (len(nu),)).items():
                H[:, a, b] = H[:, b, a] = row
            return _log(self._f(u, at).real), self._first(jet, (len(nu),)).T, H
        for b, row in enumerate(self._curvature(u, at)):
            H[:, b, : b + 1] = row.T
            H[:, : b + 1, b] = row.T
        return _log(self._f(u, at).real), self._slopes(u, at).T, H

    def starts(self, u: Array, ln_y: Array, w: Array, count: int) -> Array:
        """The `count` best of `PLACES` places in the box of ranges that lie apart, (count, p), checked, see `check`.

        The places are Sobol's, the same at every call. Raises FitError where f has no positive value at any of them.
        """
        from scipy.stats import qmc

        ends = np.array(list(self.ranges.values())).T
        logs = np.array([name in self.positive for name in self.params])
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = np.where(logs, np.log(ends), ends / self.scale)
        box = qmc.Sobol(len(low), seed=0).random(PLACES)
        places = low + box * (high - low)
        with np.errstate(invalid="ignore"):
            errors = (w * (self.value(u, places) - ln_y) ** 2).sum(axis=1)
        if not np.isfinite(errors).any():
            self._refuse_values(u, places)
        order = np.argsort(np.where(np.isfinite(errors), errors, np.inf), kind="stable")
        order = order[: int(np.isfinite(errors).sum())]
        chosen: list[int] = []
        for i in order:
            if all(np.abs(box[i] - box[j]).max() >= APART for j in chosen):
                chosen.append(int(i))
            if len(chosen) == count:
                break
        self.check(u, places[chosen])
        return places[chosen]

    def check(self, u: Array, nu: Array) -> None:
        """Raise FitError where a complex step and a real difference give different slopes: f is not analytic there."""
        exact = self.slopes(u, nu)
        for a, name in enumerate(self.params):
            step = DIFFERENCE * (np.arange(nu.shape[1]) == a)
            real = (self.value(u, nu + step) - self.value(u, nu - step)) / (2 * DIFFERENCE)
            size = np.nanmax(np.abs(real))
            off = np.abs(exact[:, a] - real)
            # One corner, as of np.minimum, may lie between the two ends of a difference.
            if np.nanmedian(off.max(axis=1)) > ANALYTIC * max(size, 1e-9):
                r, i = np.unravel_index(np.nanargmax(off), off.shape)
                raise FitError(
                    f"The function of {self.name} is not analytic in {name}: at {self._place(nu[r])} its slope by a "
                    f"complex step is {exact[r, a, i]:.4g}, by a real difference {real[r, i]:.4g}. Write it without "
                    "abs, .real, float() and comparisons of parameters: sqrt(z**2) for abs(z), np.maximum for max."
                )

    def _last_jet(self, u: Array, nu: Array) -> Jet | None:
        """`_jet` for parameters (R, p). The last one is kept: a step of the solver asks three times for the same."""
        last = self.__dict__.get("_last")
        if last is not None and np.array_equal(last[1], nu) and np.array_equal(last[0], u):
            return last[2]
        jet = self._jet(u, nu.T[:, :, None])
        self.__dict__["_last"] = None if jet is None else (u.copy(), nu.copy(), jet)
        return jet

    def _jet(self, u: Array, inner: Any) -> Jet | None:
        """f with its derivatives; None where jets do not know a function that f uses.

        Whether they do is found out at the first call: their slopes have to be those by complex steps.
        """
        if self.__dict__.get("_knows_jets") is False:
            return None
        seeds = {
            name: Jet(value, {a: value}, {(a, a): value})
            if name in self.positive
            else Jet(value, {a: np.full_like(value, self.scale[a])})
            for a, (name, value) in enumerate(self._values(inner).items())
        }
        x = dict(zip(self.inputs, u, strict=True))
        with np.errstate(all="ignore"):
            try:
                jet = self.function(SimpleNamespace(**x), SimpleNamespace(**seeds))
            except Exception:  # of any kind: complex steps follow, and say what is wrong
                jet = None
        if "_knows_jets" not in self.__dict__:
            self.__dict__["_knows_jets"] = isinstance(jet, Jet) and self._confirmed(jet, u, inner)
        return jet if self.__dict__["_knows_jets"] and isinstance(jet, Jet) else None

    def _confirmed(self, jet: Jet, u: Array, inner: Any) -> bool:
        exact = self._slopes(u, inner)
        with np.errstate(all="ignore"):
            ours = self._first(jet, exact.shape[1:])
        known = np.isfinite(exact)
        return bool(np.allclose(ours[known], exact[known], rtol=1e-7, atol=1e-9))

    def _first(self, jet: Jet, shape: tuple[int, ...]) -> Array:
        """∂ln f/∂ν, (p, ...)."""
        with np.errstate(all="ignore"):
            f = np.where(jet.value > 0, jet.value, np.nan)
            rows = [np.broadcast_to(jet.first.get(a, ZERO) / f, shape) for a in range(len(self.params))]
        return np.stack(rows)

    def _second(self, jet: Jet, shape: tuple[int, ...]) -> dict[tuple[int, int], Array]:
        """∂²ln f/∂ν_a∂ν_b by (a, b), a ≤ b."""
        made = {}
        with np.errstate(all="ignore"):
            f = np.where(jet.value > 0, jet.value, np.nan)
            slope = {a: value / f for a, value in jet.first.items()}
            for a, one in slope.items():
                for b, other in slope.items():
                    if a <= b:
                        row = jet.second.get((a, b), ZERO) / f - one * other
                        made[a, b] = np.broadcast_to(row, shape)
        return made

    def _values(self, inner: Any) -> dict[str, Any]:
        """The public parameters by name, real or complex."""
        scaled = [v * s for v, s in zip(inner, self.scale, strict=True)]
        with np.errstate(all="ignore"):
            return {
                n: np.exp(v) if n in self.positive else v for n, v in zip(self.params, scaled, strict=True)
            }

    def _f(self, u: Array, inner: Any) -> Complex:
        """f for internal parameters (p, ...), which broadcast with the rows of u, (inputs, rows)."""
        p = self._values(inner)
        shape = np.broadcast_shapes(*(v.shape for v in p.values()), u.shape[1:])
        with np.errstate(all="ignore"):
            x = dict(zip(self.inputs, u, strict=True))
            try:
                result = np.asarray(self.function(SimpleNamespace(**x), SimpleNamespace(**p)), dtype=complex)
            except Exception as error:
                raise FitError(
                    f"The function of {self.name} raises {type(error).__name__}: {error}. It is called with arrays, "
                    "of complex numbers for its slopes: use numpy's functions (np.exp, np.log, np.where) in it."
                ) from error
        try:
            return np.broadcast_to(result, shape)
        except ValueError as error:
            raise FitError(
                f"The function of {self.name} returns shape {result.shape} for {shape}: give one value for each row."
            ) from error

    def _slopes(self, u: Array, inner: Any, params: int | None = None) -> Array:
        """∂ln f/∂ν of the first parameters, (params, ...)."""
        p = len(inner)
        count = p if params is None else params
        steps = 1j * STEP * np.eye(p)[:count]
        # (p, params, ...): parameter a of column b has a step where a = b.
        moved = np.asarray(inner)[:, None] + steps.T.reshape(p, count, *(1,) * (np.ndim(inner) - 1))
        f = self._f(u, moved)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(f.real > 0, f.imag / STEP / f.real, np.nan)

    def _curvature(self, u: Array, inner: Any) -> list[Array]:
        """∂²ln f/∂ν_a∂ν_b for each b and all a ≤ b, (b + 1, ...)."""
        rows = []
        for b in range(len(inner)):
            up, down = np.array(inner), np.array(inner)
            up[b] += DIFFERENCE
            down[b] -= DIFFERENCE
            rows.append((self._slopes(u, up, b + 1) - self._slopes(u, down, b + 1)) / (2 * DIFFERENCE))
        return rows

    def _place(self, nu: Array) -> str:
        values = nu * self.scale
        named = zip(self.params, values, strict=True)
        return ", ".join(f"{n}={np.exp(v) if n in self.positive else v:.4g}" for n, v in named)

    def _refuse_values(self, u: Array, places: Array) -> None:
        f = self._f(u, places.T[:, :, None]).real
        bad = np.flatnonzero(~(f[0] > 0))
        row = ", ".join(f"{name}={values[bad[0]]:.6g}" for name, values in zip(self.inputs, u, strict=True))
        raise FitError(
            f"The function of {self.name} has no positive value for some row at every one of {len(places):,} places "
            f"in its starting ranges: at {self._place(places[0])} it is {f[0, bad[0]]:g} for {row}. "
            "Correct the function, or give ranges in which it is positive."
        )


def _log(values: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(values > 0, np.log(values), np.nan)


def _latex(formula: str) -> str:
    """A formula in Unicode as LaTeX; empty where a letter of it has no command that is known here."""
    text = re.sub(r"\^\(([^()]*)\)", r"^{\1}", formula)
    text = re.sub(r"\^([−-]?\w+)", r"^{\1}", text)
    text = re.sub(r"_(\w+)", r"_{\1}", text).replace("*", r"^\ast ")
    text = re.sub(r"\b(exp|ln|log|min|max)\b", r"\\\1", text)
    for letter, command in {"−": "-", "·": r"\,", "×": r"\times ", "≤": r"\le ", "≥": r"\ge "}.items():
        text = text.replace(letter, command)
    text = "".join(GREEK.get(letter, letter) for letter in text)
    text = text.replace(" }", "}").rstrip()
    return text if text.isascii() else ""


def function_law(
    name: str,
    formula: str,
    function: Callable[[Any, Any], Any],
    inputs: Sequence[str],
    ranges: Mapping[str, tuple[float, float]],
    latex: str = "",
    response: str = "nmse",
    rows: RowSource | None = None,
) -> Law:
    """A law y = f(x, p) of one's own. f takes arrays and is written with numpy; it may use a parameter several times.

    Parameters
    ----------
    name, formula, latex : of the law; without LaTeX, it is made from the formula.
    function : f(x, p) > 0, with inputs as x.n_latents and parameters as p.alpha. It is called with arrays that
        broadcast, and with complex parameters for the slopes, so it must be analytic in its parameters: np.exp, np.log,
        powers, np.where and np.minimum are, abs is not.
    inputs : the columns x.
    ranges : for each parameter (low, high), between which the search starts; they are no bounds. A parameter with a
        positive range stays positive and is searched by its logarithm.
    response : the column y.
    rows : which rows of a study it is fitted to, by default as for any `Law`.

    Raises
    ------
    FitError
        If a range is not low < high, or an input has a name that points of fits.json use otherwise.
    """
    if taken := sorted(RESERVED & set(inputs)):
        raise FitError(
            f"The input {taken[0]} of {name} has the name of another number in fits.json: give the column another "
            f"name, as --map my_{taken[0]}={taken[0]}, and the law that input."
        )
    for parameter, ends in ranges.items():
        if len(ends) != 2 or not np.isfinite(ends).all() or not ends[0] < ends[1]:
            raise FitError(
                f"The range of {parameter} of {name} is {ends}: give two numbers, the lower first."
            )
    smooth = Smooth(name, function, tuple(inputs), dict(ranges))
    return Law(
        name=name,
        formula=formula,
        latex=latex or _latex(formula),
        inputs=tuple(inputs),
        params=smooth.params,
        terms=(Term((), lambda *u: (), (), smooth),),
        logs=smooth.positive,
        response=response,
        as_is=frozenset(inputs),
        rows=rows,
    )
