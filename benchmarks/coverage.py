"""Do nominal 95 % intervals cover 95 %? Simulated sweeps of a known law, fitted as a user would. `make coverage`

Designs: L(N, D) on grids of 16, 28, 45 and 240 runs, L(N) on 16 runs, and L(N, K) on the 45 runs of Gao et al. 2024,
Fig. 1 right; noise of 1 % between runs. For each objective and interval method, and for the method that `auto` picks,
the benchmark reports the share of sweeps whose interval contains the truth: the parameters, the law's L one octave
(twice n and tokens) and two octaves beyond the largest scale, and a new run at two octaves, with its noise. A share of
95 % has a standard error of 1.5 % from 200 sweeps and of 0.7 % from 1,000.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import record
from fit.law.estimate import estimate
from fit.law.intervals.choose import Intervals, intervals, suited
from fit.law.law import Array, Inputs
from fit.law.laws import named
from fit.law.losses import objective
from fit.law.options import AUTO, BOOTSTRAP, DELTA, METHODS, PROFILE
from fit.law.rows import make_rows

NOISE = 0.01
# The coverage that a nominal 95 % interval must have.
LOWEST, HIGHEST = 0.92, 0.98
OBJECTIVES = ("log", "linear", "huber:0.001", "huber:0.0001")
NEW_RUN = "new run"


@dataclass(frozen=True)
class Design:
    """A law with known parameters, the inputs of its runs, and the inputs one and two octaves beyond them."""

    law: str
    truth: Mapping[str, float]
    x: Inputs
    beyond: Inputs
    derived: tuple[str, ...] = field(default=())

    def losses(self, seed: int) -> tuple[Array, float]:
        """The measured losses of a sweep, each with its own factor of noise, and of one run at two octaves beyond."""
        law, random = named(self.law), np.random.default_rng(seed)
        exact = np.append(law.loss(self.truth, self.x), law.loss(self.truth, self.beyond)[-1])
        measured = exact * np.exp(NOISE * random.standard_normal(len(exact)))
        return measured[:-1], float(measured[-1])


def _grid(**axes: NDArray[Any]) -> Inputs:
    return {name: v.ravel() for name, v in zip(axes, np.meshgrid(*axes.values(), indexing="ij"), strict=True)}


def _nd(sizes: int, budgets: int) -> Design:
    return Design(
        "L_ND",
        {"E": 0.1, "A": 2.0, "alpha": 0.3, "B": 400.0, "beta": 0.4},
        _grid(n_latents=2.0 ** np.linspace(9, 15, sizes), tokens=np.geomspace(1e7, 1e10, budgets)),
        {"n_latents": 2.0 ** np.array([16, 17]), "tokens": 1e10 * np.array([2, 4])},
    )


DESIGNS = {
    "16 runs of L(N, D)": _nd(4, 4),
    "28 runs of L(N, D)": _nd(7, 4),
    "45 runs of L(N, D)": _nd(9, 5),
    "240 runs of L(N, D)": _nd(20, 12),
    "16 runs of L(N)": Design(
        "L_N",
        {"E": 0.15, "A": 2.0, "alpha": 0.2},
        {"n_latents": 2.0 ** np.linspace(9, 16.5, 16)},
        {"n_latents": 2.0 ** np.array([17.5, 18.5])},
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
        {"n_latents": 2.0 ** np.array([20, 21]), "k": np.array([128.0, 128.0])},
        ("alpha(k=32)", "alpha(k=512)", "E(k=32)", "E(k=512)"),
    ),
}


def covered(
    name: str, loss: str, methods: Sequence[str], draws: int, seed: int
) -> dict[str, dict[str, bool]]:
    """For each method and quantity, whether its interval contains the truth in one sweep; `auto` is one of the rest."""
    design = DESIGNS[name]
    law = named(design.law)
    losses, new = design.losses(seed)
    rows = make_rows(law, design.x, losses)
    at = estimate(law, rows, objective(loss))
    picked = {method: suited(at, rows) if method == AUTO else method for method in methods}
    hits = {
        method: _hits(design, intervals(at, rows, method=method, draws=draws, seed=seed), new)
        for method in dict.fromkeys(picked.values())
    }
    return {method: hits[picked[method]] for method in methods}


def _hits(design: Design, ends: Intervals, new: float) -> dict[str, bool]:
    law = named(design.law)
    parameters = ends.parameters()
    held = {p: (*parameters[p], design.truth[p]) for p in law.params}
    known = law.derived(law, design.x) if law.derived else {}
    wanted = [known[name] for name in design.derived]
    exact = [float(d.of(law.theta(design.truth)[None])[0][0]) for d in wanted]
    for quantity, low, high, value in zip(design.derived, *ends.numbers(wanted), exact, strict=True):
        held[quantity] = (low, high, value)
    truth = law.loss(design.truth, design.beyond)
    for quantity, low, high, value in zip(
        ("L at 2×", "L at 4×"), *ends.law(design.beyond), truth, strict=True
    ):
        held[quantity] = (low, high, float(value))
    low, high = ends.measurement(design.beyond)
    held[NEW_RUN] = (low[-1], high[-1], new)
    return {quantity: bool(low <= value <= high) for quantity, (low, high, value) in held.items()}


@dataclass(frozen=True)
class Cell:
    """A design under an objective, with the methods whose intervals are made of it."""

    design: str
    objective: str
    methods: tuple[str, ...]
    draws: int

    def key(self, seed: int) -> tuple[Any, ...]:
        """What a line of the kept sweeps is known by."""
        return (self.design, self.objective, self.draws, seed)


def swept(cell: Cell, sweeps: int, workers: int | None, kept: "Kept") -> dict[str, dict[str, float]]:
    """For each method and quantity, the share of the sweeps (seeds 0, 1, …) whose interval contains the truth."""
    missing = [seed for seed in range(sweeps) if not kept.has(cell, seed)]
    if missing:
        one = partial(covered, cell.design, cell.objective, cell.methods, cell.draws)
        with ProcessPoolExecutor(workers) as pool:
            for seed, hits in zip(missing, pool.map(one, missing, chunksize=4), strict=True):
                kept.add(cell, seed, hits)
    every = [kept.get(cell, seed) for seed in range(sweeps)]
    return {
        method: {q: float(np.mean([hits[method][q] for hits in every])) for q in every[0][method]}
        for method in cell.methods
    }


class Kept:
    """Sweeps by cell and seed, one JSON line each in a file if there is one, so that a run that was cut off goes on."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.sweeps: dict[tuple[Any, ...], dict[str, dict[str, bool]]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path and path.is_file() else []:
            row = json.loads(line)
            self.sweeps.setdefault(tuple(row["key"]), {}).update(row["hits"])

    def has(self, cell: Cell, seed: int) -> bool:
        return set(cell.methods) <= set(self.sweeps.get(cell.key(seed), ()))

    def get(self, cell: Cell, seed: int) -> dict[str, dict[str, bool]]:
        return self.sweeps[cell.key(seed)]

    def add(self, cell: Cell, seed: int, hits: dict[str, dict[str, bool]]) -> None:
        self.sweeps.setdefault(cell.key(seed), {}).update(hits)
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": cell.key(seed), "hits": hits}) + "\n")


def outside(shares: Mapping[str, float]) -> list[str]:
    """The quantities whose intervals cover less than 92 or more than 98 %."""
    return [quantity for quantity, share in shares.items() if not LOWEST <= share <= HIGHEST]


def row(cell: Cell, method: str, sweeps: int, shares: Mapping[str, float]) -> dict[str, Any]:
    """One row of the results."""
    return {
        "design": cell.design,
        "objective": cell.objective,
        "method": method,
        "sweeps": sweeps,
        "draws": cell.draws,
        "coverage": dict(shares),
    }


def _printed(rows: Iterable[Mapping[str, Any]]) -> int:
    """Print the rows, and return how many of them `auto` picked and are outside 92 to 98 %."""
    wrong = 0
    for each in rows:
        beyond = outside(each["coverage"])
        wrong += bool(beyond) and each["method"] == AUTO
        shares = "  ".join(f"{q} {100 * share:.1f}" for q, share in each["coverage"].items())
        flag = f"   OUTSIDE: {', '.join(beyond)}" if beyond else ""
        print(f"  {each['method']:9s} {shares}{flag}", flush=True)
    return wrong


def main() -> int:
    """Print the coverage of every cell. Return 1 if any that `auto` picks is outside 92 to 98 %."""
    p = argparse.ArgumentParser(
        "python -m benchmarks.coverage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--design", action="append", choices=DESIGNS, help="one design; can be repeated")
    p.add_argument("--objective", action="append", choices=OBJECTIVES, help="one objective; can be repeated")
    p.add_argument("--method", action="append", choices=METHODS, help="one method; can be repeated")
    p.add_argument("--sweeps", type=int, default=200)
    p.add_argument("--draws", type=int, default=200, help="of the bootstrap")
    p.add_argument("--workers", type=int, help="processes, by default one for each core")
    p.add_argument("--keep", type=Path, help="file of the sweeps that are done, from which a run goes on")
    p.add_argument("--record", action="store_true", help="append the rows to benchmarks/results/")
    options = p.parse_args()
    methods = tuple(options.method or (PROFILE, BOOTSTRAP, DELTA, AUTO))
    kept, wrong = Kept(options.keep), 0
    for design in options.design or DESIGNS:
        for loss in options.objective or OBJECTIVES:
            cell = Cell(design, loss, methods, options.draws)
            shares = swept(cell, options.sweeps, options.workers, kept)
            rows = [row(cell, method, options.sweeps, shares[method]) for method in methods]
            print(f"{design}, objective {loss}, {options.sweeps} sweeps: % covered by 95 % intervals")
            wrong += _printed(rows)
            if options.record:
                record.append("coverage", rows, ("numpy", "scipy"))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
