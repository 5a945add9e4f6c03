"""Do nominal 95 % intervals cover 95 %? Simulated sweeps of a known law, fitted as a user would. `make coverage`

Designs: 16 runs of L(N) and of L(N, D), 45 of L(N, K) on the grid of Gao et al. 2024, Fig. 1 right, and 240 of L(N, D);
noise of 1 % between runs. The benchmark reports the share of sweeps whose interval contains the truth, for the
parameters, α and E at single k, L(target), the law beyond the largest n, and a new run there, with its noise. Two
standard errors of 1,000 sweeps are 1.4 %.
"""

import argparse
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fit.law.estimate import estimate
from fit.law.intervals.choose import intervals
from fit.law.law import Array, Inputs
from fit.law.laws import named
from fit.law.options import AUTO, METHODS
from fit.law.rows import make_rows

NOISE = 0.01
# The coverage that a nominal 95 % interval must have.
LOWEST, HIGHEST = 0.92, 0.98


@dataclass(frozen=True)
class Design:
    """A law with known parameters, the inputs of its runs, and the target of the extrapolation."""

    law: str
    truth: Mapping[str, float]
    x: Inputs
    target: Inputs
    derived: tuple[str, ...] = field(default=())

    def losses(self, seed: int) -> tuple[Array, float]:
        """The measured losses of a sweep, each with its own factor of noise, and of one run at the target."""
        law, random = named(self.law), np.random.default_rng(seed)
        exact = np.append(law.loss(self.truth, self.x), law.loss(self.truth, self.target))
        measured = exact * np.exp(NOISE * random.standard_normal(len(exact)))
        return measured[:-1], float(measured[-1])


def _grid(**axes: NDArray[Any]) -> Inputs:
    return {name: v.ravel() for name, v in zip(axes, np.meshgrid(*axes.values(), indexing="ij"), strict=True)}


ND = {"E": 0.1, "A": 2.0, "alpha": 0.3, "B": 400.0, "beta": 0.4}
BEYOND = {"n_latents": np.array([2.0**18]), "tokens": np.array([1e11])}
DESIGNS = {
    "16 runs of L(N)": Design(
        "L_N",
        {"E": 0.15, "A": 2.0, "alpha": 0.2},
        {"n_latents": 2.0 ** np.linspace(9, 16.5, 16)},
        {"n_latents": np.array([2.0**19.5])},
    ),
    "16 runs of L(N, D)": Design(
        "L_ND",
        ND,
        _grid(n_latents=2.0 ** np.array([9, 11, 13, 15]), tokens=10.0 ** np.array([7, 8, 9, 10])),
        BEYOND,
    ),
    "45 runs of L(N, K)": Design(
        "L_NK",
        {
            "alpha": -0.423,
            "beta_k": 0.240,
            "beta_n": -0.0271,
            "gamma": -0.0383,
            "zeta": -1.319,
            "eta": -0.0965,
        },
        _grid(n_latents=2.0 ** np.arange(11, 20), k=2.0 ** np.arange(5, 10)),
        {"n_latents": np.array([2.0**20]), "k": np.array([128.0])},
        ("alpha(k=32)", "alpha(k=512)", "E(k=32)", "E(k=512)"),
    ),
    "240 runs of L(N, D)": Design(
        "L_ND",
        ND,
        _grid(n_latents=2.0 ** np.linspace(9, 15, 20), tokens=np.geomspace(1e7, 1e10, 12)),
        BEYOND,
    ),
}


def covered(name: str, method: str, seed: int) -> dict[str, bool]:
    """For each quantity, whether its interval contains the truth in one sweep."""
    design = DESIGNS[name]
    law = named(design.law)
    losses, new = design.losses(seed)
    rows = make_rows(law, design.x, losses)
    ends = intervals(estimate(law, rows), rows, method=method, seed=seed)
    found = {p: (*ends.parameters()[p], design.truth[p]) for p in law.params}
    known = law.derived(law, design.x) if law.derived else {}
    wanted = [known[name] for name in design.derived]
    exact = [float(d.of(law.theta(design.truth)[None])[0][0]) for d in wanted]
    for quantity, low, high, value in zip(design.derived, *ends.numbers(wanted), exact, strict=True):
        found[quantity] = (low, high, value)
    (low,), (high,) = ends.law(design.target)
    found["L(target)"] = (low, high, float(law.loss(design.truth, design.target)[0]))
    (low,), (high,) = ends.measurement(design.target)
    found["new run there"] = (low, high, new)
    return {quantity: bool(low <= value <= high) for quantity, (low, high, value) in found.items()}


def coverage(name: str, method: str, sweeps: int) -> dict[str, float]:
    """For each quantity, the share of the sweeps (seeds 0, 1, …) whose interval contains the truth."""
    with ProcessPoolExecutor() as pool:
        hits = list(pool.map(partial(covered, name, method), range(sweeps), chunksize=8))
    return {quantity: float(np.mean([hit[quantity] for hit in hits])) for quantity in hits[0]}


def main() -> int:
    """Print the coverage of every design. Return 1 if any is outside 92 to 98 %."""
    p = argparse.ArgumentParser(
        "python -m benchmarks.coverage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--sweeps", type=int, default=1000)
    p.add_argument("--method", choices=METHODS, default=AUTO)
    options = p.parse_args()
    outside = 0
    for name in DESIGNS:
        found = coverage(name, options.method, options.sweeps)
        print(f"{name}, {options.sweeps} sweeps, intervals by {options.method}")
        for quantity, share in found.items():
            wrong = not LOWEST <= share <= HIGHEST
            outside += wrong
            print(f"  {quantity:14s}{100 * share:5.1f} %{'   OUTSIDE' if wrong else ''}", flush=True)
    return int(outside > 0)


if __name__ == "__main__":
    sys.exit(main())
