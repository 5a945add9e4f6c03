"""L(C) against L(N) in lines of text: which of the paper's claims hold, then the numbers behind it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fit.regimes.batch import Batch
from fit.regimes.budgets import Budgets, ConvergenceTokens
from fit.regimes.compare import Group, Regimes
from fit.regimes.floors import Floor
from fit.regimes.lr_ratio import Ratio
from fit.regimes.lr_readings import CellLr, LrReadings
from fit.views.format import MISSING, in_one_notation, number, percent, significant, symbol, with_interval
from fit.views.lines.law_table import Block, group_value
from fit.views.lines.verdict import about_edges, bound_text, judgements, ratio_text, verdict_lines

REGIMES = {"converged": "L(N)", "compute": "L(C)"}
LR_RATIO = "lr*(L(C)) / lr*(L(N))"
# Values over n that rise and fall and are listed each.
LISTED = 5
# The dependence on the batch size according to Gao et al. 2024, A.4.
PAPER_ON_BATCH = {"converged": "not strong if lr is retuned", "compute": "substantial"}


def regime_lines(regimes: Regimes) -> Iterator[str]:
    """The lines that compare L(C) with L(N): the verdict of each group first, then what it rests on."""
    yield "L(C) against L(N)"
    for group in regimes.groups:
        lines = [f"  {line}" for line in verdict_lines(group)]
        if lines and group.group and len(regimes.groups) > 1:
            yield f"  {', '.join(f'{key}={value}' for key, value in group.group.items())}"
        yield from lines
    for group in regimes.groups:
        yield from (f"  {line}" for line in _group(group))
    yield from (f"  {line}" for line in (*_floors(regimes.floors), *regimes.reasons))
    yield from (f"  ! {caution.text}" for caution in regimes.cautions)
    yield f"  ! {regimes.caution}"


def _group(group: Group) -> Iterator[str]:
    if group.group:
        yield ", ".join(f"{key}={value}" for key, value in group.group.items())
    batch = map(batch_effect, group.batch)
    ratio = lr_table(group.lr) if group.lr and group.lr.at_optimum.ratios else lr_ratio(group.ratio)
    tokens = _convergence(group.convergence)
    yield from (f"  {line}" for line in (*ratio, *batch, *tokens, *_budgets(group.budgets)))
    yield from (f"  {reason}" for reason in group.reasons)


def regime_block(groups: Sequence[Group]) -> Block:
    """A row for each group: how the regimes differ from its smallest to its largest n, and the ratio of the best lr.

    The ratio is left out where the verdict has it, and where no group knows it.
    """
    keys = tuple(dict.fromkeys(name for group in groups for name in group.group))
    columns = [[group_value(group.group.get(name)) for group in groups] for name in keys]
    columns.append([_span([row.n_latents for row in group.budgets], "{:,.0f}".format) for group in groups])
    columns.append([_span([row.token_ratio for row in group.budgets], "{:,.1f}".format) for group in groups])
    columns.append([_span([row.loss_gap for row in group.budgets], _signed) for group in groups])
    header = (*map(symbol, keys), "n", "D converged / compute", "L compute / converged − 1")
    if not any(judgements(group) for group in groups) and any(g.ratio.value is not None for g in groups):
        columns.append(in_one_notation([None if g.ratio.value is None else g.ratio for g in groups]))
        header = (*header, LR_RATIO)
    return Block(header, tuple(zip(*columns, strict=True)), len(keys))


def _signed(share: float) -> str:
    return percent(share, signed=True)


def _span(values: Sequence[float], text: Callable[[float], str]) -> str:
    """`18.0 to 3.2`, from the smallest to the largest n; each value where they rise and fall, or their range."""
    texts = list(map(text, values))
    if not texts:
        return MISSING
    if list(values) in (sorted(values), sorted(values, reverse=True)):
        return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"
    if len(texts) <= LISTED:
        return ", ".join(texts)
    return f"between {text(min(values))} and {text(max(values))}"


def lr_ratio(ratio: Ratio) -> list[str]:
    """`lr*(L(C)) / lr*(L(N)) = 3.9 [3.1, 4.9] by …; the paper says ≈ 4, inside`, and which optima are missing."""
    if ratio.value is None:
        return [f"lr ratio unknown: {' '.join(ratio.reasons)}"]
    text = f"lr*(L(C)) / lr*(L(N)) = {with_interval(ratio.value, ratio.low, ratio.high)} by {ratio.method}"
    inside = "inside" if ratio.paper_inside else "outside"
    return [
        f"{text}; the paper says ≈ {ratio.paper:g}, {inside}",
        *(f"  {reason}" for reason in ratio.reasons),
    ]


def lr_table(readings: LrReadings) -> list[str]:
    """lr* of each n and batch size in both regimes, then ρ at each budget where L(C) is read."""
    cells = {(each.batch_tokens, each.n_latents): each for each in readings.converged}
    lines = [f"{'B':>9}{'n':>9}  {'lr*(L(C))':<28}{'D there':>10}  {'lr*(L(N))':<28}"]
    compute = {(each.batch_tokens, each.n_latents): each for each in readings.at_optimum.optima}
    for B, n in sorted(cells.keys() | compute.keys()):
        here, there = compute.get((B, n)), cells.get((B, n))
        tokens = "–" if here is None or here.tokens is None else f"{here.tokens:,.0f}"
        lines.append(
            f"{B:>9,.0f}{n:>9,.0f}  {_best_lr(here):<28}{tokens:>10}  {_best_lr(there):<28}".rstrip()
        )
    sizes = [ratio.batch_tokens for ratio in readings.at_optimum.ratios]
    heads = [f"B = {B:,.0f}" for B in sizes]
    lines.append(f"{'ρ at D':>18}  {''.join(f'{head:<28}' for head in heads)}".rstrip())
    for reading in readings.by_tokens:
        by_size = {ratio.batch_tokens: ratio for ratio in reading.ratios}
        ratios = [ratio_text(by_size[B]) if B in by_size else "–" for B in sizes]
        lines.append(f"{reading.tokens:>18,.0f}  {''.join(f'{text:<28}' for text in ratios)}".rstrip())
    return lines


def _best_lr(cell: CellLr | None) -> str:
    if cell is None:
        return "–"
    if cell.lr is None:
        return f"{bound_text(cell)} (edge)"
    return with_interval(cell.lr, cell.low, cell.high)


def _convergence(rows: Sequence[ConvergenceTokens]) -> Iterator[str]:
    """`tokens to convergence, B = 256: 210,000 [180,000, 260,000] (n = 32), …`"""
    for B in dict.fromkeys(row.batch_tokens for row in rows):
        texts = [
            f"{row.tokens:.3g} [{row.low:.3g}, {row.high:.3g}] (n = {row.n_latents:,.0f})"
            for row in rows
            if row.batch_tokens == B
        ]
        yield f"tokens to convergence{'' if B is None else f', B = {B:,.0f}'}: {', '.join(texts)}"


def batch_effect(test: Batch) -> str:
    """`L(C) ∝ B^b, b = 0.031 [0.02, 0.04]: +4.4 % over B = 512 to 2,048 in 5 cells, substantial (p = 0.001)…`"""
    name = REGIMES[test.regime]
    if test.b is None or test.p is None or test.spread is None:
        return f"{name} over batch size unknown: {test.reason}"
    sizes = f"B = {test.batches[0]:,.0f} to {test.batches[-1]:,.0f} in {test.cells} cells"
    text = f"{name} ∝ B^b, b = {with_interval(test.b, test.low, test.high)}: "
    text += f"{percent(test.spread, signed=True)} over {sizes}, {test.effect} (p = {test.p:.2g})"
    tuned = "" if test.tuned else "; lr was not retuned for each batch, which may be all of it"
    return f"{text}{tuned}{about_edges(test)}; the paper: {PAPER_ON_BATCH[test.regime]}"


def _budgets(rows: Sequence[Budgets]) -> Iterator[str]:
    """A table: n, both budgets, the token ratio and the loss gap, and the gap half-way in ln D."""
    if not rows:
        return
    head = f"{'n':>11}{'D compute':>12}{'D converged':>13}{'ratio':>9}{'L compute':>11}{'L converged':>13}"
    yield f"{head}{'gap':>9}{'half-way':>10}"
    for row in rows:
        half_way = row.half_way
        yield (
            f"{row.n_latents:>11,.0f}{row.compute.tokens:>12.3g}{row.converged.tokens:>13.3g}"
            f"{number(row.token_ratio, 1):>9}{significant(row.compute.nmse, 4):>11}"
            f"{significant(row.converged.nmse, 4):>13}{percent(row.loss_gap, signed=True):>9}"
            f"{percent(half_way.gap, signed=True) if half_way else '?':>10}"
        )
    yield "each from the best run of its n, without interval: more seeds would tell how far they hold"


def _floors(floors: Sequence[Floor]) -> Iterator[str]:
    """The floors of each k side by side."""
    by_k: dict[Any, list[str]] = {}
    for floor in floors:
        group = ", ".join(f"{name}={value}" for name, value in floor.group.items())
        value = with_interval(floor.value, floor.low, floor.high)
        by_k.setdefault(floor.k, []).append(f"{floor.law}{f' ({group})' if group else ''} {value}")
    for k, texts in by_k.items():
        yield f"floors{'' if k is None else f' at k={k:g}'}: {', '.join(texts)}"
