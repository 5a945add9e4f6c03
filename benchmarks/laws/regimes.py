"""Can the study `regimes` tell the paper's claims on L(C) and L(N) from their opposites? Simulated tables of its grid.

    python -m benchmarks.laws.regimes [--tables 100] [study=regimes and overrides of its grid]

The grid, the budgets and ε are those of the config; each table goes through the real comparison of the regimes, which
`saescale fit` prints. The simulated loss of a run of n latents, batch size B and learning rate lr at D tokens is

    L = (B/256)^b·(E + A·n^−α)·(1 + p·ln²(lr/lr_N)) + H/(1 + (D·v/D_0)^g),    D_0 = d·(n/64)^0.6,
    v = exp(−s·ln²(lr/(f·lr_N))),    lr_N = r·(n/64)^−1/2·(B/1024)^0.4,

so lr_N is best at convergence and f·lr_N learns fastest; the best lr of a budget is found by search. The numbers are
read off real curves of the study (n = 128, B = 4,096: the loss at lr 0.016 follows H/(1 + u^1.5) within 4 % from 32,000
to 2,000,000 tokens; at 65,536 tokens the lr from 0.002 to 0.064 give s = 0.17 to 0.5; at the end p = 0.011 to 0.03).
Noise: of a whole run, of each evaluation, and of ln v, see `Noise`. The trainer's criterion says which runs converged.

Worlds: ρ = 4 (f = 9; at the compute-optimal points the best lr is 3.5 to 5.4 times lr_N) with a batch effect of 5 % on
both regimes, and ρ = 1 (f = 1) with none. Reported: how often each claim is said to hold, to be refuted, or to be open;
how often the 95 % interval of ρ at each batch size holds the truth of that table's budgets; and the scatter of ln lr*,
beside which that of a real study can be put.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import record
from fit.law.law import Array
from fit.law.options import FitOptions
from fit.regimes.compare import Group, compare
from fit.regimes.verdict import Claim, Outcome
from sae_core.training.convergence import judge
from sweeps.config.grid import expand

D_MODEL = 128
PACKAGES = ("saescale", "numpy", "scipy", "pandas")


@dataclass(frozen=True)
class Noise:
    """Standard deviations: of ln L of a run, of ln L of an evaluation, and of ln v, the speed of a run."""

    run: float = 0.001
    evaluation: float = 0.001
    speed: float = 0.03


@dataclass(frozen=True)
class World:
    """A truth. fastest: f, the lr that learns fastest over lr_N. b: the exponent of the batch effect."""

    name: str
    fastest: float
    b: float
    noise: Noise = field(default_factory=Noise)
    E: float = 0.171
    A: float = 1.22
    alpha: float = 0.5
    p: float = 0.02
    H: float = 0.55
    g: float = 1.5
    d: float = 21_000.0
    s: float = 0.2
    rate: float = 0.0045

    def best_at_end(self, n: float, B: float) -> float:
        """lr_N."""
        return float(self.rate * (n / 64) ** -0.5 * (B / 1024) ** 0.4)

    def loss(self, n: float, B: float, lr: float | Array, tokens: float | Array, shift: float = 0.0) -> Array:
        """The mean loss. shift: of ln v."""
        off = np.log(lr / self.best_at_end(n, B))
        limit = (B / 256) ** self.b * (self.E + self.A * n**-self.alpha) * (1 + self.p * off**2)
        speed = np.exp(shift - self.s * (off - np.log(self.fastest)) ** 2)
        return np.asarray(limit + self.H / (1 + (tokens * speed / (self.d * (n / 64) ** 0.6)) ** self.g))

    def ratio(self, n: float, B: float, tokens: float) -> float:
        """ρ when L(C) is read at D tokens: the best lr there, by search, over lr_N."""
        lr = self.best_at_end(n, B) * np.geomspace(0.1, 20, 4001)
        return float(lr[np.argmin(self.loss(n, B, lr, tokens))] / self.best_at_end(n, B))


EFFECT = float(np.log(1.05) / np.log(16))
WORLDS = (World("rho 4, batch effect 5 %", 9.0, EFFECT), World("rho 1, no batch effect", 1.0, 0.0))


@dataclass(frozen=True)
class Planned:
    """A run of the grid."""

    n_latents: int
    k: int
    batch_tokens: int
    lr: float
    tokens: int
    epsilon: float
    first: int
    per_doubling: int


OF_TRAINING = ("batch_tokens", "lr", "max_tokens", "epsilon", "first_eval_tokens", "evals_per_doubling")


def planned(overrides: Sequence[str]) -> list[Planned]:
    """The runs of a study's grid."""
    configs = [cell.config for cell in expand(overrides).cells]
    return [
        Planned(
            *(one["sae"][name] for name in ("n_latents", "k")),
            *(one["train"][name] for name in OF_TRAINING),
        )
        for one in configs
    ]


def tables(world: World, grid: Sequence[Planned], seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of runs and of evaluations of one simulated study."""
    random = np.random.default_rng(seed)
    made = [_run(world, one, f"run{i}", random) for i, one in enumerate(grid)]
    return pd.DataFrame([run for run, _ in made]), pd.concat([curve for _, curve in made], ignore_index=True)


def _run(
    world: World, one: Planned, name: str, random: np.random.Generator
) -> tuple[dict[str, object], pd.DataFrame]:
    steps = np.arange(int(np.log2(one.tokens / one.first) * one.per_doubling) + 1)
    D = np.unique(np.append(one.first * 2.0 ** (steps / one.per_doubling), one.tokens))
    noise, shift = world.noise, world.noise.speed * random.standard_normal()
    loss = world.loss(one.n_latents, one.batch_tokens, one.lr, D, shift)
    loss = loss * np.exp(
        noise.run * random.standard_normal() + noise.evaluation * random.standard_normal(len(D))
    )
    tail = judge(D.tolist(), loss.tolist(), loss.tolist(), one.epsilon)
    run: dict[str, object] = {
        "run_id": name,
        "n_latents": one.n_latents,
        "k": one.k,
        "batch_tokens": one.batch_tokens,
        "lr": one.lr,
        "lr_schedule": "constant",
        "seed": 0,
    }
    flops = (2 * one.n_latents + 8 * one.k) * D_MODEL * D
    curve = pd.DataFrame(
        {**run, "tokens": D, "nmse": loss, "flops_sparse": flops, "step": D / one.batch_tokens}
    )
    run |= {"state": "done", "stop": "budget", "epsilon": one.epsilon, "converged": tail.converged is True}
    run |= {"tokens": D[-1], "nmse": loss[-1], "flops_sparse": flops[-1]}
    run |= {"nmse_inf": tail.nmse_inf, "nmse_inf_se": tail.nmse_inf_se, "last_doubling": tail.last_doubling}
    return run, curve


@dataclass(frozen=True)
class Found:
    """What the comparison said about one table.

    outcomes: of each claim. by_batch: the outcome of the lr claim, whether the interval held the truth (None without an
    interval), the value, and the interval's half-width in ln, for each batch size.
    """

    outcomes: dict[Claim, Outcome]
    by_batch: dict[float, tuple[Outcome, bool | None, float | None, float | None]]
    scatter: float | None
    spread: dict[str, float | None]


def judged(world: World, grid: Sequence[Planned], seed: int) -> Found:
    """The verdict about one simulated study, beside its truth."""
    runs, curves = tables(world, grid, seed)
    (group,) = compare(runs, curves, (), FitOptions()).groups
    assert group.verdict is not None
    outcomes = {each.claim: each.outcome for each in group.verdict.claims}
    spread = {test.regime: test.spread for test in group.batch}
    scatter = group.lr.at_optimum.scatter if group.lr else None
    return Found(outcomes, dict(_by_batch(world, group)), scatter, spread)


def _by_batch(
    world: World, group: Group
) -> Iterator[tuple[float, tuple[Outcome, bool | None, float | None, float | None]]]:
    assert group.verdict is not None and group.lr is not None
    optimum = group.lr.at_optimum
    for part, ratio in zip(group.verdict.of(Claim.LR_RATIO).parts, optimum.ratios, strict=True):
        B = ratio.batch_tokens
        at = [each for each in optimum.optima if each.batch_tokens == B and each.tokens and each.lr]
        truths = [np.log(world.ratio(each.n_latents, B, each.tokens or 0.0)) for each in at]
        if ratio.value is None or ratio.low is None or ratio.high is None or not truths:
            yield B, (part.outcome, None, ratio.value, None)
            continue
        truth = float(np.exp(np.mean(truths)))
        half = float(np.log(ratio.high / ratio.low) / 2)
        yield B, (part.outcome, ratio.low <= truth <= ratio.high, ratio.value, half)


def summary(world: World, found: Sequence[Found]) -> dict[str, object]:
    """The shares over all tables of one world, as a row of results."""
    row: dict[str, object] = {"world": world.name, "tables": len(found)}
    for claim in Claim:
        row[claim.value] = _shares([one.outcomes[claim] for one in found])
    for B in sorted(found[0].by_batch):
        each = [one.by_batch[B] for one in found]
        held = [inside for _, inside, _, _ in each if inside is not None]
        row[f"B={B:.0f}"] = {
            **_shares([outcome for outcome, _, _, _ in each]),
            "rho": _median([value for _, _, value, _ in each]),
            "half_ln": _median([half for _, _, _, half in each]),
            "intervals": len(held),
            "cover": float(np.mean(held)) if held else None,
        }
    row["scatter"] = _median([one.scatter for one in found])
    row["spread"] = {
        regime: _median([one.spread[regime] for one in found]) for regime in ("compute", "converged")
    }
    return row


def _shares(outcomes: Sequence[Outcome]) -> dict[str, float]:
    counts = Counter(outcomes)
    return {outcome.value: counts[outcome] / len(outcomes) for outcome in Outcome}


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def main(argv: Sequence[str] | None = None) -> int:
    parser = record.parser("laws.regimes", __doc__)
    parser.add_argument(
        "overrides", nargs="*", default=["study=regimes"], help="the study, and overrides of its grid"
    )
    parser.add_argument("--tables", type=int, default=100, help="simulated tables of each world")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--to", type=Path, default=record.RESULTS, help="folder of the results")
    options = parser.parse_args(argv)
    grid = planned(options.overrides)
    total = sum(one.tokens for one in grid)
    print(f"{' '.join(options.overrides)}: {len(grid)} runs, {total / 1e6:.0f} M tokens")
    rows = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for world in WORLDS:
            found = list(pool.map(partial(judged, world, grid), range(options.tables)))
            rows.append({"study": " ".join(options.overrides), "runs": len(grid), "mtokens": total / 1e6})
            rows[-1] |= summary(world, found)
            print(rows[-1], flush=True)
    print(f"wrote {record.append('regimes', rows, PACKAGES, options.to)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
