"""Would the law have chosen the right SAE? L(N, K) of the small GPT-4 SAEs chooses among the large ones.

The law is fitted to the published SAEs of n ≤ 2^16 and asked which (n, k) to train, up to n = 2^19. What an SAE costs
its user grows with n and with k, at an exchange rate p that only the user knows: a cell costs ln n + p·ln k. For every
p from 0 to 6 and every budget that just pays a cell of the largest n, each rule chooses among all cells that the budget
pays, and each different set of affordable cells counts once. The regret of a choice is its measured loss over the
lowest measured loss of the set, minus 1. Four rules choose the cell with the lowest

    law              predicted loss L;
    mean             mean of L over the draws of a bootstrap;
    expected regret  mean over the draws of L over the lowest L of the set, minus 1;
    upper end        upper end of the 95 % interval of L.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.record import parser
from fit.datasets import load
from fit.law.estimate import log_losses
from fit.law.fit import fit_law
from fit.law.intervals.bootstrap import Bootstrap
from fit.law.law import Array
from fit.study import predict

TRAIN_TO = 2**16
EXCHANGE_RATES = np.linspace(0, 6, 601)
LAW, MEAN, REGRET, UPPER = "law", "mean", "expected regret", "upper end"
RULES = (LAW, MEAN, REGRET, UPPER)


@dataclass(frozen=True)
class Cells:
    """The published SAEs, (cells,) each. draws: the loss of every cell by each refit of a bootstrap, (R, cells)."""

    n: Array
    k: Array
    measured: Array
    predicted: Array
    upper: Array
    draws: Array

    @cached_property
    def affordable(self) -> list[NDArray[np.intp]]:
        """The different sets of cells that a budget pays which just pays a cell of the largest n at one rate."""
        largest, sets = self.n == self.n.max(), {}
        for p in EXCHANGE_RATES:
            cost = np.log2(self.n) + p * np.log2(self.k)
            for budget in np.unique(cost[largest]):
                paid = np.flatnonzero(cost <= budget + 1e-9)
                sets[tuple(paid)] = paid
        return list(sets.values())

    def choice(self, rule: str, paid: NDArray[np.intp]) -> int:
        """The cell among those in `paid` that a rule chooses."""
        draws = self.draws[:, paid]
        score = {
            LAW: self.predicted[paid],
            MEAN: draws.mean(axis=0),
            REGRET: (draws / draws.min(axis=1, keepdims=True) - 1).mean(axis=0),
            UPPER: self.upper[paid],
        }[rule]
        return int(paid[np.argmin(score)])


@dataclass(frozen=True)
class Decision:
    """The cells that a rule chose and that measured lowest, in one set of affordable ones, and the regret."""

    chosen: int
    best: int
    regret: float


def cells(law: str, draws: int) -> Cells:
    """Every cell, with what the law of the small SAEs says about it. The draws resample their residuals, seed 0."""
    table = load("gao2024_gpt4_lnk")
    small = table[table["n"] <= TRAIN_TO]
    x = {"n_latents": small["n"], "k": small["k"]}
    fit = fit_law(law, x, small["loss"], hold_out=False, compare=False)
    redrawn = fit_law(law, x, small["loss"], method="bootstrap", draws=draws, hold_out=False, compare=False)
    n, k = table["n"].to_numpy(float), table["k"].to_numpy(float)
    asked = [{"n_latents": int(a), "k": int(b)} for a, b in zip(n, k, strict=True)]
    predictions = predict([fit], asked).predictions
    ends = redrawn.intervals
    if not isinstance(ends, Bootstrap):
        raise RuntimeError(f"{law}: asked for a bootstrap, but the intervals are by {ends and ends.method}.")
    losses = np.exp(log_losses(ends.at.basis.at({"n_latents": n, "k": k}), ends.solutions))
    upper = np.array([np.inf if one.high is None else one.high for one in predictions])
    return Cells(
        n, k, table["loss"].to_numpy(float), np.array([one.value for one in predictions]), upper, losses
    )


def decisions(every: Cells, rule: str, only_largest: bool = False) -> list[Decision]:
    """What a rule decides in each set. only_largest: those in which it chooses the largest n, or that is the best."""
    made = []
    for paid in every.affordable:
        chosen, best = every.choice(rule, paid), int(paid[np.argmin(every.measured[paid])])
        if not only_largest or every.n.max() in (every.n[chosen], every.n[best]):
            made.append(Decision(chosen, best, float(every.measured[chosen] / every.measured[best] - 1)))
    return made


def line(every: Cells, rule: str, made: Sequence[Decision]) -> str:
    """One line of the table: the rule, its decisions, how many are the best, mean and worst regret, and the worst."""
    regret = np.array([one.regret for one in made])
    worst = made[int(regret.argmax())]
    cell = [f"n = 2^{np.log2(every.n[i]):g}, k = {every.k[i]:g}" for i in (worst.chosen, worst.best)]
    return (
        f"{rule:15s}  {len(made):4d}  {100 * (regret == 0).mean():6.0f} %  {100 * regret.mean():5.2f} %"
        f"  {100 * regret.max():5.2f} %  {' instead of '.join(cell)}"
    )


def main() -> int:
    """Print the table for the sets that concern the largest n, and for all sets."""
    p = parser("laws.backtest", __doc__)
    p.add_argument("--law", default="L_NK", choices=("L_NK", "L_NK_pure"))
    p.add_argument("--draws", type=int, default=1000, help="of the bootstrap")
    options = p.parse_args()
    every = cells(options.law, options.draws)
    for title, only_largest in (
        (f"{options.law}: choices that concern the largest n", True),
        ("all sets", False),
    ):
        print(f"{title}\nrule             sets  the best   mean    worst  regret, and the worst choice")
        for rule in RULES:
            print(line(every, rule, decisions(every, rule, only_largest)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
