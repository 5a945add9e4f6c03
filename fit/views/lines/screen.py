"""The fits of a study on one screen: the verdict, a table a law, what to be careful with, and what was skipped."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from fit.data.flops import described
from fit.law.errors import SkippedLaw
from fit.law.intervals.choose import NONE
from fit.law.result import FitResult
from fit.regimes.compare import Regimes
from fit.views.format import symbol
from fit.views.lines.law_table import GAP, LawTable, law_tables
from fit.views.lines.merged_cautions import caution_lines, skipped_line
from fit.views.lines.regimes import LR_RATIO, regime_block
from fit.views.lines.verdict import Judgement, judgements

# Where the tables with an empty line between them take more lines than this, they stand without.
ONE_SCREEN = 48
# Where the legend takes more, it leaves the methods of the intervals to -v.
LEGEND_LINES = 4
# Headings of `regime_block` for a narrow terminal.
SHORT = {"D converged / compute": "D conv./comp.", "L compute / converged − 1": "L comp./conv. − 1"}
# `fit.compute.frontier.LOOSER` in fewer words.
LOOSER_SHORT = "a larger n has the looser bottleneck: a lower loss at equal C is not yet a better dictionary"


class Style(StrEnum):
    """How a line is emphasised where the terminal has colours."""

    PLAIN = ""
    HEADING = "bold"
    ALARM = "bold red"
    CAUTION = "yellow"
    ASIDE = "dim"


@dataclass(frozen=True)
class Line:
    """A line of the screen."""

    text: str
    style: Style = Style.PLAIN


def screen(
    fits: Sequence[FitResult], regimes: Regimes | None, notes: Sequence[str], width: int
) -> list[Line]:
    """The lines of the screen, none wider than `width` where its parts can be broken.

    notes: what was said while the tables were read and the laws fitted; that a law was skipped becomes one line.
    """
    laws = law_tables(fits)
    parts = [list(_verdict(regimes, width))]
    parts += [list(_law(table, width)) for table in laws]
    parts.append(list(_against(regimes, width)))
    last = [Line(text, Style.CAUTION) for text in caution_lines(fits, regimes, width)]
    last += [
        line
        for note in notes
        if not isinstance(note, SkippedLaw)
        for line in _wrapped(note, width, Style.PLAIN)
    ]
    skipped = skipped_line([note for note in notes if isinstance(note, SkippedLaw)], fits)
    last += _wrapped(skipped, width, Style.PLAIN) if skipped else []
    legend = _wrapped(_legend(fits, regimes), width, Style.ASIDE)
    if len(legend) > LEGEND_LINES:
        legend = _wrapped(_legend(fits, regimes, methods=False), width, Style.ASIDE)
    last += legend
    if sum(map(len, (*parts, last))) > ONE_SCREEN:
        parts[1 : 1 + len(laws)] = [list(_law(table, width, fewest=True)) for table in laws]
    parts = [part for part in (*parts, last) if part]
    apart = sum(map(len, parts)) + len(parts) - 1 <= ONE_SCREEN
    return [line for i, part in enumerate(parts) for line in (*([Line("")] if i and apart else []), *part)]


def _wrapped(text: str, width: int, style: Style) -> list[Line]:
    lines = textwrap.wrap(text, width, subsequent_indent=GAP, break_long_words=False, break_on_hyphens=False)
    return [Line(line, style) for line in lines]


def _verdict(regimes: Regimes | None, width: int) -> Iterator[Line]:
    """The paper's claims, each with its outcome and the numbers for it."""
    groups = regimes.groups if regimes else ()
    for group in groups:
        claims = judgements(group)
        if claims and len(groups) > 1 and group.group:
            yield Line(
                ", ".join(f"{symbol(name)}={value}" for name, value in group.group.items()), Style.HEADING
            )
        for claim in claims:
            yield from _wrapped(_claim(claim), width, Style.PLAIN)
            if claim.brief:
                brief = f"{GAP}{'; '.join(claim.brief)}; -v has the rest"
                yield from _wrapped(brief, width, Style.PLAIN)


def _claim(judged: Judgement) -> str:
    return f"{judged.outcome.upper()}: {judged.claim}. {judged.evidence}"


def _law(table: LawTable, width: int, fewest: bool = False) -> Iterator[Line]:
    name = f"{table.law}: {table.formula}" if table.law not in table.formula else table.formula
    blocks = [block.narrowed(width) for block in table.blocks]
    style = Style.HEADING if table.refuted is None else Style.ALARM
    asides = (table.methods, *(aside for _, aside in blocks))
    headings = [
        _wrapped(_heading(name, (regime, *asides), table.refuted), width, style)
        for regime in (table.regime, "" if table.is_named else table.regime)
    ]
    yield from min(headings, key=len)
    for block, _ in blocks:
        yield from map(Line, block.lines(width, fewest))


def _heading(name: str, facts: Sequence[str], refuted: str | None) -> str:
    heading = f"{name}{GAP}{', '.join(filter(None, facts))}".rstrip()
    return heading if refuted is None else f"{heading}: REFUTED by the rows ({refuted})"


def _against(regimes: Regimes | None, width: int) -> Iterator[Line]:
    """L(C) against L(N): a row for each group, from its smallest to its largest n; the lr ratio without a verdict."""
    groups = [group for group in (regimes.groups if regimes else ()) if group.budgets]
    if not groups:
        return
    block = regime_block(groups)
    known = LR_RATIO in block.header or any(judgements(group) for group in groups)
    unknown = "" if known else ": the ratio of the best lr is unknown"
    yield from _wrapped(f"L(C) against L(N){unknown}", width, Style.HEADING)
    short = replace(block, header=tuple(SHORT.get(name, name) for name in block.header))
    ways = [list(each.lines(width)) for each in (block, short)]
    yield from map(Line, ways[0] if len(ways[0]) <= len(ways[1]) else ways[1])


def _legend(fits: Sequence[FitResult], regimes: Regimes | None, methods: bool = True) -> str:
    """How to read the tables: what was minimised, the method of the intervals, the held-out error, and what C is.

    methods: name the method of the intervals of each law.
    """
    minimised = dict.fromkeys(fit.loss_text for fit in fits)
    if len(minimised) > 1:
        minimised = dict.fromkeys(f"{text.partition(' on ')[0]} on logs" for text in minimised)
    parts = [
        " and ".join(minimised),
        _intervals(fits) if methods else "95 % intervals (-v: by which method)",
        "held out: error at the largest scale",
    ]
    conventions = dict.fromkeys(described(fit.flops) for fit in fits if fit.flops)
    parts += [f"C: FLOPs, {' and '.join(conventions)}"] if conventions else []
    parts += [LOOSER_SHORT] if regimes is not None or conventions else []
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _intervals(fits: Sequence[FitResult]) -> str:
    """`95 % intervals by profile`; of several methods, each with its laws: `… by bootstrap (L_C), by profile (L_N)`."""
    laws: dict[str, dict[str, None]] = {}
    for fit in fits:
        for param in fit.params.values():
            laws.setdefault("none" if param.method == NONE else param.method, {})[fit.law] = None
    if len(laws) == 1:
        return f"95 % intervals by {next(iter(laws))}"
    texts = [f"by {method} ({', '.join(names)})" for method, names in laws.items()]
    return f"95 % intervals {', '.join(texts)}"
