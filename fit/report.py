"""The fits on screen: formula, rows and how they were chosen, parameters, the held-out check and the warnings."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fit.digits import greek, percent, scale, significant, with_interval
from fit.result import FitResult, finite

PER_LINE = 3
MOST_HELD_OUT = 6


def text(results: Sequence[FitResult]) -> str:
    """Every fit, separated by empty lines."""
    return "\n\n".join("\n".join(lines(result)) for result in results)


def lines(fit: FitResult) -> Iterator[str]:
    """One fit."""
    yield f"{fit.formula}      {_rows(fit)}, {fit.loss.replace('nmse', 'NMSE')}"
    params = [f"{greek(name)} {with_interval(p.value, p.low, p.high)}" for name, p in fit.params.items()]
    for start in range(0, len(params), PER_LINE):
        yield "  " + "   ".join(params[start : start + PER_LINE])
    method = next(iter(fit.params.values())).method
    agree = f"{fit.starts['agree']}/{fit.starts['tried']} starts agree"
    yield f"  {agree}, residual rms {percent(fit.rms_log)}, 95 % intervals by {method}"
    yield from _held_out(fit.held_out)
    yield from _oracle(fit)
    for warning in fit.warnings:
        yield f"  ! {greek(warning)}"


def _rows(fit: FitResult) -> str:
    """`k=32, 7 converged runs (ε = 1 %), the lowest of 21`."""
    group = [f"{name}={value}" for name, value in fit.group.items()]
    chosen = fit.selection
    if fit.regime == "compute":
        runs = f"{chosen['runs_on_frontier']} of {chosen['runs']} runs"
        rows = [
            f"{fit.rows} frontier points of {runs} ({chosen['source']}), C in FLOPs ({fit.flops} convention)"
        ]
    elif "unconverged" in chosen:
        kind = "converged runs" if chosen["unconverged_runs"] == "drop" else "runs"
        epsilon = chosen.get("epsilon")
        rows = [f"{fit.rows} {kind}" + (f" (ε = {100 * epsilon:g} %)" if epsilon else "")]
    else:
        rows = [f"{fit.rows} rows"]
    if chosen.get("passed_over"):
        rows.append(f"the lowest of {fit.rows + chosen['passed_over']}")
    return ", ".join(group + rows)


def _held_out(held: Mapping[str, Any] | None) -> Iterator[str]:
    if held is None:
        return
    points = held["points"]
    if len(points) > 1:
        inside = sum(point["inside"] for point in points)
        above = scale(held["input"], held["up_to"]).replace("=", " > ")
        yield f"  held out {above}: {len(points)} points, rms {percent(held['rms_log'])}, {inside} inside the intervals"
    for point in points[-MOST_HELD_OUT:]:
        where = ", ".join(scale(name, point[name]) for name in point if name in ("n_latents", "k", "flops"))
        predicted = with_interval(point["predicted"], finite(point["low"]), finite(point["high"]), digits=4)
        error = (
            f"{percent(point['relative_error'], signed=True)}, {'inside' if point['inside'] else 'OUTSIDE'}"
        )
        lead = "  held out " if len(points) == 1 else "    "
        yield f"{lead}{where}: predicted {predicted}, measured {significant(point['measured'], 4)} ({error})"


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
