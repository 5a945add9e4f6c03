"""Do nominal 95 % intervals cover 95 %? Simulated sweeps of a known law, fitted as a user would. `make coverage`

Designs: L(N, D) on grids of 16, 28, 45 and 240 runs, L(N) on 16 runs, and L(N, K) on the 45 runs of Gao et al. 2024,
Fig. 1 right; noise of 1 % between runs. Curves of 4, 5 and 7 runs, whose rows share errors (interaction law). 16 runs
of L(N) of which some or all had not finished and stand at their L∞ (noise 0.3 % beside its errors). For each objective
and interval method, and for the method that `auto` picks, the benchmark reports the share of sweeps whose interval
contains the truth: the parameters, the law's L one octave (twice n and tokens) and two octaves beyond the largest
scale, and a new run at two octaves, with its noise. A share of 95 % has a standard error of 1.5 % from 200 sweeps and
of 0.7 % from 1,000.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from benchmarks import record
from fit.converged.error_weights import error_weights
from fit.converged.tails import BETWEEN_RUNS, DRIFT, RATIO, ROUNDING, Tail, Z, shared_errors
from fit.law.estimate import estimate
from fit.law.intervals.choose import FEW, NONE, Intervals, intervals, suited
from fit.law.intervals.few_runs import METHOD as OVER_RUNS
from fit.law.intervals.measured import Coverage
from fit.law.intervals.shared import SharedError
from fit.law.law import Array, Inputs
from fit.law.laws import named
from fit.law.losses import objective
from fit.law.options import AUTO, BOOTSTRAP, DELTA, METHODS, PROFILE
from fit.law.rows import Rows, make_rows

NOISE = 0.01
# The coverage that a nominal 95 % interval must have.
LOWEST, HIGHEST = 0.92, 0.98
OBJECTIVES = ("log", "linear", "huber:0.001", "huber:0.0001")
NEW_RUN = "new run"


@dataclass(frozen=True)
class Sweep:
    """The rows of one simulated sweep and the loss of one more run at two octaves beyond them.

    own: the standard error of ln L in each row, where it has one. shared: ln of the factors on the losses at both 95 %
    ends of each error that the rows share, (2 errors, rows).
    """

    rows: Rows
    new: float
    own: Array | None = None
    shared: Array | None = None


@dataclass(frozen=True)
class Design:
    """A law with known parameters, the inputs of its runs, and the inputs one and two octaves beyond them."""

    law: str
    truth: Mapping[str, float]
    x: Inputs
    beyond: Inputs
    derived: tuple[str, ...] = field(default=())

    # The methods that it is made for; None for all.
    only: ClassVar[tuple[str, ...] | None] = None

    def sweep(self, seed: int) -> Sweep:
        """Measured losses, each with its own factor of noise."""
        return self._made(NOISE * np.random.default_rng(seed).standard_normal(self.runs + 1))

    @property
    def runs(self) -> int:
        """The number of rows."""
        return len(next(iter(self.x.values())))

    def _made(self, errors: Array, cluster: NDArray[np.intp] | None = None) -> Sweep:
        """errors: of ln L, (rows + 1,), the last that of the new run."""
        law = named(self.law)
        exact = np.append(law.loss(self.truth, self.x), law.loss(self.truth, self.beyond)[-1])
        measured = exact * np.exp(errors)
        return Sweep(make_rows(law, self.x, measured[:-1], None, cluster), float(measured[-1]))


LEVELS, SLOPES, AUTOCORRELATED = "levels", "levels and slopes", "autocorrelated"


@dataclass(frozen=True)
class Curves(Design):
    """Curves of few runs, one for each n, whose rows share errors of `kind`, and a fifth as large ones of each row.

    Autocorrelated: neighbours in tokens have errors with a correlation of .9.
    """

    kind: str = LEVELS

    only = (AUTO,)

    def sweep(self, seed: int) -> Sweep:
        random = np.random.default_rng(seed)
        n = len(np.unique(self.x["n_latents"]))
        shape = (n, self.runs // n)
        errors = 0.2 * random.standard_normal(shape)
        if self.kind == AUTOCORRELATED:
            steps = np.sqrt(1 - 0.9**2) * random.standard_normal(shape)
            steps[:, 0] /= np.sqrt(1 - 0.9**2)
            errors = errors + lfilter([1.0], [1.0, -0.9], steps, axis=1)
        else:
            errors = errors + random.standard_normal((n, 1))
        if self.kind == SLOPES:
            errors = errors + random.standard_normal((n, 1)) * np.linspace(-1, 1, shape[1])
        new = random.standard_normal()
        return self._made(NOISE * np.append(errors.ravel(), new), np.repeat(np.arange(n), shape[1]))


@dataclass(frozen=True)
class Unfinished(Design):
    """Runs at the L∞ of their tails. falls: the fall over the last doubling, relative to the loss, 0 for finished ones.

    R = (L(D) − L∞)/(L(D/2) − L(D)) differs from 0.5 by an error that all runs share, by a drift along n, and by one of
    each run, as `fit.converged.tails` supposes.
    """

    falls: tuple[float, ...] = ()

    only = (AUTO,)

    def sweep(self, seed: int) -> Sweep:
        random = np.random.default_rng(seed)
        limits = np.array([Tail(fall, ROUNDING, None).limit() if fall else (0.0,) * 6 for fall in self.falls])
        low, high = limits[:, 4], limits[:, 5]
        # In units of the 95 % ends of R: the error of all runs, and that of the drift over n.
        share, drift = random.standard_normal(2) / Z
        u = np.log(self.x["n_latents"]) - np.log(self.x["n_latents"]).mean()
        size = share + DRIFT * drift * u / np.abs(u).max()
        falls, between = np.array(self.falls), BETWEEN_RUNS * random.standard_normal(self.runs)
        errors = RATIO * falls * between - np.where(size > 0, size * high, -size * low)
        noise = 0.3 * NOISE * random.standard_normal(self.runs + 1)
        made = self._made(noise + np.append(errors, 0.0))
        return replace(made, own=limits[:, 3], shared=shared_errors(low, high, self.x))


def _grid(**axes: NDArray[Any]) -> Inputs:
    return {name: v.ravel() for name, v in zip(axes, np.meshgrid(*axes.values(), indexing="ij"), strict=True)}


def _nd(sizes: int, budgets: int) -> Design:
    return Design(
        "L_ND",
        {"E": 0.1, "A": 2.0, "alpha": 0.3, "B": 400.0, "beta": 0.4},
        _grid(n_latents=2.0 ** np.linspace(9, 15, sizes), tokens=np.geomspace(1e7, 1e10, budgets)),
        {"n_latents": 2.0 ** np.array([16, 17]), "tokens": 1e10 * np.array([2, 4])},
    )


def _curves(runs: int, kind: str) -> Curves:
    return Curves(
        "L_ND_cross",
        {"E": 0.119, "A": 3.0, "alpha": 0.525, "B": 60.0, "rho": 0.2, "beta": 0.6265},
        _grid(n_latents=np.geomspace(128, 2048, runs), tokens=np.geomspace(2e5, 3e7, 14)),
        {"n_latents": 2048 * np.array([2.0, 4.0]), "tokens": 3e7 * np.array([2.0, 4.0])},
        ("g",),
        kind,
    )


def _unfinished(*falls: float) -> Unfinished:
    finished = DESIGNS["16 runs of L(N)"]
    return Unfinished(finished.law, finished.truth, finished.x, finished.beyond, (), falls)


DESIGNS: dict[str, Design] = {
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


DESIGNS |= {
    f"{runs} curves, {kind}": _curves(runs, kind)
    for runs in (4, 5, 7)
    for kind in (LEVELS, SLOPES, AUTOCORRELATED)
    if runs == 7 or kind == SLOPES
}
DESIGNS |= {
    "16 runs of L(N), all unfinished": _unfinished(*[0.05] * 16),
    "16 runs of L(N), 8 unfinished": _unfinished(*[0.0] * 8, *[0.05] * 8),
    "16 runs of L(N), 12 unfinished": _unfinished(*[0.0] * 4, *np.geomspace(0.01, 0.1, 12)),
}


def covered(
    name: str, loss: str, methods: Sequence[str], draws: int, seed: int
) -> dict[str, dict[str, bool | None]]:
    """For each method and quantity, whether its interval contains the truth in one sweep; None without an interval.

    `auto` is one of the rest where every row is a run.
    """
    design = DESIGNS[name]
    law = named(design.law)
    sweep = design.sweep(seed)
    rows = sweep.rows
    if sweep.own is not None:
        rows = replace(rows, weights=error_weights(law, rows.x, rows.loss, sweep.own, objective(loss)))
    at = estimate(law, rows, objective(loss))
    free = AUTO in methods and not rows.shared
    picked = {method: suited(at, rows) if method == AUTO and free else method for method in methods}
    hits = {}
    for method in dict.fromkeys(picked.values()):
        ends = intervals(at, rows, method=method, draws=draws, seed=seed)
        if sweep.shared is not None:
            ends = SharedError.of(ends, at, rows, sweep.shared)
        hits[method] = _hits(design, ends, sweep.new)
    return {method: hits[picked[method]] for method in methods}


def _hits(design: Design, ends: Intervals, new: float) -> dict[str, bool | None]:
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
    few = ends.method in (OVER_RUNS, NONE)
    return {
        quantity: None if few and not _has_an_end(low, high) else bool(low <= value <= high)
        for quantity, (low, high, value) in held.items()
    }


def _has_an_end(low: float, high: float) -> bool:
    return bool(low > 0 or np.isfinite(high) or -np.inf < low < 0)


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
    return {method: _shares([hits[method] for hits in every]) for method in cell.methods}


def _shares(every: Sequence[Mapping[str, bool | None]]) -> dict[str, float]:
    """The shares of the intervals that were given; without the quantities that have one in less than half of sweeps."""
    given = {q: [bool(hits[q]) for hits in every if hits[q] is not None] for q in every[0]}
    return {q: float(np.mean(some)) for q, some in given.items() if 2 * len(some) >= len(every)}


class Kept:
    """Sweeps by cell and seed, one JSON line each in a file if there is one, so that a run that was cut off goes on."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.sweeps: dict[tuple[Any, ...], dict[str, dict[str, bool | None]]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path and path.is_file() else []:
            row = json.loads(line)
            self.sweeps.setdefault(tuple(row["key"]), {}).update(row["hits"])

    def has(self, cell: Cell, seed: int) -> bool:
        return set(cell.methods) <= set(self.sweeps.get(cell.key(seed), ()))

    def get(self, cell: Cell, seed: int) -> dict[str, dict[str, bool | None]]:
        return self.sweeps[cell.key(seed)]

    def add(self, cell: Cell, seed: int, hits: dict[str, dict[str, bool | None]]) -> None:
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


def measured(results: Iterable[Mapping[str, Any]]) -> tuple[Coverage, ...]:
    """The latest recorded row of each design of independent runs of L(N, D) and L(N), objective and method.

    For `fit.law.intervals.measured`, by E, the exponents and L beyond the rows.
    """
    latest = {}
    for each in results:
        design, method = DESIGNS.get(each.get("design", "")), each.get("method", "")
        if (
            each["benchmark"] != "coverage"
            or design is None
            or type(design) is not Design
            or design.law == "L_NK"
        ):
            continue
        if method == AUTO:
            method = PROFILE if design.runs < FEW else BOOTSTRAP
        shares = {q: share for q, share in each["coverage"].items() if q not in (*"AB", NEW_RUN)}
        lowest = min(shares, key=lambda q: shares[q])
        latest[design.runs, design.law, each["objective"], method] = Coverage(
            design.runs,
            design.law,
            each["objective"],
            method,
            each["sweeps"],
            shares[lowest],
            max(shares.values()),
            lowest,
        )
    return tuple(latest[key] for key in sorted(latest))


def main() -> int:
    """Print the coverage of every cell. Return 1 if any that `auto` picks is outside 92 to 98 %."""
    p = record.parser("laws.coverage", __doc__)
    p.add_argument("--design", action="append", choices=DESIGNS, help="one design; can be repeated")
    p.add_argument("--objective", action="append", choices=OBJECTIVES, help="one objective; can be repeated")
    p.add_argument("--method", action="append", choices=METHODS, help="one method; can be repeated")
    p.add_argument("--sweeps", type=int, default=200)
    p.add_argument("--draws", type=int, default=200, help="of the bootstrap")
    p.add_argument("--workers", type=int, help="processes, by default one for each core")
    p.add_argument("--keep", type=Path, help="file of the sweeps that are done, from which a run goes on")
    p.add_argument("--record", action="store_true", help="append the rows to benchmarks/results/")
    p.add_argument(
        "--table", action="store_true", help="print what was recorded for fit/law/intervals/measured.py"
    )
    options = p.parse_args()
    if options.table:
        for each in measured(record.recorded()):
            print(f"    {each},")
        return 0
    methods = tuple(options.method or (PROFILE, BOOTSTRAP, DELTA, AUTO))
    kept, wrong = Kept(options.keep), 0
    for design in options.design or DESIGNS:
        for loss in options.objective or OBJECTIVES:
            made_for = DESIGNS[design].only
            some = tuple(m for m in methods if made_for is None or m in made_for)
            if not some:
                continue
            cell = Cell(design, loss, some, options.draws)
            shares = swept(cell, options.sweeps, options.workers, kept)
            rows = [row(cell, method, options.sweeps, shares[method]) for method in some]
            print(f"{design}, objective {loss}, {options.sweeps} sweeps: % covered by 95 % intervals")
            wrong += _printed(rows)
            if options.record:
                record.append("coverage", rows, ("numpy", "scipy"))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
