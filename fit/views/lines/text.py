"""The fits as text for the terminal: formula, rows and their choice, parameters, held-out check and cautions."""

from collections.abc import Iterator, Mapping, Sequence

from fit.compute.frontier import LOOSER
from fit.compute.optima import CROSSOVERS
from fit.data.flops import described
from fit.law.caution import Kind
from fit.law.checks.held_out import HeldOut, Score
from fit.law.intervals.choose import NONE
from fit.law.json_values import finite
from fit.law.result import Choice, FitResult, Param
from fit.law.selection import ConvergedSelection, FrontierSelection, OptimumSelection
from fit.regimes.compare import Regimes
from fit.views.format import greek, number, percent, scale, significant, with_interval
from fit.views.lines.regimes import regime_lines
from fit.views.lines.rows import row_lines

PER_LINE = 3
MOST_HELD_OUT = 6


def text(results: Sequence[FitResult], regimes: Regimes | None = None) -> str:
    """Every fit, then the comparison of the regimes, separated by empty lines."""
    parts = ["\n".join(fit_lines(result)) for result in results]
    if regimes:
        parts.append("\n".join(regime_lines(regimes)))
    elif any(result.regime == "compute" for result in results):
        parts.append(f"! {LOOSER}")
    return "\n\n".join(parts)


def fit_lines(fit: FitResult) -> Iterator[str]:
    """The lines of one fit."""
    yield f"{fit.formula}      {_rows(fit)}, {fit.loss_text}"
    # That the rows refute a law comes before everything else about it.
    for refuted in (True, False):
        if not refuted:
            yield from _details(fit)
        for caution in fit.cautions:
            if (caution.kind is Kind.REFUTED) is refuted:
                yield f"  ! {greek(caution.text)}"


def _details(fit: FitResult) -> Iterator[str]:
    """The rows, the values and the checks."""
    yield from (f"  {line}" for line in row_lines(fit.rows_used))
    yield from _values(fit.params)
    yield _quality(fit)
    yield from _chosen(fit)
    yield from _values(fit.derived)
    yield from _held_out(fit.held_out)
    yield from _compared(fit)
    yield from _oracle(fit)
    yield from _sensitivity(fit.extra.sensitivity)
    if fit.extra.note:
        yield f"  {fit.extra.note}"


def _values(params: Mapping[str, Param]) -> Iterator[str]:
    """The values with their intervals, a few per line."""
    texts = [f"{greek(name)} {with_interval(p.value, p.low, p.high)}" for name, p in params.items()]
    for start in range(0, len(texts), PER_LINE):
        yield "  " + "   ".join(texts[start : start + PER_LINE])


def _quality(fit: FitResult) -> str:
    """`16/16 starts agree, residual rms 0.41 %, condition 12, 95 % intervals by profile`."""
    method = next(iter(fit.params.values())).method
    parts = [f"{fit.starts.agree}/{fit.starts.tried} starts agree"] if fit.starts else []
    parts += [f"residual rms {percent(fit.rms_log)}"] if fit.rms_log is not None else []
    parts += [f"condition {fit.condition:,.0f}"] if fit.condition is not None else []
    parts += ["no 95 % intervals" if method == NONE else f"95 % intervals by {method}"]
    return "  " + ", ".join(parts)


def _chosen(fit: FitResult) -> Iterator[str]:
    """How the rows of L(C) and its optima were chosen: the rule of the frontier, and what was dropped."""
    chosen = fit.selection
    if isinstance(chosen, FrontierSelection):
        yield f"  {chosen.rule}"
        if chosen.differ:
            yield f"  The runs on it differ in {', '.join(chosen.differ)}."
        dropped = fit.extra.isoflop.dropped if fit.extra.isoflop else ()
    else:
        dropped = chosen.dropped if isinstance(chosen, OptimumSelection) else ()
        if isinstance(chosen, OptimumSelection) and chosen.rule:
            yield f"  {chosen.rule}"
    if dropped:
        by_crossovers = isinstance(chosen, OptimumSelection) and chosen.method == CROSSOVERS
        kind = "crossover" if by_crossovers else "isoFLOP budget"
        many = f"{len(dropped)} {kind}s dropped, the first at" if len(dropped) > 1 else f"1 {kind} dropped,"
        yield f"  {many} {dropped[0]}"


def _compared(fit: FitResult) -> Iterator[str]:
    """`laws by held-out error, then AICc: L_N 0.41 %, L_N_broken 0.62 %, L_N_pure 2.1 % (refuted by the rows)`."""
    laws = [
        f"{law.law} {'?' if law.held_out_rms is None else percent(law.held_out_rms)}"
        f"{' (refuted by the rows)' if law.refuted else ''}"
        for law in fit.comparison
    ]
    if laws:
        yield f"  laws by held-out error, then AICc: {', '.join(laws)}"


def _sensitivity(rows: Sequence[Choice]) -> Iterator[str]:
    """How E and α of L(C) move with the analysis choices."""
    if rows:
        yield f"  {'choice':<24}{'FLOPs':<8}{'from C':>10}{'points':>8}{'α':>9}{'E':>10}"
    for row in rows:
        left = f"  {row.choice:<24}{row.flops:<8}"
        if row.reason:
            yield f"{left}{row.reason}"
            continue
        alpha, E = ("–" if value is None else number(value, 4) for value in (row.alpha, row.E))
        yield f"{left}{row.min_flops:>10.3g}{row.points:>8}{alpha:>9}{E:>10}"


def _rows(fit: FitResult) -> str:
    """`k=32, 7 converged runs (ε = 1 %), the best lr of 21 runs`."""
    parts = [f"{name}={value}" for name, value in fit.group.items()]
    chosen = fit.selection
    flops = f"C in FLOPs ({described(fit.flops)})"
    match chosen:
        case OptimumSelection():
            parts.append(f"{fit.rows} points ({chosen.method}), {flops}")
        case FrontierSelection():
            runs = f"{chosen.runs_on_frontier} of {chosen.runs} runs"
            parts.append(f"{fit.rows} frontier points of {runs} ({chosen.source}), {flops}")
        case ConvergedSelection(unconverged=int()):
            only_converged = chosen.unconverged_runs == "drop" and not chosen.extrapolated
            kind = "converged runs" if only_converged else "runs"
            kind = f"means of up to {chosen.seeds} {kind}" if (chosen.seeds or 1) > 1 else kind
            within = chosen.extrapolated != chosen.used
            epsilon = f" (ε = {100 * chosen.epsilon:g} %)" if chosen.epsilon and within else ""
            parts.append(f"{fit.rows} {kind}{epsilon}")
            if chosen.extrapolated:
                parts.append(f"{chosen.extrapolated} of them at an extrapolated L∞")
        case _:
            parts.append(f"{fit.rows} rows")
    if isinstance(chosen, ConvergedSelection) and chosen.passed_over:
        parts.append(f"the best lr of {chosen.chosen_from} runs")
    return ", ".join(parts)


def _held_out(held: HeldOut | None) -> Iterator[str]:
    if held is None:
        return
    points = held.points
    if len(points) > 1:
        yield f"{_score(held, held.score)}{_inside(held)}"
    for point in points if len(points) <= MOST_HELD_OUT else ():
        where = ", ".join(scale(name, value) for name, value in point.inputs.items())
        predicted = with_interval(point.predicted, point.low, point.high, digits=4)
        error = percent(point.relative_error, signed=True)
        if point.inside is not None:
            error += ", inside" if point.inside else ", OUTSIDE"
        lead = "  held out " if len(points) == 1 else "    "
        yield f"{lead}{where}: predicted {predicted}, measured {significant(point.measured, 4)} ({error})"
    yield from (_score(held, split) for split in held.splits[1:])


def _score(held: HeldOut, score: Score) -> str:
    above = scale(held.input, score.up_to).replace("=", " > ")
    return f"  held out {above}: {score.held:,} points, rms {percent(score.rms_log)}"


def _inside(held: HeldOut) -> str:
    """How many of the held-out points are inside their intervals; empty without intervals."""
    points = held.points
    if any(point.inside is None for point in points):
        return ""
    looked_at = f" of {len(points):,} looked at" if held.score.held > len(points) else ""
    return f", {sum(point.inside is True for point in points)}{looked_at} inside the intervals"


def _oracle(fit: FitResult) -> Iterator[str]:
    """For synthetic data, the loss of keeping the n most frequent features, beside the runs and the law."""
    if fit.law != "L_N" or all(point.run.oracle is None for point in fit.points):
        return
    yield f"  {'n':>11}  {'measured':>9}  {'law [95 %]':<26}  {'oracle':>9}"
    n = [point.inputs["n_latents"] for point in fit.points]
    ends = fit.predict({"n_latents": n}, interval="law")
    for point, law in zip(fit.points, zip(*ends, strict=True), strict=True):
        oracle = "?" if point.run.oracle is None else significant(point.run.oracle, 4)
        interval = with_interval(finite(law[0]), finite(law[1]), finite(law[2]), digits=4)
        measured = significant(point.response, 4)
        yield f"  {point.inputs['n_latents']:>11,}  {measured:>9}  {interval:<26}  {oracle:>9}"
