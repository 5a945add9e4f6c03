"""The fits on screen: formula, rows and how they were chosen, parameters, the held-out check and the warnings."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fit.compute.frontier import LOOSER
from fit.compute.optima import CROSSOVERS
from fit.compute.sensitivity import Sensitivity
from fit.data.number_format import greek, percent, scale, significant, with_interval
from fit.law.intervals.choose import NONE
from fit.law.result import FitResult, Param, finite
from fit.regimes.compare import Regimes

PER_LINE = 3
MOST_HELD_OUT = 6


def text(results: Sequence[FitResult], regimes: Regimes | None = None) -> str:
    """Every fit, and the regimes against each other, separated by empty lines."""
    parts = ["\n".join(lines(result)) for result in results]
    if regimes:
        parts.append("\n".join(regimes.lines()))
    elif any(result.regime == "compute" for result in results):
        parts.append(f"! {LOOSER}")
    return "\n\n".join(parts)


def lines(fit: FitResult) -> Iterator[str]:
    """One fit."""
    yield f"{fit.formula}      {_rows(fit)}, {fit.loss.replace('nmse', 'NMSE')}"
    yield from _listed(fit.params)
    method = next(iter(fit.params.values())).method
    agree = f"{fit.starts['agree']}/{fit.starts['tried']} starts agree"
    known = f", condition {fit.condition:,.0f}" if fit.condition is not None else ""
    ends = "no 95 % intervals" if method == NONE else f"95 % intervals by {method}"
    yield f"  {agree}, residual rms {percent(fit.rms_log)}{known}, {ends}"
    yield from _chosen(fit)
    yield from _listed(fit.derived)
    yield from _held_out(fit.held_out)
    yield from _compared(fit)
    yield from _oracle(fit)
    yield from _extra(fit)
    for warning in fit.warnings:
        yield f"  ! {greek(warning)}"


def _listed(params: Mapping[str, Param]) -> Iterator[str]:
    """Values with their intervals, a few a line."""
    texts = [f"{greek(name)} {with_interval(p.value, p.low, p.high)}" for name, p in params.items()]
    for start in range(0, len(texts), PER_LINE):
        yield "  " + "   ".join(texts[start : start + PER_LINE])


def _chosen(fit: FitResult) -> Iterator[str]:
    """How the rows of L(C) and its optima were chosen: the rule of the frontier, and what was dropped."""
    chosen = fit.selection
    if fit.regime == "compute" and "rule" in chosen:
        yield f"  {chosen['rule']}"
    dropped = fit.extra["isoflop"]["dropped"] if "isoflop" in fit.extra else chosen.get("dropped", ())
    if fit.regime == "compute" and dropped:
        kind = "crossover" if chosen["method"] == CROSSOVERS else "isoFLOP budget"
        many = f"{len(dropped)} {kind}s dropped, the first at" if len(dropped) > 1 else f"1 {kind} dropped,"
        yield f"  {many} {dropped[0]}"


def _compared(fit: FitResult) -> Iterator[str]:
    """`laws by held-out error: L_N 0.41 %, L_N_broken 0.62 %, L_N_pure 2.1 %`."""
    laws = [
        f"{law['law']} {'?' if law['held_out_rms'] is None else percent(law['held_out_rms'])}"
        for law in fit.comparison
    ]
    if laws:
        yield f"  laws by held-out error, then AICc: {', '.join(laws)}"


def _extra(fit: FitResult) -> Iterator[str]:
    """What else is known of the rows: the sensitivity of L(C) to choices, a note."""
    rows = fit.extra.get("sensitivity")
    if rows:
        yield from (f"  {line}" for line in Sensitivity(tuple(rows), ()).lines)
    if "note" in fit.extra:
        yield f"  {fit.extra['note']}"


def _rows(fit: FitResult) -> str:
    """`k=32, 7 converged runs (ε = 1 %), the best lr of 21 runs`."""
    group = [f"{name}={value}" for name, value in fit.group.items()]
    chosen = fit.selection
    if fit.regime == "compute" and "source" not in chosen:
        rows = [f"{fit.rows} points ({chosen['method']}), C in FLOPs ({fit.flops} convention)"]
    elif fit.regime == "compute":
        runs = f"{chosen['runs_on_frontier']} of {chosen['runs']} runs"
        rows = [
            f"{fit.rows} frontier points of {runs} ({chosen['source']}), C in FLOPs ({fit.flops} convention)"
        ]
    elif "unconverged" in chosen:
        kind = "converged runs" if chosen["unconverged_runs"] == "drop" else "runs"
        seeds = chosen.get("seeds", 1)
        kind = kind if seeds == 1 else f"means of up to {seeds} {kind}"
        epsilon = chosen.get("epsilon")
        rows = [f"{fit.rows} {kind}" + (f" (ε = {100 * epsilon:g} %)" if epsilon else "")]
    else:
        rows = [f"{fit.rows} rows"]
    if chosen.get("passed_over"):
        rows.append(f"the best lr of {chosen['chosen_from']} runs")
    return ", ".join(group + rows)


def _held_out(held: Mapping[str, Any] | None) -> Iterator[str]:
    if held is None:
        return
    points = held["points"]
    if len(points) > 1:
        above = scale(held["input"], held["up_to"]).replace("=", " > ")
        yield f"  held out {above}: {held['held']:,} points, rms {percent(held['rms_log'])}{_inside(held)}"
    for point in points if len(points) <= MOST_HELD_OUT else []:
        where = ", ".join(scale(name, point[name]) for name in list(point)[: list(point).index("predicted")])
        predicted = with_interval(point["predicted"], point["low"], point["high"], digits=4)
        error = percent(point["relative_error"], signed=True)
        if point["inside"] is not None:
            error += ", inside" if point["inside"] else ", OUTSIDE"
        lead = "  held out " if len(points) == 1 else "    "
        yield f"{lead}{where}: predicted {predicted}, measured {significant(point['measured'], 4)} ({error})"
    for split in held["splits"][1:]:
        above = scale(held["input"], split["up_to"]).replace("=", " > ")
        yield f"  held out {above}: {split['held']:,} points, rms {percent(split['rms_log'])}"


def _inside(held: Mapping[str, Any]) -> str:
    """How many of the held-out points are inside their intervals, where there are any."""
    points = held["points"]
    if any(point["inside"] is None for point in points):
        return ""
    of = f" of {len(points):,} looked at" if held["held"] > len(points) else ""
    return f", {sum(point['inside'] for point in points)}{of} inside the intervals"


def _oracle(fit: FitResult) -> Iterator[str]:
    """The loss of keeping the n most frequent features, beside the runs and the law, where the data is synthetic."""
    if fit.law != "L_N" or not any(point.get("oracle") is not None for point in fit.points):
        return
    yield f"  {'n':>11}  {'measured':>9}  {'law [95 %]':<26}  {'oracle':>9}"
    ends = fit.predict({"n_latents": [point["n_latents"] for point in fit.points]}, interval="law")
    for point, law in zip(fit.points, zip(*ends, strict=True), strict=True):
        oracle = point.get("oracle")
        known = "?" if oracle is None or oracle != oracle else significant(oracle, 4)
        interval = with_interval(finite(law[0]), finite(law[1]), finite(law[2]), digits=4)
        measured = significant(point["nmse"], 4)
        yield f"  {point['n_latents']:>11,}  {measured:>9}  {interval:<26}  {known:>9}"
