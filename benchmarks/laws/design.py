"""What do chosen cells save? L(N, K) of the small GPT-4 SAEs, fitted to a part of them, predicts the large ones.

The pool is the 30 published SAEs of n ≤ 2^16, the target the 15 of n = 2^17 to 2^19, and a cell costs n^1.6: n by its
size and n^0.6 by its tokens to convergence. Sequential designs (a start over n and k, then three batches by
`fit.study.answers.design`, the law fitted again before each) stand beside random subsets of the same cost, on

    measured   the losses of the table; a seed is that of the bootstrap, and of a random subset;
    noise      losses of the law of all 45 SAEs with the noise that its residuals have, 1 %, drawn anew for each seed;
    misfit     these with an error of 1 % that neighbouring sizes share, and noise of 0.3 %.

The error is the root mean square of ln L at the target: of the measured loss, or of the loss without noise.
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.record import append, parser
from fit.datasets import load
from fit.law.errors import FitError
from fit.law.estimate import Estimate, estimate
from fit.law.functionals import Predictions
from fit.law.law import Array, Inputs
from fit.law.laws import named
from fit.law.rows import Rows, make_rows
from fit.study.answers.design import Cell, design, start

LAW = named("L_NK")
TRAIN_TO = 2**16
COST = 1.6
SHARES = (0.1, 0.2, 0.35)
RANDOM = 5  # subsets for each seed
BATCHES = 3
NOISE, MISFIT, LITTLE = 0.0103, 0.01, 0.003
TABLES = ("measured", "noise", "misfit")
Some = NDArray[np.intp] | NDArray[np.bool_]  # of the published SAEs


@dataclass(frozen=True)
class Table:
    """Losses to fit, and those that the error is measured against, (45,) each."""

    loss: Array
    truth: Array


@dataclass(frozen=True)
class Row:
    """One seed at one share of the cost: errors in %, of the design, the full grid and the median random subset."""

    table: str
    seed: int
    share: float
    error: float
    full: float
    random: float
    cost: float
    cells: int


@dataclass(frozen=True)
class Pool:
    """The published SAEs: their inputs, what they cost as a share of all of the pool, and which are in the pool."""

    x: Inputs
    cost: Array
    inside: NDArray[np.bool_]
    published: Array

    @classmethod
    def read(cls) -> "Pool":
        table = load("gao2024_gpt4_lnk")
        n = table["n"].to_numpy(float)
        inside = n <= TRAIN_TO
        cost = n**COST
        x = {"n_latents": n, "k": table["k"].to_numpy(float)}
        return cls(x, cost / cost[inside].sum(), inside, table["loss"].to_numpy(float))

    def at(self, cells: Some) -> Inputs:
        return {name: values[cells] for name, values in self.x.items()}

    def rows(self, cells: Some, loss: Array) -> Rows:
        return make_rows(LAW, self.at(cells), loss[cells])

    def error(self, cells: Some, table: Table) -> float:
        """% of the loss at the target, of the law fitted to these cells."""
        at = estimate(LAW, self.rows(cells, table.loss))
        gap = at.log_loss(self.at(~self.inside)) - np.log(table.truth[~self.inside])
        return float(100 * np.sqrt((gap**2).mean()))

    def random(self, share: float, rng: np.random.Generator) -> NDArray[np.intp]:
        """Cells in random order, each taken if what is left pays it; drawn again if they are too few for the law."""
        while True:
            chosen, left = [], share
            for cell in rng.permutation(np.flatnonzero(self.inside)):
                if self.cost[cell] <= left + 1e-12:
                    chosen.append(cell)
                    left -= self.cost[cell]
            if len(chosen) >= len(LAW.internal) + 2:
                return np.array(chosen)

    def designed(self, share: float, table: Table, seed: int) -> NDArray[np.intp]:
        """The cells of a sequential design."""
        every = np.flatnonzero(self.inside)
        cells = [Cell(self.at(np.array([i])), float(self.cost[i])) for i in every]
        chosen = list(start(cells, LAW.inputs, share, len(LAW.internal) + 4))
        for batch in range(BATCHES):
            left = share - float(self.cost[every[chosen]].sum())
            others = [i for i in range(len(every)) if i not in chosen]
            if left < self.cost[every[others]].min():
                break
            rows = self.rows(every[chosen], table.loss)
            at = estimate(LAW, rows)
            last = batch == BATCHES - 1
            target = Predictions(at.basis.at(self.at(~self.inside)))
            proposed = design(
                at,
                rows,
                target,
                [cells[i] for i in others],
                left,
                batch=1 if last else 1 / (BATCHES - batch),
                seed=seed,
            )
            chosen += [others[one.cell] for one in proposed.added if one.now]
        return every[chosen]


def simulated(pool: Pool, misfit: bool, seed: int) -> Table:
    """A table whose truth is the law of all published SAEs, or that law with an error that neighbours share."""
    rng = np.random.default_rng(seed)
    whole: Estimate = estimate(LAW, make_rows(LAW, pool.x, pool.published))
    truth = whole.log_fitted()
    if misfit:
        u = np.log2([pool.x["n_latents"], pool.x["k"]]).T
        apart = ((u[:, None] - u) ** 2).sum(axis=2)
        covariance = MISFIT**2 * np.exp(-apart / 8) + 1e-12 * np.eye(len(u))
        truth = truth + np.linalg.cholesky(covariance) @ rng.standard_normal(len(u))
    return Table(
        np.exp(truth + (LITTLE if misfit else NOISE) * rng.standard_normal(len(truth))), np.exp(truth)
    )


def measured(pool: Pool, table: str, seed: int, shares: tuple[float, ...] = SHARES) -> Iterator[Row]:
    """The rows of one seed."""
    losses = (
        Table(pool.published, pool.published)
        if table == "measured"
        else simulated(pool, table == "misfit", seed)
    )
    full = pool.error(pool.inside, losses)
    for share in shares:
        rng = np.random.default_rng([seed, round(1000 * share)])
        errors: list[float] = []
        while len(errors) < RANDOM:
            try:
                errors.append(pool.error(pool.random(share, rng), losses))
            except FitError:  # one n or one k
                continue
        chosen = pool.designed(share, losses, seed)
        cost = float(pool.cost[chosen].sum())
        yield Row(
            table, seed, share, pool.error(chosen, losses), full, float(np.median(errors)), cost, len(chosen)
        )


def line(rows: list[Row]) -> str:
    """Medians and root mean squares over the seeds, and in how many the design is no worse than the median subset."""
    first = rows[0]
    error, full, random = (
        np.array([getattr(row, name) for row in rows]) for name in ("error", "full", "random")
    )
    typical = [f"{np.median(v):5.2f} ({np.sqrt((v**2).mean()):5.2f})" for v in (error, full, random)]
    return (
        f"{first.table:9s} {first.share:5.0%}  {'  '.join(typical)}  {int((error <= random).sum()):3d} of {len(rows)}  "
        f"{np.mean([row.cells for row in rows]):4.1f}"
    )


def main() -> int:
    """Print a line for each table and share."""
    p = parser("laws.design", __doc__)
    p.add_argument("--seeds", type=int, default=20)
    p.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    p.add_argument("--shares", nargs="+", type=float, default=list(SHARES))
    p.add_argument("--record", action="store_true", help="append the rows to results/")
    options = p.parse_args()
    pool = Pool.read()
    print(
        "errors in %: median (root mean square) over the seeds\n"
        "table     share  design         full grid      random subset  no worse  cells"
    )
    for table in options.tables:
        every = [
            row for seed in range(options.seeds) for row in measured(pool, table, seed, tuple(options.shares))
        ]
        for share in options.shares:
            print(line([row for row in every if row.share == share]), flush=True)
        if options.record:
            append("design", [asdict(row) for row in every], ["saescale", "numpy", "scipy"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
