"""Is a run that is called converged within ε of what it reaches? Runs trained far beyond, judged at each evaluation.

    python -m benchmarks.laws.converged             the table of the committed curves, a minute
    … train 32,48 5,6    train the cells n = 32 and 48, k = 4, 8, 16, at seeds 5 and 6 first: 5 CPU minutes each

A cell has the demo's data, learning rate and cadence of evaluations. A seed is that of the initialisation and of the
order of the data. The curves are kept in results/converged.parquet, and a run that the file holds is not trained again;
those `trained_by` a dense copy of the trainer's step differ from the trainer's by 0.02 % rms (averaged weights).
Each curve is judged as the trainer would, up to the demo's budget; it stops at the first verdict.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.record import RESULTS, parser
from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig
from sae_core.data.configs import SyntheticConfig
from sae_core.data.synthetic import Synthetic
from sae_core.training.convergence import judge
from sae_core.training.pack import start_point, train_pack
from sae_core.training.run import Run

Array = NDArray[np.float64]
FILE = RESULTS / "converged.parquet"
EPSILON = 0.01
K = (4, 8, 16)
CELL = ["n_latents", "k"]
RUN = [*CELL, "seed"]
# Verdicts of equal runs are compared from here on: the earliest at which any run is called converged.
FIRST_VERDICT = 200_000


@dataclass(frozen=True)
class Stopped:
    """A run as it would have stopped.

    tokens, loss: at its end, by the criterion or by the demo's budget. end: its loss at the end of its long curve.
    beyond: the tokens of that curve, in units of `tokens`. verdicts: at each evaluation up to the budget.
    """

    n_latents: int
    k: int
    seed: int
    converged: bool
    tokens: float
    loss: float
    end: float
    beyond: float
    verdicts: tuple[bool, ...]

    @property
    def gap(self) -> float:
        return self.loss / self.end - 1


def budget(n_latents: int) -> float:
    """The demo's max_tokens."""
    return 2e6 * (n_latents / 32) ** 0.6


def stopped(curves: pd.DataFrame, epsilon: float = EPSILON) -> Iterator[Stopped]:
    """Each run of the table, stopped where the criterion or the budget would have stopped it."""
    for key, curve in curves.sort_values("tokens").groupby(RUN):
        n, k, seed = (int(part) for part in np.asarray(key))
        D, live, ema = (curve[name].to_numpy(dtype=float) for name in ("tokens", "nmse_live", "nmse_ema"))
        L = np.fmin(live, ema)
        within = int((budget(n) >= D).sum())
        verdicts = tuple(_verdict(D[:i], live[:i], ema[:i], epsilon) for i in range(1, within + 1))
        at = verdicts.index(True) if any(verdicts) else within - 1
        # The mean of two evaluations, since one may be lucky; the last alone if the loss still falls.
        end = float(min(L[-1], L[-2:].mean()))
        yield Stopped(n, k, seed, any(verdicts), D[at], L[at], end, D[-1] / D[at], verdicts)


def _verdict(tokens: Array, live: Array, ema: Array, epsilon: float) -> bool:
    return bool(judge(tokens.tolist(), live.tolist(), ema.tolist(), epsilon).converged)


def scatter(runs: Sequence[Stopped], name: str) -> float:
    """The standard deviation of ln of a loss between the seeds of a cell: root mean square over cells."""
    losses = [np.log([getattr(run, name) for run in cell]) for cell in cells(runs)]
    return float(np.sqrt(np.mean([logs.var(ddof=1) for logs in losses])))


def agreement(runs: Sequence[Stopped], curves: pd.DataFrame) -> float:
    """The share of equal runs with the verdict of most of them: mean over evaluations from `FIRST_VERDICT` on."""
    skipped = {cell: (part["tokens"].unique() < FIRST_VERDICT).sum() for cell, part in curves.groupby(CELL)}
    shares = []
    for cell in cells(runs):
        first = skipped[cell[0].n_latents, cell[0].k]
        yes = np.mean([run.verdicts[first:] for run in cell], axis=0)
        shares += list(np.maximum(yes, 1 - yes))
    return float(np.mean(shares))


def cells(runs: Iterable[Stopped]) -> list[list[Stopped]]:
    """The runs of each cell that has two seeds or more."""
    found: dict[tuple[int, int], list[Stopped]] = {}
    for run in runs:
        found.setdefault((run.n_latents, run.k), []).append(run)
    return [cell for cell in found.values() if len(cell) > 1]


def train(file: Path, sizes: Sequence[int], seeds: Sequence[int]) -> None:
    """Train the runs that the file does not hold, the cells of one seed as a pack, and add their curves to it.

    A run has 10⁷·(n/32)^0.35 tokens, about 8 times those at which the criterion stops it.
    """
    source = Synthetic(
        SyntheticConfig(d_model=128, n_features=65536, zipf=1.2, l0=4.0, tail=True, held_out=16384, seed=0)
    )
    b_pre = start_point(source)
    for seed in seeds:
        held = pd.read_parquet(file) if file.exists() else pd.DataFrame(columns=RUN)
        have = set(held[RUN].itertuples(index=False, name=None))
        configs = [
            RunConfig(
                DataKey(source.fingerprint, source.d_model, seed),
                SAEConfig(n_latents=n, k=k, dead_tokens=100_000),
                TrainConfig(
                    lr=4e-3 * (1024 / n) ** 0.5,
                    batch_tokens=1024,
                    max_tokens=int(1e7 * (n / 32) ** 0.35),
                    ema=0.99,
                    first_eval_tokens=8192,
                ),
                seed,
            ).resolved()
            for n in sizes
            for k in K
            if (n, k, seed) not in have
        ]
        runs = [Run(config, b_pre, source.denominator) for config in configs]
        rows = [
            {
                "n_latents": event.run.config.sae.n_latents,
                "k": event.run.config.sae.k,
                "seed": seed,
                **{name: event.row[name] for name in ("tokens", "nmse_live", "nmse_ema")},
                "trained_by": "trainer",
            }
            for event in train_pack(runs, source)
            if event.kind == "evaluated" and event.row is not None
        ]
        if rows:
            kept = [held] if len(held) else []
            pd.concat([*kept, pd.DataFrame(rows)], ignore_index=True).to_parquet(file)
            print(f"seed {seed}: {len(runs)} runs", flush=True)


def table(curves: pd.DataFrame) -> list[Stopped]:
    """Print how the runs of each size ended, and the totals of all."""
    runs = list(stopped(curves))
    print("  n    runs  converged  within ε  largest gap  mean gap  mean tokens  trained on to")
    for n in (*sorted({run.n_latents for run in runs}), None):
        part = [run for run in runs if n in (None, run.n_latents)]
        called = [run for run in part if run.converged]
        gaps = np.array([run.gap for run in called])
        print(
            f"{n or 'all':>4}  {len(part):5d}  {len(called):9d}  {np.sum(gaps <= EPSILON):8d}"
            f"  {100 * gaps.max(initial=0):9.2f} %  {100 * gaps.mean():6.2f} %"
            f"  {np.mean([run.tokens for run in part]) / 1e3:9,.0f}k"
            f"  {min(run.beyond for run in part):.1f} to {max(run.beyond for run in part):.1f} ×"
        )
    if cells(runs):
        print(f"scatter of ln L between seeds: {100 * scatter(runs, 'loss'):.3f} % stopped, ", end="")
        print(f"{100 * scatter(runs, 'end'):.3f} % at the end of the long curves")
        print(
            f"equal runs with the same verdict, over all evaluations: {100 * agreement(runs, curves):.1f} %"
        )
    return runs


def main() -> int:
    """Train, or print the table. Return 1 if fewer than 95 % of the runs called converged are within ε."""
    p = parser("laws.converged", __doc__)
    p.add_argument("train", nargs="*", metavar="train N,… SEED,…")
    p.add_argument("--file", type=Path, default=FILE, help="where the curves are kept (default: %(default)s)")
    args = p.parse_args()
    if args.train:
        if len(args.train) != 3 or args.train[0] != "train":
            p.error(f"{' '.join(args.train)!r} is not `train`, sizes and seeds, such as: train 32,48 0,1")
        try:
            sizes, seeds = ([int(text) for text in part.split(",")] for part in args.train[1:])
        except ValueError:
            p.error(
                f"sizes and seeds are whole numbers, such as 32,48 and 0,1, not {' '.join(args.train[1:])!r}."
            )
        train(args.file, sizes, seeds)
    if not args.file.exists():
        p.error(f"There are no curves in {args.file}: train some first.")
    runs = table(pd.read_parquet(args.file))
    called = [run for run in runs if run.converged]
    return int(bool(called) and np.mean([run.gap <= EPSILON for run in called]) < 0.95)


if __name__ == "__main__":
    sys.exit(main())
