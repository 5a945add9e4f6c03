"""The verdict on the paper's claims in words: what holds in a study, by how much, and what would decide the rest."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fit.converged.lr import End
from fit.data.vertex import short_number
from fit.regimes.batch import Batch
from fit.regimes.compare import Group
from fit.regimes.lr_readings import BatchRatio, CellLr, LrReadings
from fit.regimes.verdict import Claim, ClaimVerdict, Need, Outcome, Part
from fit.views.format import number, percent, with_interval

CLAIMS = {
    Claim.LR_RATIO: "the best lr at convergence is about 4 times below the compute-optimal one",
    Claim.BATCH_COMPUTE: "the batch size moves L(C) substantially",
    Claim.BATCH_CONVERGED: "with lr retuned, the batch size hardly moves L(N)",
}
NEEDS = {
    Need.CURVES: "the training curves",
    Need.LR_SWEEP: "three lr or more at several n of each batch size",
    Need.CONVERGED_RUNS: "runs that converge",
    Need.SMALLER_LR: "smaller lr, trained until they converge",
    Need.LARGER_LR: "larger lr",
    Need.BATCH_SIZES: "converged runs and curves of two batch sizes or more at two n or more",
    Need.RETUNED_LR: "three lr or more at each n and batch size",
    Need.MORE_CELLS: "more n or seeds",
}
# Readings of ρ that are listed for a batch size.
LISTED = 3


@dataclass(frozen=True)
class Judgement:
    """One claim in words. evidence: the numbers, a sentence; details: further sentences; brief: what they come to."""

    outcome: Outcome
    claim: str
    evidence: str
    details: tuple[str, ...]
    brief: tuple[str, ...] = ()


def judgements(group: Group) -> list[Judgement]:
    """The claims about one group of runs; empty for fits of an older version, and where no claim can be judged."""
    if group.verdict is None:
        return []
    if all(_nothing_known(each) for each in group.verdict.claims) and not group.batch_by_tokens:
        return []
    return [_judgement(each, group) for each in group.verdict.claims]


def verdict_lines(group: Group) -> Iterator[str]:
    """`HOLDS: the batch size moves L(C) substantially. …`, each claim with its details below it."""
    for each in judgements(group):
        yield f"{each.outcome.upper()}: {each.claim}. {each.evidence}"
        yield from (f"  {detail}" for detail in each.details)


def _nothing_known(each: ClaimVerdict) -> bool:
    return all(part.value is None and part.low is None and part.high is None for part in each.parts)


def _judgement(each: ClaimVerdict, group: Group) -> Judgement:
    if each.claim is Claim.LR_RATIO:
        evidence, details = _ratios(each, group.lr), list(_about_ratios(group.lr))
        brief = list(_brief_ratios(group.lr))
    else:
        regime = "compute" if each.claim is Claim.BATCH_COMPUTE else "converged"
        test = next(test for test in group.batch if test.regime == regime)
        evidence = _batch(each.parts[0], test)
        details, brief = list(_by_tokens(group.batch_by_tokens)) if regime == "compute" else [], []
    texts = (*details, *_open(each))
    return Judgement(each.outcome, CLAIMS[each.claim], evidence, texts, (*brief, *_brief_needs(each)))


def _brief_ratios(readings: LrReadings | None) -> Iterator[str]:
    """`lr* only bounded in 6 of 10 cells`, and how far ρ moves with the tokens at which L(C) is read."""
    if readings is None:
        return
    cells = (*readings.at_optimum.optima, *readings.converged)
    if bounded := sum(cell.end is not None for cell in cells):
        yield f"lr* only bounded in {bounded} of {len(cells)} cells"
    known = [
        (reading.tokens, ratio.value, ratio.batch_tokens)
        for reading in readings.by_tokens
        for ratio in reading.ratios
        if ratio.value is not None and reading.tokens is not None
    ]
    for B in dict.fromkeys(batch for _, _, batch in known):
        here = [(tokens, value) for tokens, value, batch in known if batch == B]
        (fewest, first), (most, last) = here[0], here[-1]
        if fewest < most:
            yield f"ρ is {number(first, 1)} at D = {fewest:,.0f}, {number(last, 1)} at {most:,.0f} (B = {B:,.0f})"
            return


def _brief_needs(each: ClaimVerdict) -> Iterator[str]:
    """`to decide: smaller lr, trained until they converge`."""
    open_parts = list(each.having(Outcome.UNDECIDED))
    needs = dict.fromkeys(NEEDS[need] for part in open_parts for need in part.needs if part.times is None)
    factors = [max(2, math.ceil(part.times)) for part in open_parts if part.times is not None]
    texts = [*needs, *([f"about {max(factors)} times as many n or seeds"] if factors else [])]
    if texts:
        yield f"to decide: {', and '.join(texts)}"


def _ratios(each: ClaimVerdict, readings: LrReadings | None) -> str:
    """`ρ = lr*(L(C)) / lr*(L(N)) is 4.1 [3.3, 5.2] at B = 256 (holds), 2.2 [1.9, 2.6] at B = 1,024 (refuted).`"""
    if readings is None:
        return "lr* is not known in both regimes."
    texts = [f"{ratio_text(part)}{_at(part)}" for part in each.parts]
    if len(texts) > 1:
        texts = [f"{text} ({part.outcome})" for text, part in zip(texts, each.parts, strict=True)]
    return f"ρ = lr*(L(C)) / lr*(L(N)) is {', '.join(texts)}."


def _at(part: Part) -> str:
    return "" if part.batch_tokens is None else f" at B = {part.batch_tokens:,.0f}"


def ratio_text(part: Part | BatchRatio) -> str:
    """`4.1 [3.3, 5.2]`, `at least 1.6`, `at most 3.1` or `unknown`."""
    if part.value is not None:
        if part.low is None or part.high is None:
            return f"{number(part.value, 1)} (no interval)"
        return with_interval(part.value, part.low, part.high)
    bounds = [("at least", part.low), ("at most", part.high)]
    texts = [f"{words} {number(end, 1)}" for words, end in bounds if end is not None]
    return " and ".join(texts) or "unknown"


def _about_ratios(readings: LrReadings | None) -> Iterator[str]:
    if readings is None:
        return
    optimum = readings.at_optimum
    if optimum.b is not None:
        slope = with_interval(optimum.b, optimum.b_low, optimum.b_high)
        yield f"With the batch size: ρ ∝ B^b, b = {slope}."
    if by_budget := list(_by_budget(readings)):
        yield f"With the tokens D at which L(C) is read: {'; '.join(by_budget)}."
    yield from _by_tolerance(readings)
    yield from _at_the_edge("L(C)", optimum.optima)
    yield from _at_the_edge("L(N)", readings.converged)
    if readings.unconverged:
        counts = ", ".join(f"{count} at B = {B:,.0f}" for B, count in readings.unconverged)
        yield f"Runs that did not converge, of which lr*(L(N)) uses at most the lower end of L∞: {counts}."


def _by_budget(readings: LrReadings) -> Iterator[str]:
    """`B = 256: 4.5 [3.6, 5.6] at D = 16,384, 3.3 [2.7, 4.0] at 65,536, 1.9 [1.5, 2.4] at 262,144`."""
    for B in dict.fromkeys(ratio.batch_tokens for ratio in readings.at_optimum.ratios):
        known = [
            (reading.tokens, ratio)
            for reading in readings.by_tokens
            for ratio in reading.ratios
            if ratio.batch_tokens == B and ratio.value is not None
        ]
        if known:
            chosen = [known[i] for i in sorted({0, len(known) // 2, len(known) - 1})][:LISTED]
            yield f"B = {B:,.0f}: " + ", ".join(f"{ratio_text(ratio)} at {D:,.0f}" for D, ratio in chosen)


def _by_tolerance(readings: LrReadings) -> Iterator[str]:
    """`If a larger lr counts as best at convergence that costs 0.10 %: ρ = 3.3 [2.9, 3.8] at B = 256, …; 0.30 %: …`"""
    texts = []
    for each in readings.by_tolerance:
        ratios = [
            f"{ratio_text(ratio)} at B = {ratio.batch_tokens:,.0f}"
            for ratio in each.ratios
            if ratio.value is not None
        ]
        texts += [f"{percent(each.share)}: ρ = {', '.join(ratios)}"] if ratios else []
    if texts:
        yield f"If the largest lr counts as best at convergence that costs {'; '.join(texts)}."


def _at_the_edge(regime: str, cells: Sequence[CellLr]) -> Iterator[str]:
    """`Of lr*(L(N)) only a bound is known, at an edge of the lr that count: B = 4,096: n = 80 (below 0.016).`"""
    edges = [each for each in cells if each.end is not None]
    texts = []
    for B in dict.fromkeys(each.batch_tokens for each in edges):
        here = [f"n = {each.n_latents:,.0f} ({bound_text(each)})" for each in edges if each.batch_tokens == B]
        texts.append(f"B = {B:,.0f}: {', '.join(here)}")
    if texts:
        yield f"Of lr*({regime}) only a bound is known, at an edge of the lr that count: {'; '.join(texts)}."


def bound_text(each: CellLr) -> str:
    below = each.end is End.SMALLEST
    bound = each.high if below else each.low
    return f"{'below' if below else 'above'} {'?' if bound is None else short_number(bound)}"


def _batch(part: Part, test: Batch) -> str:
    """`+54 % [+31, +80] from B = 256 to 4,096, in 3 cells; an effect of 12 % would have been seen.`"""
    if part.value is None or part.low is None or part.high is None:
        reason = test.reason or "there is no test."
        return reason[0].upper() + reason[1:]
    interval = f"[{percent(part.low, signed=True)}, {percent(part.high, signed=True)}]"
    text = f"{percent(part.value, signed=True)} {interval} from B = {test.batches[0]:,.0f} to {test.batches[-1]:,.0f}"
    text += f", in {test.cells} cells"
    if test.detectable is not None:
        text += f"; an effect of {percent(test.detectable)} would have been found in 80 % of such studies"
    return f"{text}{about_edges(test)}."


def about_edges(test: Batch) -> str:
    """`; 8 losses at an edge of the lr that count are left out, since lr* may be beyond it`; empty without an edge."""
    text = ""
    if test.left_out:
        losses_are = "1 loss at an edge of the lr that count is" if test.left_out == 1 else (
            f"{test.left_out} losses at an edge of the lr that count are"
        )  # fmt: skip
        text += f"; {losses_are} left out, since lr* may be beyond it"
    if test.bounds:
        losses_are = "1 loss" if test.bounds == 1 else f"{test.bounds} losses"
        text += (
            f"; {losses_are} at the smallest B only bounded from above, so that the true rise may be larger"
        )
    return text


def _by_tokens(tests: Sequence[Batch]) -> Iterator[str]:
    """The effect at equal tokens, at a few budgets."""
    known = [test for test in tests if test.spread is not None]
    if not known:
        return
    chosen = [known[i] for i in sorted({0, len(known) // 2, len(known) - 1})]
    texts = [
        f"{percent(test.spread or 0.0, signed=True)} over B = {test.batches[0]:,.0f} to {test.batches[-1]:,.0f} "
        f"at {test.tokens:,.0f}"
        for test in chosen
    ]
    yield f"At equal tokens D and lr retuned: {', '.join(texts)}."


def _open(each: ClaimVerdict) -> Iterator[str]:
    """What would decide the undecided parts."""
    for part in each.having(Outcome.UNDECIDED):
        needs = [NEEDS[need] for need in part.needs]
        if part.times is not None:
            needs = [f"about {max(2, math.ceil(part.times))} times as many n or seeds, if the value stays"]
        yield f"Undecided{_at(part)}; would decide it: {' and '.join(needs)}."
