"""One table a law for terminal and page: a row for each k, columns for estimates, the held-out error and the runs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from fit.law.checks.held_out import HeldOut
from fit.law.result import DerivedQuantity, FitResult
from fit.law.selection import ConvergedSelection, FrontierSelection, OptimumSelection
from fit.views.format import METHODS, MISSING, REGIMES, greek, in_one_notation, percent, symbol

RUNS = "runs"
GAP = "  "
# Of rows of a table without the column `converged`.
ASSUMED = "at convergence (assumed: no column converged)"
# A block of derived quantities has at most this many rows: tokens to convergence can be given at twelve n.
MOST_ROWS = 6


@dataclass(frozen=True)
class Block:
    """A header and rows of cells.

    keys: how many of the columns, from the left, say which row it is. optional: columns that a narrow terminal does
    not show. more: how many rows are not shown.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    keys: int
    optional: frozenset[str] = frozenset()
    more: int = 0

    def width(self, gap: str = GAP) -> int:
        """The width of its lines, unbroken."""
        return sum(self._widths) + len(gap) * (len(self._widths) - 1) + len(GAP)

    def without(self, names: Iterable[str]) -> "Block":
        """The block without these columns."""
        kept = [i for i, name in enumerate(self.header) if i < self.keys or name not in names]
        rows = tuple(tuple(row[i] for i in kept) for row in self.rows)
        return replace(self, header=tuple(self.header[i] for i in kept), rows=rows)

    def narrowed(self, width: int) -> tuple["Block", str]:
        """The block for this width, and what then stands in the heading, as `runs: 7/7 at k=16, 6/7 at k=32`."""
        block, aside = self, []
        if block.width(" ") > width:
            block = block.without(self.optional)
            aside = [f"{name.partition(' by ')[2]}: -v" for name in self.header if name in self.optional]
        if RUNS in block.header:
            without = block.without({RUNS})
            if len(without._bands(width)) < len(block._bands(width)):
                aside.append(block._runs())
                block = without
        return block, ", ".join(aside)

    def _runs(self) -> str:
        """The runs of each row, with what the row is of where they differ."""
        used = [row[self.header.index(RUNS)] for row in self.rows]
        if len(set(used)) == 1:
            return used[0] if " " in used[0] else f"{used[0]} runs"
        names = [
            ", ".join(f"{name}={value}" for name, value in zip(self.header[: self.keys], row, strict=False))
            for row in self.rows
        ]
        return f"runs: {', '.join(f'{runs} at {name}' for runs, name in zip(used, names, strict=True))}"

    def lines(self, width: int, fewest: bool = False) -> Iterator[str]:
        """The block in lines of at most `width`: columns that do not fit stand in a further band below.

        Where that takes more lines, each row is written out as `k=16: E 0.083 [0.059, 0.091], A 1.61 [1.32, 1.71]`.

        fewest: write the rows out in place of one band with its header too, if that takes fewer lines.
        """
        gap, widths, bands = self._gap(width), self._widths, self._bands(width)
        flowing = (
            [line for row in self.rows for line in self._flowing(row, width)]
            if fewest or len(bands) > 1
            else []
        )
        fits = bool(flowing) and max(map(len, flowing)) <= width
        if fits and len(flowing) < len(bands) * (1 + len(self.rows)):
            yield from flowing
            bands = []
        for band in bands:
            for row in (self.header, *self.rows):
                keys = [row[i].rjust(widths[i]) for i in range(self.keys)]
                cells = [row[i].ljust(widths[i]) for i in band]
                yield (GAP + gap.join([*keys, *cells])).rstrip()
        if self.more:
            yield f"{GAP}… {self.more} more with -v"

    def _flowing(self, row: tuple[str, ...], width: int) -> Iterator[str]:
        """The cells of a row one after the other, each with its name and none broken."""
        keys = [f"{name}={value}" for name, value in zip(self.header[: self.keys], row, strict=False)]
        cells = [
            f"{value} runs"
            if name == RUNS and value[-1:].isdigit()
            else value
            if name == RUNS
            else f"{name} {value}"
            for name, value in zip(self.header[self.keys :], row[self.keys :], strict=True)
        ]
        line = f"{GAP}{', '.join(keys)}{':' if keys else ''}"
        for i, cell in enumerate(cells):
            part = cell + ("," if i + 1 < len(cells) else "")
            if i and len(line) + 1 + len(part) > width:
                yield line
                line = GAP + GAP + part
            else:
                line += f"{' ' if line.strip() else ''}{part}"
        yield line

    def _gap(self, width: int) -> str:
        """One space between columns where the block just fits with it, else two."""
        return " " if self.width(" ") <= width < self.width() else GAP

    def _bands(self, width: int) -> list[list[int]]:
        """The columns that stand beside one another, without the keys, which each band repeats."""
        gap, widths = self._gap(width), self._widths
        empty = width - len(GAP) - sum(widths[: self.keys]) - len(gap) * self.keys
        bands: list[list[int]] = [[]]
        room = empty
        for column in range(self.keys, len(self.header)):
            needed = widths[column] + (len(gap) if bands[-1] else 0)
            if needed > room and bands[-1]:
                bands.append([])
                room, needed = empty, widths[column]
            bands[-1].append(column)
            room -= needed
        return bands

    @property
    def _widths(self) -> list[int]:
        return [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]


@dataclass(frozen=True)
class LawTable:
    """The fits of one law, as blocks: first a row for each group, then what is derived from the parameters.

    regime: `at convergence`. is_named: whether the formula says so too, as that of N*(C) does. methods: how the points
    of an optimum were found, `by isoFLOP vertices`. refuted: which of the fits their rows refute, `k=32`; None where
    they refute none.
    """

    law: str
    formula: str
    regime: str
    is_named: bool
    methods: str
    refuted: str | None
    blocks: tuple[Block, ...]
    fits: tuple[FitResult, ...]


def law_tables(fits: Sequence[FitResult], most_rows: int | None = MOST_ROWS) -> list[LawTable]:
    """A table for each law, the one that describes the rows best first.

    Laws of the loss stand before those of n, D, lr and tokens; laws that the rows refute behind those that they do not;
    and of two laws the one with the smaller error at the scales that were held out is the better.

    most_rows: how many rows of derived quantities a block shows; None for all.
    """
    by_law: dict[tuple[str, str], list[FitResult]] = {}
    for fit in fits:
        by_law.setdefault((fit.law, fit.formula), []).append(fit)
    return [_table(each, most_rows) for each in sorted(by_law.values(), key=_rank)]


def _rank(fits: Sequence[FitResult]) -> tuple[bool, bool, float]:
    errors = [fit.held_out.score.rms_log for fit in fits if fit.held_out is not None]
    refuted = any(fit.refutation for fit in fits)
    worst = max(errors, default=float("inf"))
    of_loss = fits[0].response == "nmse"
    return not of_loss, refuted and of_loss, worst if of_loss else 0.0


def _table(fits: Sequence[FitResult], most_rows: int | None) -> LawTable:
    first = fits[0]
    refuted = [fit for fit in fits if fit.refutation]
    methods = dict.fromkeys(filter(None, map(method_name, by_method(fits)[0])))
    return LawTable(
        first.law,
        first.formula,
        ASSUMED if _assumed_converged(fits) else REGIMES.get(first.regime or "", ""),
        first.response != "nmse",
        f"by {' or '.join(methods)}" if methods else "",
        _refuted(refuted) if refuted else None,
        (_fits_block(fits), *_derived_blocks(fits, most_rows)),
        tuple(fits),
    )


def _assumed_converged(fits: Sequence[FitResult]) -> bool:
    """Whether the table could not say which of its runs converged."""
    return any(
        isinstance(fit.selection, ConvergedSelection) and fit.selection.unconverged is None for fit in fits
    )


def _refuted(fits: Sequence[FitResult]) -> str:
    """`k=16, 32; worst k=32: residuals 1.28 %, noise 0.063 %`: what the rows refute, and the clearest case of it."""
    groups = merged_groups([fit.group for fit in fits]) if any(fit.group for fit in fits) else ""
    known = [
        (fit.lack_of_fit, fit.group)
        for fit in fits
        if fit.lack_of_fit is not None and fit.lack_of_fit.noise is not None
    ]
    if not known:
        return groups or "by all of them"
    worst, group = max(known, key=lambda each: each[0].ratio or 0.0)
    if len({str(fit.group) for fit in fits}) > 1:
        groups += f"; worst {merged_groups([group])}"
    return f"{groups}{': ' if groups else ''}residuals {percent(worst.rms_log)}, noise {percent(worst.noise or 0.0)}"


def _fits_block(fits: Sequence[FitResult]) -> Block:
    """A row for each group. An optimum law found by two methods has the exponents of the second beside the first."""
    main, beside = by_method(fits)
    several = len({method_name(fit) for fit in main}) > 1
    keys = tuple(dict.fromkeys(name for fit in main for name in fit.group))
    params = tuple(dict.fromkeys(name for fit in main for name in fit.params))
    single = tuple(
        dict.fromkeys(label for fit in main for label, value in fit.derived.items() if not value.at)
    )
    others = tuple(f"{greek(last)} by {method}" for method, last in beside)
    header = (*map(symbol, keys), *map(greek, params), *map(greek, single), *others, "held out", RUNS)
    columns = [[group_value(fit.group.get(name)) for fit in main] for name in keys]
    columns += [in_one_notation([fit.params.get(name) for fit in main]) for name in params]
    columns += [in_one_notation([fit.derived.get(name) for fit in main]) for name in single]
    for (_, last), of_method in beside.items():
        same = [next((other for other in of_method if other.group == fit.group), None) for fit in main]
        columns.append(in_one_notation([None if other is None else other.params.get(last) for other in same]))
    columns += [[held_out(fit.held_out) for fit in main], [runs_used(fit, several) for fit in main]]
    return Block(header, tuple(zip(*columns, strict=True)), len(keys), frozenset(others))


def group_value(value: Any) -> str:
    """`1,024`; a dash for a fit whose rows do not share the value."""
    if value is None:
        return MISSING
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def by_method(
    fits: Sequence[FitResult],
) -> tuple[list[FitResult], dict[tuple[str, str], list[FitResult]]]:
    """The fits of the method with the most points, and those of the other methods by method and last parameter.

    A group that only another method could fit stands among the first.
    """
    of_method: dict[str, list[FitResult]] = {}
    for fit in fits:
        of_method.setdefault(method_name(fit), []).append(fit)
    ordered = sorted(of_method, key=lambda method: -sum(fit.rows for fit in of_method[method]))
    beside = {(method, list(of_method[method][0].params)[-1]): of_method[method] for method in ordered[1:]}
    main = list(of_method[ordered[0]])
    for method in ordered[1:]:
        main += [fit for fit in of_method[method] if fit.group not in [other.group for other in main]]
    return main, beside


def method_name(fit: FitResult) -> str:
    """`isoFLOP vertices` for the optima of L(C); empty for any other fit."""
    chosen = fit.selection
    return METHODS.get(chosen.method, chosen.method) if isinstance(chosen, OptimumSelection) else ""


def _derived_blocks(fits: Sequence[FitResult], most_rows: int | None) -> Iterator[Block]:
    """What follows from the parameters at given inputs, as E and α at each k: a row for each of these inputs."""
    rows: dict[tuple[tuple[str, Any], ...], dict[str, DerivedQuantity]] = {}
    for fit in fits:
        for quantity in fit.derived.values():
            if quantity.at:
                at = tuple({**(fit.group if len(fits) > 1 else {}), **quantity.at}.items())
                rows.setdefault(at, {})[quantity.name] = quantity
    for keys, part in groupby(rows, key=lambda at: tuple(name for name, _ in at)):
        listed = list(part)
        names = tuple(dict.fromkeys(name for at in listed for name in rows[at]))
        columns = [
            [group_value(value) for value in values]
            for values in zip(*([v for _, v in at] for at in listed), strict=True)
        ]
        columns += [in_one_notation([rows[at].get(name) for at in listed]) for name in names]
        cells = tuple(zip(*columns, strict=True))
        header = (*map(symbol, keys), *map(greek, names))
        yield Block(header, cells[:most_rows], len(keys), more=len(cells) - len(cells[:most_rows]))


def held_out(held: HeldOut | None) -> str:
    """`+0.46 %` at one held-out point, `2.05 %` as the rms of several, and how many of them left their intervals."""
    if held is None:
        return MISSING
    points = held.points
    one = len(points) == 1
    error = percent(points[0].relative_error, signed=True) if one else percent(held.score.rms_log)
    outside = sum(point.inside is False for point in points)
    if not outside:
        return error
    return f"{error}, outside" if one else f"{error}, {outside} of {len(points)} outside"


def runs_used(fit: FitResult, with_method: bool = False) -> str:
    """`5/7`, of seven; of an optimum, whose points are of a part of the runs that is not known here, `9 points`."""
    chosen = fit.selection
    runs = None if fit.rows_used is None else fit.rows_used.runs
    match chosen:
        case FrontierSelection():
            return f"{chosen.runs_on_frontier}/{chosen.runs}"
        case OptimumSelection():
            return f"{fit.rows} {method_name(fit)}" if with_method else f"{fit.rows} points"
        case ConvergedSelection():
            what = f"{runs or fit.rows}/{chosen.runs}"
            return f"{what} ({chosen.extrapolated} at L∞)" if chosen.extrapolated else what
        case _:
            return (
                f"{fit.rows} rows"
                if runs is None
                else str(runs)
                if runs == fit.rows
                else f"{runs} ({fit.rows} rows)"
            )


def merged_groups(groups: Sequence[Mapping[str, Any]]) -> str:
    """`k=16, 32` for two groups that differ in k alone; `all rows` where there is but one without a name."""
    names = list(dict.fromkeys(name for group in groups for name in group))
    if len(names) == 1:
        values = dict.fromkeys(str(group.get(names[0])) for group in groups)
        return f"{symbol(names[0])}={', '.join(values)}"
    texts = (", ".join(f"{symbol(name)}={value}" for name, value in group.items()) for group in groups)
    return "; ".join(dict.fromkeys(filter(None, texts))) or "all rows"
