"""What a learning rate transferred from small SAEs costs at a large one, against a full sweep of lr there.

    python -m benchmarks.laws.lr_transfer          the table of the committed curves, seconds
    python -m benchmarks.laws.lr_transfer train    train what is missing first: about 15 CPU minutes

The small ones have n = 16, 32 and 64 latents, the large one n = 1,024: 16 times the largest of them. All have the
demo's data, k = 4 and a budget of half a million tokens. Three rules choose the lr of the large one from the small
ones:

    law     lr*(n, D, B) = A·n^−α·D^−β·B^γ, fitted to lr* of each n and B at each budget (LR_NDB), or LR_ND, its form
            for one batch size
    paper   c/√n (Gao et al. 2024, Fig. 3), with c from lr* at n = 64 at the large one's budget and batch size
    μP      lr* at n = 64 under `sae.parametrization=mup`, as it is

The regret of a rule is how much higher the loss at its lr is than the lowest of the sweep, both on a cubic spline of
ln L over ln lr, and at the largest budget also that of a run at this very lr. Every evaluation is a run at its budget,
so one sweep has the regret at several D; the other rules take the small ones at this D, the law also at the others.
Curves are kept in results/lr_transfer.parquet, and a run that the file holds is not trained again.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from benchmarks.record import RESULTS, parser
from fit.converged.lr import lr_optima
from fit.law.result import FitResult
from fit.study import fit_table
from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig
from sae_core.data.configs import SyntheticConfig
from sae_core.data.synthetic import Synthetic
from sae_core.training.pack import start_point, train_pack
from sae_core.training.run import Run

Array = NDArray[np.float64]
FILE = RESULTS / "lr_transfer.parquet"
SMALL, LARGE, BATCH = (16, 32, 64), 1024, 1024
TOKENS, K = 2**19, 4
CELL = ["n_latents", "batch_tokens", "parametrization", "lr"]


@dataclass(frozen=True)
class Sweep:
    """Runs of one size and batch size at lr = 2^low … 2^high, in factors of 2."""

    n_latents: int
    batch_tokens: int
    low: int
    high: int
    parametrization: str = "standard"

    @property
    def lrs(self) -> list[float]:
        return [2.0**exponent for exponent in range(self.low, self.high + 1)]


# The ends are beyond the optima of the budgets that are used.
SWEEPS = (
    *(Sweep(n, 1024, -8, -4) for n in SMALL),
    Sweep(LARGE, 1024, -11, -6),
    Sweep(64, 1024, -5, 0, "mup"),
    *(Sweep(n, 256, -9, -5) for n in SMALL),
)


def train(file: Path, sweep: Sweep, lrs: Sequence[float]) -> None:
    """Train the runs that the file does not hold as one pack, and add their curves to it."""
    held = pd.read_parquet(file) if file.exists() else pd.DataFrame(columns=CELL)
    have = set(held[CELL].itertuples(index=False, name=None))
    cell = sweep.n_latents, sweep.batch_tokens, sweep.parametrization
    missing = [lr for lr in lrs if (*cell, lr) not in have]
    if not missing:
        return
    source = Synthetic(
        SyntheticConfig(d_model=128, n_features=65536, zipf=1.2, l0=4.0, tail=True, held_out=16384, seed=0)
    )
    sae = SAEConfig(
        n_latents=sweep.n_latents, k=K, dead_tokens=100_000, parametrization=sweep.parametrization
    )
    b_pre = start_point(source)
    runs = [Run(_config(source, sae, sweep.batch_tokens, lr), b_pre, source.denominator) for lr in missing]
    for _ in train_pack(runs, source):
        pass
    parts = [held] if len(held) else []
    for run, lr in zip(runs, missing, strict=True):
        curve = pd.DataFrame(run.curve)[["tokens", "nmse", "nmse_live", "nmse_ema"]]
        curve["n_latents"], curve["batch_tokens"], curve["parametrization"] = cell
        curve["lr"] = lr
        curve["run_id"] = f"{'-'.join(map(str, cell))}-{lr:.6g}"
        print(f"{cell} lr {lr:.3g}: {run.train_seconds:.0f} s, {curve['nmse'].iloc[-1]:.4f}", flush=True)
        parts.append(curve)
    pd.concat(parts, ignore_index=True).to_parquet(file, index=False)


def _config(source: Synthetic, sae: SAEConfig, batch_tokens: int, lr: float) -> RunConfig:
    settings = TrainConfig(
        lr=lr, batch_tokens=batch_tokens, max_tokens=TOKENS, ema=0.99, first_eval_tokens=8192
    )
    return RunConfig(DataKey(source.fingerprint, source.d_model), sae, settings).resolved()


def _quiet(_: str) -> None: ...


def law_of(curves: pd.DataFrame) -> FitResult:
    """LR_NDB of the small ones, or LR_ND as long as not all have been trained at several batch sizes."""
    standard = curves[curves["n_latents"].isin(SMALL) & (curves["parametrization"] == "standard")].assign(k=K)
    several = standard.groupby("n_latents")["batch_tokens"].nunique().min() > 1
    if not several:
        standard = standard[standard["batch_tokens"] == BATCH]
    (fit,) = fit_table(standard, laws=["LR_NDB" if several else "LR_ND"], say=_quiet)
    return fit


def optimum(curves: pd.DataFrame, **cell: object) -> float:
    """lr* of a cell at its last budget."""
    rows = curves[np.logical_and.reduce([curves[name] == value for name, value in cell.items()])]
    best, reasons = lr_optima(rows[rows["tokens"] == rows["tokens"].max()])
    if best.empty:
        raise SystemExit(" ".join(reasons))
    return float(best["lr"].iloc[0])


def transferred(curves: pd.DataFrame, tokens: float) -> dict[str, tuple[float, str]]:
    """The lr of the large SAE at a budget by each rule from the small ones, and the rule's parametrisation."""
    every = curves[curves["n_latents"].isin(SMALL)]
    small = every[every["tokens"] <= tokens]
    standard = small[small["parametrization"] == "standard"]
    at = {"n_latents": float(LARGE), "tokens": tokens, "batch_tokens": float(BATCH)}
    rules = {}
    for rule, rows in (("law of all budgets", every), ("law of budgets up to D", small)):
        fit = law_of(rows)
        rules[rule] = float(fit.predict({name: at[name] for name in fit.inputs})[0]), "standard"
    n = max(SMALL)
    best = optimum(standard, n_latents=n, batch_tokens=BATCH)
    rules["c/√n"] = best * (n / LARGE) ** 0.5, "standard"
    rules["lr* of n = 64"] = best, "standard"
    if (small["parametrization"] == "mup").any():
        rules["μP"] = optimum(small, n_latents=n, parametrization="mup"), "mup"
    return rules


def sweep_of(curves: pd.DataFrame, tokens: float, parametrization: str = "standard") -> tuple[Array, Array]:
    """ln lr and ln L of the large SAE's sweep at a budget."""
    lrs = next(each.lrs for each in SWEEPS if (each.n_latents, each.parametrization) == (LARGE, "standard"))
    rows = curves[(curves["n_latents"] == LARGE) & (curves["parametrization"] == parametrization)]
    losses = [_loss_at(rows[rows["lr"] == lr], tokens) for lr in lrs]
    return np.log(lrs), np.log(losses)


def _loss_at(curve: pd.DataFrame, tokens: float) -> float:
    curve = curve.sort_values("tokens")
    return float(np.exp(np.interp(np.log(tokens), np.log(curve["tokens"]), np.log(curve["nmse"]))))


def report(curves: pd.DataFrame) -> None:
    """Print the laws, and for each budget the lr and regret of each rule."""
    fit = law_of(curves)
    params = "  ".join(f"{name} {p.value:.3g} [{p.low}, {p.high}]" for name, p in fit.params.items())
    print(f"{fit.law}: {params}, {fit.rows} optima, residuals {100 * (fit.rms_log or 0):.0f} %")
    print("| D | rule | lr | regret | of a run at this lr |\n|---|---|---|---|---|")
    for tokens in (TOKENS / 4, TOKENS / 2, float(TOKENS)):
        x, y = sweep_of(curves, tokens)
        spline = CubicSpline(x, y)
        fine = np.linspace(x[0], x[-1], 2001)
        lowest = float(spline(fine).min())
        print(f"| {tokens:,.0f} | full sweep | {np.exp(fine[spline(fine).argmin()]):.2e} | 0 | |")
        for rule, (lr, parametrization) in transferred(curves, tokens).items():
            inside = parametrization == "standard" and x[0] <= np.log(lr) <= x[-1]
            spread = f"{100 * np.expm1(spline(np.log(lr)) - lowest):.2f} %" if inside else ""
            runs = curves[
                (curves["n_latents"] == LARGE)
                & (curves["parametrization"] == parametrization)
                & np.isclose(curves["lr"], lr, rtol=1e-6)
            ]
            run = f"{100 * np.expm1(np.log(_loss_at(runs, tokens)) - lowest):.2f} %" if len(runs) else ""
            print(f"| {tokens:,.0f} | {rule} | {lr:.2e} | {spread} | {run} |")


def main(argv: Iterable[str]) -> int:
    p = parser("laws.lr_transfer", __doc__)
    p.add_argument("what", nargs="?", choices=["train"])
    arguments = p.parse_args(list(argv))
    if arguments.what == "train":
        for sweep in SWEEPS:
            train(FILE, sweep, sweep.lrs)
            if sweep.parametrization == "mup" or sweep == SWEEPS[-1]:
                rules = transferred(pd.read_parquet(FILE), float(TOKENS))
                for rule in ("μP", "law of all budgets"):
                    train(FILE, Sweep(LARGE, BATCH, 0, 0, rules[rule][1]), [rules[rule][0]])
    report(pd.read_parquet(FILE))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
