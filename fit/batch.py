"""How L depends on the batch size: a test for each regime. The paper: L(C) substantially, L(N) hardly, lr retuned."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from fit.candidates import STEP, Candidates, falling
from fit.digits import percent, with_interval

# A spread of the loss over the batches below this is called small, whatever its p-value.
SMALL = 0.01
LEVEL = 0.05


@dataclass(frozen=True)
class Batch:
    """ln L = (its cell) + b·ln B.

    regime: converged or compute. b, low, high: 95 %; p: of b = 0; spread: the factor in L from the smallest to the
    largest batch, minus 1; cells: with two batches or more; batches. tuned: whether every batch had several lr. reason:
    why there is no test, else None.
    """

    regime: str
    b: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    spread: float | None = None
    cells: int = 0
    batches: tuple[float, ...] = ()
    tuned: bool = False
    reason: str | None = None

    @property
    def words(self) -> str:
        """substantial, significant but small, or not significant."""
        if self.p is None or self.spread is None:
            return "unknown"
        if self.p >= LEVEL:
            return "not significant"
        return "substantial" if abs(self.spread) >= SMALL else "significant but small"

    def lines(self) -> list[str]:
        name = "L(N)" if self.regime == "converged" else "L(C)"
        if self.reason or self.b is None or self.p is None or self.spread is None:
            return [f"{name} over batch size unknown: {self.reason}"]
        b = with_interval(self.b, self.low, self.high)
        tuned = "" if self.tuned else "; lr was not retuned for each batch, which may be all of it"
        sizes = f"B {self.batches[0]:,.0f} to {self.batches[-1]:,.0f}"
        spread = percent(self.spread, signed=True)
        return [f"{name} ∝ B^b, b = {b}: {spread} over {sizes}, {self.words} (p = {self.p:.2g}){tuned}"]


def at_convergence(converged: pd.DataFrame) -> Batch:
    """L(N): the lowest converged loss over lr of each (n, k, B), cells (n, k)."""
    if "batch_tokens" not in converged.columns or converged.empty:
        return Batch("converged", reason="no converged runs with a known batch_tokens.")
    cell = [name for name in ("n_latents", "k") if name in converged.columns]
    best = converged.groupby([*cell, "batch_tokens"], as_index=False)["nmse"].min()
    codes = best.groupby(cell, dropna=False).ngroup().to_numpy()
    x, y = (np.log(best[name].to_numpy(dtype=float)) for name in ("batch_tokens", "nmse"))
    return _tested("converged", x, y, codes, np.arange(len(best)), _tuned(converged, cell))


def at_compute(of: Candidates) -> Batch:
    """L(C): the frontier of each B at every octave of C that two reach; errors of one run move together."""
    sizes = of.of("batch_tokens")
    if sizes is None:
        return Batch("compute", reason="batch_tokens is not known of every run.")
    held = {float(size): falling(of, sizes == size) for size in np.unique(sizes)}
    first, last = (int(f(of.log_c) / np.log(2)) for f in (np.min, np.max))
    rows = []
    for octave in range(first, last + 1):
        log_c = octave * np.log(2) + 1e-9
        for size, index in held.items():
            at = int(np.searchsorted(of.log_c[index], log_c, side="right")) - 1
            if at >= 0 and log_c <= of.log_c[index[-1]] + STEP:
                rows.append((np.log(size), of.log_l[index[at]], octave, of.run[index[at]]))
    tuned = _tuned(of.runs, ["n_latents"]) if "n_latents" in of.runs.columns else False
    x, y, cell, run = np.array(rows, dtype=float).reshape(-1, 4).T
    return _tested("compute", x, y, cell, run, tuned)


def _tuned(runs: pd.DataFrame, cell: list[str]) -> bool:
    """Whether every (cell, B) was trained at two lr or more."""
    if not {"lr", "batch_tokens"} <= set(runs.columns):
        return False
    return bool((runs.groupby([*cell, "batch_tokens"])["lr"].nunique() > 1).all())


def _tested(
    regime: str, x: np.ndarray, y: np.ndarray, cell: np.ndarray, cluster: np.ndarray, tuned: bool
) -> Batch:
    """b by least squares within cells, its error over clusters, t with as many degrees as clusters or cells leave."""
    _, code, count = np.unique(cell, return_inverse=True, return_counts=True)
    use = count[code] > 1
    x, y, cluster = x[use], y[use], np.unique(cluster[use], return_inverse=True)[1]
    code = np.unique(code[use], return_inverse=True)[1]
    cells, batches = int(code.max() + 1) if len(code) else 0, tuple(np.unique(np.exp(x).round(6)).tolist())
    dof = min(len(x) - cells - 1, (int(cluster.max()) if len(cluster) else 0) - 1)
    if cells == 0 or dof < 1:
        return Batch(regime, cells=cells, reason="two batch sizes are needed in at least three cells.")
    x, y = (v - (np.bincount(code, v) / np.bincount(code))[code] for v in (x, y))
    b = float(x @ y / (x @ x))
    scores = np.bincount(cluster, x * (y - b * x))
    groups = len(scores)
    correction = groups / (groups - 1) * (len(x) - 1) / (len(x) - cells - 1)
    se = float(np.sqrt(correction * (scores @ scores)) / (x @ x))
    half = float(student.isf(LEVEL / 2, dof)) * se
    p = float(2 * student.sf(abs(b) / se, dof)) if se > 0 else float(b == 0)
    spread = float((batches[-1] / batches[0]) ** b - 1)
    return Batch(regime, b, b - half, b + half, p, spread, cells, batches, tuned)
