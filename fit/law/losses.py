"""What a fit minimises: the deviance Σ w 2ρ(r), by default the sum of squares of the log residuals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fit.law.errors import FitError

Array = NDArray[np.float64]
# Hoffmann et al. 2022: δ = 1e-3 on log residuals.
DELTA = 1e-3


@dataclass(frozen=True)
class Objective:
    """Residual r of the predicted f = ln y_law against y, and ρ(r).

    name: "log", r = f − ln y and ρ = r²/2; "linear", r = exp(f) − y and ρ = r²/2; "huber", r = f − ln y and
    ρ = r²/2 up to |r| = δ, δ(|r| − δ/2) beyond. delta: δ; infinite unless Huber.
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
        """ψ' = ρ''(r): 1 where the residual counts by its square, 0 beyond δ."""
        return 1.0 if not np.isfinite(self.delta) else (np.abs(r) <= self.delta).astype(float)

    @property
    def description(self) -> str:
        if self.name == "linear":
            return "least squares on"
        return "least squares on log" if self.name == "log" else f"Huber (δ = {self.delta:g}) on log"


LOG = Objective()


def objective(of: "str | tuple[str, float] | Objective") -> Objective:
    """The objective of that name: log, linear, huber, huber:0.01 or ("huber", 0.01)."""
    if isinstance(of, Objective):
        return of
    name, delta = of if isinstance(of, tuple) else (of.partition(":")[0], of.partition(":")[2] or DELTA)
    if name not in ("log", "linear", "huber") or (isinstance(of, str) and ":" in of and name != "huber"):
        raise FitError(f"There is no objective {of!r}: choose log, linear, huber or huber:DELTA.")
    if name != "huber":
        return Objective(name)
    try:
        size = float(delta)
    except ValueError:
        size = np.nan
    if not (np.isfinite(size) and size > 0):
        raise FitError(f"Huber's δ is {delta!r}: give a positive number, as huber:0.001.")
    return Objective("huber", size)
