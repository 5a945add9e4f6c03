"""Does the interval of an unfinished run's L∞ hold what the run reaches? Real curves, cut and compared with the whole.

    python -m benchmarks.tails docs/smollm2 runs/demo

Each folder has runs.parquet and curves.parquet. Every curve is cut at a share of its tokens, as if its run had stopped
there. The first table compares the L∞ of the cut curve with that of the whole, which the run's row has: for the tail
that the trainer fits, ± 1.96 of its standard error, and for `fit.converged.tails`. R is the ratio on which the latter
rests. The second fits L(N) to the cut runs with `--unconverged extrapolate`, and to the whole runs as they are.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fit.converged.tails import limits
from fit.law.options import FitOptions
from fit.law.result import FitResult
from fit.study import fit_table
from sae_core.training.convergence import judge

CUTS = (0.25, 0.35, 0.5, 0.7, 0.85)
LAW_CUTS = (0.5, 0.7)
# The share of intervals that must hold the L∞ of the whole run at `LAW_CUTS`.
LEAST = 0.9


@dataclass(frozen=True)
class Study:
    """The table of runs, with the columns that laws read, and that of their evaluations."""

    name: str
    runs: pd.DataFrame
    curves: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> "Study":
        runs, curves = (pd.read_parquet(folder / f"{name}.parquet") for name in ("runs", "curves"))
        return cls(folder.name, runs, curves[curves["run_id"].isin(runs["run_id"])])

    def cut(self, share: float) -> "Study":
        """The study as if every run had stopped at a share of its tokens, judged there as the trainer would."""
        end = self.curves.groupby("run_id")["tokens"].transform("max")
        curves = self.curves[self.curves["tokens"] <= share * end]
        rows = []
        for run in self.runs.to_dict("records"):
            curve = curves[curves["run_id"] == run["run_id"]].sort_values("tokens")
            # Curves without the two losses apart are judged as if both were the one that was reported.
            live, ema = (curve.get(name, curve["nmse"]).tolist() for name in ("nmse_live", "nmse_ema"))
            tail = judge(curve["tokens"].tolist(), live, ema, run["epsilon"])
            rows.append(
                {
                    **run,
                    "tokens": curve["tokens"].iloc[-1],
                    "nmse": curve["nmse"].iloc[-1],
                    "converged": tail.converged,
                    "nmse_inf": tail.nmse_inf,
                    "nmse_inf_se": tail.nmse_inf_se,
                    "last_doubling": tail.last_doubling,
                }
            )
        return Study(self.name, pd.DataFrame(rows), curves)


@dataclass(frozen=True)
class Coverage:
    """Shares of intervals that hold the L∞ of the whole run, and their median widths in units of the last loss."""

    before: float
    width_before: float
    now: float
    width: float
    table_only: float
    ratio: float
    ratio_sd: float


def coverage(whole: Study, share: float) -> Coverage:
    """How often the intervals of a cut study hold the L∞ of the whole runs."""
    cut = whole.cut(share).runs
    truth, last = whole.runs["nmse_inf"].to_numpy(dtype=float), cut["nmse"].to_numpy(dtype=float)
    inf, error = (cut[name].to_numpy(dtype=float) for name in ("nmse_inf", "nmse_inf_se"))
    known, _ = limits(cut, whole.cut(share).curves)
    blind, _ = limits(cut)
    held, held_blind = (((part["low"] <= truth) & (truth <= part["high"])).mean() for part in (known, blind))
    ratio = np.log(np.maximum(last - truth, 1e-6) / (cut["last_doubling"].to_numpy(dtype=float) * last))
    return Coverage(
        before=float((np.abs(inf - truth) <= 1.96 * error).mean()),
        width_before=float(np.nanmedian(2 * 1.96 * error / last)),
        now=float(held),
        width=float(np.median((known["high"] - known["low"]) / last)),
        table_only=float(held_blind),
        ratio=float(np.exp(ratio.mean())),
        ratio_sd=float(ratio.std()),
    )


def laws(study: Study, unconverged: str) -> dict[str, FitResult]:
    """L(N) of each k."""
    options = FitOptions(unconverged=unconverged)
    fits = fit_table(study.runs, study.curves, ["L_N"], options=options, say=lambda _: None)
    return {f"k={fit.group['k']}": fit for fit in fits}


def held(whole: Study, share: float) -> Iterator[tuple[str, str, float, tuple[float, float, float], bool]]:
    """For each k and parameter: its value from the whole runs, its value and interval from the cut ones."""
    truth, cut = laws(whole, "drop"), laws(whole.cut(share), "extrapolate")
    for k, fit in cut.items():
        for name, param in fit.params.items():
            value = truth[k].params[name].value
            low = -np.inf if param.low is None else param.low
            high = np.inf if param.high is None else param.high
            if value is not None and param.value is not None:
                yield k, name, value, (param.value, low, high), low <= value <= high


def main() -> int:
    """Print both tables. Return 1 if the intervals of L∞ hold too few, or one of a law does not hold."""
    p = argparse.ArgumentParser(
        "python -m benchmarks.tails",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    studies = [Study.read(folder) for folder in p.parse_args().folders]
    wrong = 0
    print("study      cut   trainer's tail, width   now, width        table only   R, sd of ln R")
    for study in studies:
        for share in CUTS:
            c = coverage(study, share)
            wrong += share in LAW_CUTS and c.now < LEAST
            print(
                f"{study.name:10s} {share:.2f}  {100 * c.before:5.0f} % {100 * c.width_before:10.1f} %   "
                f"{100 * c.now:5.0f} % {100 * c.width:5.1f} %   {100 * c.table_only:8.0f} %  "
                f"{c.ratio:9.2f} {c.ratio_sd:.2f}"
            )
    print("\nstudy      cut   k     parameter   whole runs   cut runs")
    for study in studies:
        for share in LAW_CUTS:
            for k, name, value, (at, low, high), inside in held(study, share):
                wrong += not inside
                print(
                    f"{study.name:10s} {share:.2f}  {k:5s} {name:11s} {value:8.4f}     {at:.4f} [{low:.4f}, {high:.4f}]"
                    f"{'' if inside else '   OUTSIDE'}"
                )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
