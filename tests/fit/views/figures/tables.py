"""A small sweep of known laws as tables and fits: what the figures are drawn from in their tests."""

from pathlib import Path

import numpy as np
import pandas as pd

from fit.study import fits_file
from fit.study.study_tables import StudyTables
from fit.views import figures

KS = (16, 32, 64)
NS = tuple(2**e for e in range(9, 16))
SCORE = {"up_to": 2**14, "rows": 6, "held": 1, "rms_log": 0.01}
HELD_OUT = {"input": "n_latents", **SCORE, "splits": [SCORE]}
GOLDEN = {
    "alpha": -0.42272,
    "beta_k": 0.23977,
    "beta_n": -0.02708,
    "gamma": -0.03829,
    "zeta": -1.31862,
    "eta": -0.09648,
}


def study(runs=None, curves=None, fits=None, latents=None):
    """A study as the figures take it. fits: the content of a fits.json."""
    known = fits_file.parse({"fits": [], **(fits or {})})
    return StudyTables(runs, curves, latents, known.fits, known.regimes)


def known(value, low=0.95, high=1.05):
    return {
        "value": value,
        "low": min(value * low, value * high),
        "high": max(value * low, value * high),
        "method": "t",
    }


def l_n_law(n, k):
    return 0.4 * k**-0.3 + 3.0 * np.asarray(n, float) ** -0.3


def fit_l_n(k, held=True):
    """A fit of L_N in the shape of fits.json: E + A n^-0.3 with 1 % noise, the largest n held out."""
    noise = 1 + 0.01 * np.random.default_rng(k).standard_normal(len(NS))
    grid = np.geomspace(NS[0], NS[-1], 40)
    largest = {
        "n_latents": NS[-1],
        "measured": float(l_n_law(NS[-1], k) * 1.01),
        "predicted": float(l_n_law(NS[-1], k)),
        "low": float(l_n_law(NS[-1], k) * 0.98),
        "high": float(l_n_law(NS[-1], k) * 1.03),
        "relative_error": 1 / 1.01 - 1,
        "inside": True,
    }
    return {
        "law": "L_N",
        "formula": "L(N) = E + A·N^−α",
        "regime": "converged",
        "group": {"k": k},
        "rows": len(NS),
        "params": {"E": known(0.4 * k**-0.3), "A": known(3.0), "alpha": known(0.3)},
        "held_out": {**HELD_OUT, "points": [largest]} if held else None,
        "warnings": [],
        "points": [
            {"n_latents": n, "k": k, "nmse": float(l_n_law(n, k) * e), "predicted": float(l_n_law(n, k))}
            for n, e in zip(NS, noise, strict=True)
        ],
        "curve": [
            {
                "n_latents": float(n),
                "value": float(l_n_law(n, k)),
                "low": float(l_n_law(n, k) * 0.98),
                "high": float(l_n_law(n, k) * 1.02),
            }
            for n in grid
        ],
    }


def golden_law(n, k):
    p = GOLDEN
    ln_n, ln_k = np.log(n), np.log(k)
    slope = p["alpha"] + p["beta_k"] * ln_k + p["beta_n"] * ln_n + p["gamma"] * ln_k * ln_n
    return np.exp(slope) + np.exp(p["zeta"] + p["eta"] * ln_k)


def _held(n, k):
    law = float(golden_law(n, k))
    point = {"n_latents": float(n), "k": float(k), "predicted": law, "low": law * 0.97, "high": law * 1.02}
    return {**point, "measured": law, "relative_error": 0.0, "inside": True}


def gao():
    return pd.read_csv(Path(figures.__file__).parents[2] / "datasets" / "gao2024_gpt4_lnk.csv")


def fit_l_nk():
    """The paper's own joint law on its own 45 points."""
    table = gao()
    grid = [(n, k) for k in sorted(set(table["k"])) for n in np.geomspace(2048, 524288, 30)]
    return {
        "law": "L_NK",
        "formula": "L(N, K) = exp(α + β_k ln K + β_n ln N + γ ln K ln N) + exp(ζ + η ln K)",
        "regime": "converged",
        "group": {},
        "rows": len(table),
        "params": {name: known(value, 0.8, 1.3) for name, value in GOLDEN.items()},
        "held_out": {**HELD_OUT, "points": [_held(524288, k) for k in (32, 64, 128, 256, 512)]},
        "warnings": [],
        "points": [
            {"n_latents": int(n), "k": int(k), "nmse": loss, "predicted": float(golden_law(n, k))}
            for n, k, loss in zip(table["n"], table["k"], table["loss"], strict=True)
        ],
        "curve": [
            {"n_latents": float(n), "k": int(k), "value": v, "low": v * 0.99, "high": v * 1.01}
            for n, k in grid
            for v in [float(golden_law(n, k))]
        ],
    }


def curves_table(k=32, schedule="constant"):
    """Curves that fall to L(N) as tokens^-0.5, two learning rates per n."""
    rows = []
    for n in NS:
        for lr, penalty in ((1e-3, 1.0), (4e-3, 1.08)):
            for tokens in np.geomspace(4096, 4096 * 2**12, 25):
                nmse = penalty * float(l_n_law(n, k)) + 20 * n**0.3 * tokens**-0.6
                rows.append(
                    {
                        "run_id": f"k{k}-n{n}-lr{lr:g}",
                        "k": k,
                        "n_latents": n,
                        "lr_schedule": schedule,
                        "tokens": tokens,
                        "nmse": nmse,
                        "flops_sparse": tokens * (2 * n * 256 + 8 * k * 256),
                        "flops_dense": tokens * 12 * n * 256,
                    }
                )
    return pd.DataFrame(rows)


def fit_l_c(flops="sparse", k=32):
    """A law through the lower hull of the curves; the exact numbers do not matter to a figure."""
    table = curves_table(k)
    table["bin"] = np.log2(table[f"flops_{flops}"]).round()
    best = table.loc[table.groupby("bin")["nmse"].idxmin()].iloc[6:]
    slope, intercept = np.polyfit(np.log(best[f"flops_{flops}"]), np.log(best["nmse"]), 1)
    grid = np.geomspace(best[f"flops_{flops}"].min(), best[f"flops_{flops}"].max(), 30)
    law = np.exp(intercept) * grid**slope
    return {
        "law": "L_C",
        "formula": "L(C) = E + A·C^−α",
        "regime": "compute",
        "group": {"k": k},
        "flops": flops,
        "rows": len(best),
        "params": {
            "E": known(0.01, 0.0, 4.0),
            "A": known(float(np.exp(intercept))),
            "alpha": known(-slope),
        },
        "held_out": None,
        "warnings": [],
        "points": [
            {
                "flops": row[f"flops_{flops}"],
                "nmse": row["nmse"],
                "predicted": row["nmse"],
                "run_id": row["run_id"],
                "n_latents": row["n_latents"],
            }
            for _, row in best.iterrows()
        ],
        "curve": [
            {"flops": c, "value": v, "low": v * 0.96, "high": v * 1.05}
            for c, v in zip(grid.tolist(), law.tolist(), strict=True)
        ],
    }


def runs_table(oracle=True):
    rows = []
    for k in KS:
        for n in NS:
            for i, lr in enumerate((1e-3, 4e-3)):
                rows.append(
                    {
                        "run_id": f"k{k}-n{n}-lr{lr:g}",
                        "state": "diverged" if i and n == NS[-1] else "done",
                        "converged": i == 0 and n < NS[-1],
                        "n_latents": n,
                        "k": k,
                        "nmse": float(l_n_law(n, k)),
                        "nmse_oracle": float(l_n_law(n, k)) * 0.6 if oracle else None,
                    }
                )
    return pd.DataFrame(rows)


def all_curves():
    return pd.concat([curves_table(k) for k in KS], ignore_index=True)


def all_fits():
    return {
        "saescale": "0",
        "table": "runs.parquet",
        "fits": [*(fit_l_n(k) for k in KS), fit_l_nk(), fit_l_c("sparse"), fit_l_c("dense")],
    }


def many_ks():
    """Five k with four-digit intervals: the longest legend that the paper's own grid would give."""
    fits = [fit_l_n(k) for k in (32, 64, 128, 256, 512)]
    for fit in fits:
        fit["params"] = {name: known(p["value"], 0.9997, 1.0004) for name, p in fit["params"].items()}
    return {"fits": fits}


def written(path: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(path / f"{name}.csv")
