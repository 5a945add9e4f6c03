"""Does the interval of an unfinished run's L∞ hold what the run reaches? Real curves, cut and compared with the whole.

    python -m benchmarks.laws.tails docs/smollm2 runs/demo
    python -m benchmarks.laws.tails early docs/smollm2 runs/demo benchmarks/results/converged.parquet --record

Each folder has runs.parquet and curves.parquet; a single file has the curves of runs that were trained far beyond their
convergence. Every curve is cut at a share of its tokens, as if its run had stopped
there. The first table compares the L∞ of the cut curve with that of the whole, which the run's row has: for the tail
that the trainer fits, ± 1.96 of its standard error, and for `fit.converged.tails`. R is the ratio on which the latter
rests. The second fits L(N) to the cut runs with `--unconverged extrapolate`, and to the whole runs as they are.

`early` asks what `train.stop=predicted` would have done on these curves: how well half of the tokens predict the loss
at the end; how many tokens are saved at each target, and whether the interval of L∞ at the stop holds what the whole
run reaches; and whether L(N) of the stopped runs lies inside the intervals of L(N) of the whole ones. `--record` keeps
the rows in benchmarks/results.
"""

import sys
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.record import append, parser
from fit.converged.tails import RATIO, limits
from fit.law.errors import FitError
from fit.law.options import FitOptions
from fit.law.result import FitResult, Param
from fit.study import fit_table
from sae_core.config import TrainConfig
from sae_core.training.convergence import Convergence, judge

CUTS = (0.25, 0.35, 0.5, 0.7, 0.85)
LAW_CUTS = (0.5, 0.7)
# The share of intervals that must hold the L∞ of the whole run at `LAW_CUTS`.
LEAST = 0.9
TARGETS = (0.005, 0.0075, 0.01, 0.015, 0.02, 0.03)
# The default of train.target; at it the laws of the stopped runs must lie inside the intervals of the whole ones.
TARGET = TrainConfig.target
# The largest root mean square error of a final loss that is predicted from half of the tokens.
HALF_GOALS = {"smollm2": 0.02}
HALF_GOAL = 0.01


@dataclass(frozen=True)
class Study:
    """The table of runs, with the columns that laws read, and that of their evaluations."""

    name: str
    runs: pd.DataFrame
    curves: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> "Study":
        if folder.is_file():
            return cls.long(folder.stem, pd.read_parquet(folder))
        runs, curves = (pd.read_parquet(folder / f"{name}.parquet") for name in ("runs", "curves"))
        return cls(folder.name, runs, curves[curves["run_id"].isin(runs["run_id"])])

    @classmethod
    def long(cls, name: str, curves: pd.DataFrame) -> "Study":
        """Curves of runs that were trained far beyond their convergence, each run a row at its end."""
        cell = curves[["n_latents", "k", "seed"]].astype(str)
        curves = curves.assign(
            run_id=cell.agg("-".join, axis=1), nmse=np.fmin(curves["nmse_live"], curves["nmse_ema"])
        )
        ends = curves.sort_values("tokens").groupby("run_id").tail(1)
        lr = 4e-3 * np.sqrt(1024 / ends["n_latents"])
        runs = ends.assign(state="done", converged=True, epsilon=0.01, stop="budget", lr=lr)
        return cls(name, runs.reset_index(drop=True), curves)

    @cached_property
    def judged(self) -> list[list[Convergence]]:
        """What the trainer would say at each evaluation of each run, in the order of the runs."""
        return [
            [_judged(curve.iloc[:count], epsilon) for count in range(1, len(curve) + 1)]
            for curve, epsilon in self.each()
        ]

    @cached_property
    def to_convergence(self) -> np.ndarray:
        """The tokens at which stop=converged would have ended each run."""
        ends = []
        for (curve, _), verdicts in zip(self.each(), self.judged, strict=True):
            yes = [bool(at.converged) for at in verdicts]
            ends.append(curve["tokens"].iloc[yes.index(True) if any(yes) else -1])
        return np.array(ends, dtype=float)

    @cached_property
    def limit(self) -> np.ndarray:
        """L∞ of each whole run, predicted from its end; its last loss where that has risen."""
        ends = np.array([verdicts[-1].nmse_predicted for verdicts in self.judged], dtype=float)
        return np.where(np.isnan(ends), self.runs["nmse"].to_numpy(dtype=float), ends)

    def each(self) -> Iterator[tuple[pd.DataFrame, float]]:
        """The curve and the ε of each run, in the order of the runs."""
        curves = {run: curve.sort_values("tokens") for run, curve in self.curves.groupby("run_id")}
        for run, epsilon in zip(self.runs["run_id"], self.runs["epsilon"], strict=True):
            yield curves[run], float(epsilon)

    def early(self, target: float) -> "Study":
        """The study as if its runs had stopped when the half width of L∞'s interval was at most the target."""
        rows: list[dict[Hashable, Any]] = []
        curves = []
        for run, (curve, _), verdicts in zip(
            self.runs.to_dict("records"), self.each(), self.judged, strict=True
        ):
            narrow = [at.half_width is not None and at.half_width <= target for at in verdicts]
            count = narrow.index(True) + 1 if any(narrow) else len(curve)
            end = {
                "tokens": curve["tokens"].iloc[count - 1],
                "nmse": curve["nmse"].iloc[count - 1],
                "stop": "predicted",
                "ended_by": "budget" if count == len(curve) else "predicted",
            }
            rows.append(dict(run) | asdict(verdicts[count - 1]) | end)
            curves.append(curve.iloc[:count])
        return Study(self.name, pd.DataFrame(rows), pd.concat(curves))

    def cut(self, share: float) -> "Study":
        """The study as if every run had stopped at a share of its tokens, judged there as the trainer would."""
        end = self.curves.groupby("run_id")["tokens"].transform("max")
        curves = self.curves[self.curves["tokens"] <= share * end]
        rows = []
        for run in self.runs.to_dict("records"):
            curve = curves[curves["run_id"] == run["run_id"]].sort_values("tokens")
            tail = _judged(curve, run["epsilon"])
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


def _judged(curve: pd.DataFrame, epsilon: float) -> Convergence:
    """What the trainer would say at the end of a curve."""
    # Curves without the two losses apart are judged as if both were the one that was reported.
    live, ema = (curve.get(name, curve["nmse"]).tolist() for name in ("nmse_live", "nmse_ema"))
    return judge(curve["tokens"].tolist(), live, ema, epsilon)


@dataclass(frozen=True)
class Stopped:
    """What stopping at a target did to a study.

    stopped: the share of runs that ended before their whole curve. tokens, compute: spent, as shares of the whole runs'
    (compute as n·D); of_converged: tokens, as a share of those of stop=converged. held: the share of intervals that
    hold the L∞ of the whole run. bias, rms: of ln of L∞ against it.
    inside: how many of the parameters E and α of all L(N) lie inside the intervals of those of the whole runs, and
    holding: how many have an interval that holds the whole runs' value; of `parameters`.
    """

    study: str
    target: float
    runs: int
    stopped: float
    tokens: float
    compute: float
    of_converged: float
    held: float
    bias: float
    rms: float
    parameters: int
    inside: int
    holding: int


def stopped(whole: Study, target: float, truth: dict[str, FitResult]) -> Stopped:
    """truth: L(N) of the whole runs."""
    early, limit = whole.early(target), whole.limit
    runs = early.runs
    low, value, high = (runs[f"nmse_predicted{end}"].to_numpy(dtype=float) for end in ("_low", "", "_high"))
    n, D, D_whole = (
        part.to_numpy(dtype=float) for part in (runs["n_latents"], runs["tokens"], whole.runs["tokens"])
    )
    error = np.log(value / limit)
    inside, holding = [], []
    for k, fit in laws(early, "drop").items():
        for name in ("E", "alpha"):
            full, now = truth[k].params[name], fit.params[name]
            inside.append(_between(full, now.value))
            holding.append(_between(now, full.value))
    return Stopped(
        study=whole.name,
        target=target,
        runs=len(runs),
        stopped=float((runs["ended_by"] == "predicted").mean()),
        tokens=float(D.sum() / D_whole.sum()),
        compute=float((n * D).sum() / (n * D_whole).sum()),
        of_converged=float(D.sum() / whole.to_convergence.sum()),
        held=float(((low <= limit) & (limit <= high)).mean()),
        bias=float(np.nanmean(error)),
        rms=float(np.sqrt(np.nanmean(error**2))),
        parameters=len(inside),
        inside=sum(inside),
        holding=sum(holding),
    )


def _between(param: Param, value: float | None) -> bool:
    low = -np.inf if param.low is None else param.low
    high = np.inf if param.high is None else param.high
    return value is not None and low <= value <= high


@dataclass(frozen=True)
class Half:
    """The loss at the end predicted from half of the tokens: errors of its ln, in the mean and root mean square.

    rms_tail: if it were at the L∞ of the tail that the trainer fits. rms_last: if the loss stayed what it is.
    """

    study: str
    runs: int
    bias: float
    rms: float
    rms_tail: float
    rms_last: float


def half(whole: Study) -> Half:
    """The curve of either weights goes on as L∞ + A·D^−g with the g at which R is 0.5; the lower one counts."""
    errors = []
    g = np.log2(1 + 1 / RATIO)
    for curve, epsilon in whole.each():
        D_end = curve["tokens"].iloc[-1]
        cut = curve[curve["tokens"] <= D_end / 2 * (1 + 1e-9)]
        D = cut["tokens"].to_numpy(dtype=float)
        ahead = []
        for name in ("nmse_live", "nmse_ema"):
            L = cut.get(name, cut["nmse"]).to_numpy(dtype=float)
            gap = RATIO * max(float(np.interp(np.log(D[-1] / 2), np.log(D), L)) - L[-1], 0)
            ahead.append(L[-1] - gap * (1 - (D_end / D[-1]) ** -g))
        losses = (min(ahead), _judged(cut, epsilon).nmse_inf, cut["nmse"].iloc[-1])
        errors.append([np.log(loss / curve["nmse"].iloc[-1]) for loss in losses])
    by, tail, last = np.array(errors, dtype=float).T
    rms = [float(np.sqrt(np.mean(part**2))) for part in (by, tail, last)]
    return Half(whole.name, len(by), float(by.mean()), *rms)


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
    """L(N) of each k; none where the sizes are too few for it."""
    options = FitOptions(unconverged=unconverged)
    try:
        fits = fit_table(study.runs, study.curves, ["L_N"], options=options, say=lambda _: None)
    except FitError:
        return {}
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


def early_ends(studies: Sequence[Study], record: bool) -> int:
    """Print what `stop=predicted` would have done. Return 1 if a goal is missed at the default target."""
    halves = [half(study) for study in studies]
    print("study      runs   final loss from half of the tokens: bias   rms   at the tail's L∞   unchanged")
    for row in halves:
        print(
            f"{row.study:10s} {row.runs:4d}   {100 * row.bias:42.2f} % {100 * row.rms:.2f} %   "
            f"{100 * row.rms_tail:15.2f} %   {100 * row.rms_last:7.2f} %"
        )
    missed = sum(row.rms > HALF_GOALS.get(row.study, HALF_GOAL) for row in halves)
    head = "study      target  stopped  tokens  compute  of converged  held   bias     rms      E and α inside, holding"
    print(f"\n{head}")
    rows = []
    for study in studies:
        truth = laws(study, "drop")
        for target in TARGETS:
            end = stopped(study, target, truth)
            rows.append(end)
            missed += target == TARGET and (end.held < 0.95 or end.inside < end.parameters)
            print(
                f"{end.study:10s} {100 * target:4.2f} %  {100 * end.stopped:5.0f} %  {100 * end.tokens:4.0f} %  "
                f"{100 * end.compute:5.0f} %  {100 * end.of_converged:10.0f} %  {100 * end.held:4.0f} %  "
                f"{100 * end.bias:+.2f} %  {100 * end.rms:.2f} %   {end.inside}, {end.holding} of {end.parameters}"
            )
    if record:
        kept = [
            {"what": kind, **asdict(row)}
            for kind, part in (("half", halves), ("early", rows))
            for row in part
        ]
        print(f"rows in {append('tails', kept, ['numpy', 'scipy', 'pandas'])}")
    return int(missed > 0)


def main() -> int:
    """Print the tables. Return 1 if the intervals of L∞ hold too few, or one of a law does not hold."""
    p = parser("laws.tails", __doc__)
    p.add_argument("folders", nargs="+", type=Path, metavar="[early] FOLDER")
    p.add_argument("--record", action="store_true", help="keep the rows of `early` in benchmarks/results")
    args = p.parse_args()
    early = args.folders[0] == Path("early")
    studies = [Study.read(folder) for folder in args.folders[early:]]
    if early:
        return early_ends(studies, args.record)
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
