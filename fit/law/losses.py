"""The objective of a fit: the deviance Σ w 2ρ(r), by default the sum of squares of the log residuals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fit.law.errors import FitError

Array = NDArray[np.float64]
# Hoffmann et al. 2022: δ = 1e-3 on log residuals.
DELTA = 1e-3


@dataclass(frozen=True)
class Objective:
    """The residual r of the prediction f = ln y_law for a measured y, and its loss ρ(r).

    name: "log" has r = f − ln y and ρ = r²/2; "linear" has r = exp(f) − y and ρ = r²/2; "huber" has r = f − ln y, with
    ρ = r²/2 up to |r| = δ and δ(|r| − δ/2) beyond. delta: δ, infinite unless the name is "huber".
    """

    name: str = "log"
    delta: float = np.inf

    def residual(self, f: Array, ln_y: Array) -> Array:
        """r of predictions (R, rows)."""
        return np.exp(f) - np.exp(ln_y) if self.name == "linear" else f - ln_y

    def rate(self, f: Array) -> Array | float:
        """s = dr/df."""
        return np.exp(f) if self.name == "linear" else 1.0

    def deviance(self, r: Array, w: Array) -> Array:
        """Σ w 2ρ(r), (R,)."""
        if not np.isfinite(self.delta):
            return np.einsum("...i,...i,...i->...", w, r, r)
        size = np.abs(r)
        return (w * np.where(size <= self.delta, r**2, self.delta * (2 * size - self.delta))).sum(axis=-1)

    def slope(self, r: Array) -> Array:
        """ψ = ρ'(r)."""
        return np.clip(r, -self.delta, self.delta)

    def inside(self, r: Array) -> Array | float:
        """ψ' = ρ''(r): 1 where ρ is quadratic, 0 beyond δ."""
        return 1.0 if not np.isfinite(self.delta) else (np.abs(r) <= self.delta).astype(float)

    @property
    def description(self) -> str:
        if self.name == "linear":
            return "least squares on"
        return "least squares on log" if self.name == "log" else f"Huber (δ = {self.delta:g}) on log"


LOG = Objective()


def objective(choice: "str | tuple[str, float] | Objective") -> Objective:
    """The objective with the given name: log, linear, huber, huber:0.01 or ("huber", 0.01)."""
    if isinstance(choice, Objective):
        return choice
    delta: str | float
    if isinstance(choice, tuple):
        name, delta = choice
    else:
        name, delta = choice.partition(":")[0], choice.partition(":")[2] or DELTA
    if name not in ("log", "linear", "huber") or (
        isinstance(choice, str) and ":" in choice and name != "huber"
    ):
        raise FitError(f"There is no objective {choice!r}: choose log, linear, huber or huber:DELTA.")
    if name != "huber":
        return Objective(name)
    try:
        size = float(delta)
    except ValueError:
        size = np.nan
    if not (np.isfinite(size) and size > 0):
        raise FitError(f"Huber's δ is {delta!r}: give a positive number, as huber:0.001.")
    return Objective("huber", size)
