"""`saescale compare A B`: the compute with which one variant reaches the loss of another."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fit.law.options import FLOPS, FRONTIERS, FitOptions
from fit.views.verbs.command import UsageError, Verb, remarks
from fit.views.verbs.options import add_map, add_resampling, add_sheet
from fit.views.verbs.waiting import Waiting

if TYPE_CHECKING:
    import pandas as pd

    from fit.compute.fit import CurveGroup
    from fit.study.answers.compute_ratio import ComputeRatio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the two sides and the options of their fits."""
    add = parser.add_argument
    add("sides", metavar="STUDY", nargs="+", help="A and B: each a study's folder or a table")
    add("--by", metavar="COLUMN", help="compare the values of this column within one table")
    add("--base", metavar="VALUE", help="the value of --by that is A (default: the first of the table)")
    add_map(parser)
    add_sheet(parser)
    add("--where", metavar="CONDITION", help='which rows to use, as "k == 32"')
    add("--flops", choices=FLOPS, default="sparse", help="convention of C (default: %(default)s)")
    add_resampling(parser, f"resampled frontiers of each side (default: {FRONTIERS})")
    add("--json", action="store_true", help="print JSON instead of sentences")


def run(options: argparse.Namespace) -> int:
    """Fit L(C) of both sides and print the ratio of every k that both have."""
    from fit.data import tables
    from fit.study.answers.compute_ratio import compute_ratios

    sides = _within(options) if options.by else _between(options)
    (base, groups), *others = sides
    loss = tables.parse_mapping(options.map).get("nmse", "NMSE")
    rows: list[dict[str, Any]] = []
    with Waiting("comparing", options.quiet) as waiting:
        for name, other in others:
            waiting.at(f"{base} with {name}")
            for ratio in compute_ratios(groups, other):
                if options.json:
                    rows.append({"a": base, "b": name, "constant": ratio.constant, **asdict(ratio)})
                else:
                    waiting.say("\n".join(_lines(ratio, base, name, loss)))
    if options.json:
        print(json.dumps(rows, indent=1))
    return 0


def _between(options: argparse.Namespace) -> list[tuple[str, "list[CurveGroup]"]]:
    """The curves of the two sides by the names of their folders or files."""
    if len(options.sides) != 2 or options.base:
        raise UsageError("Give two sides, A and B, or one table and --by COLUMN.")
    paths = [Path(side) for side in options.sides]
    names = [path.name for path in paths]
    if names[0] == names[1]:
        names = [str(path) for path in paths] if paths[0] != paths[1] else ["A", "B"]
    return [
        (name, _curves(*_tables(path, options), options)) for name, path in zip(names, paths, strict=True)
    ]


def _within(options: argparse.Namespace) -> list[tuple[str, "list[CurveGroup]"]]:
    """The curves of each value of a column, the base first."""
    from fit.data import tables
    from fit.law.errors import FitError
    from fit.study.study_tables import rows_about

    if len(options.sides) != 1:
        raise UsageError("--by compares within one table: give one.")
    runs, curves = _tables(Path(options.sides[0]), options)
    tables.require(runs, options.by)
    values = list(dict.fromkeys(runs[options.by].dropna()))
    named = {str(value): value for value in values}
    base = options.base or next(iter(named), None)
    if base not in named:
        raise FitError(
            f"No row has {options.by} = {options.base}: the table has {', '.join(named) or 'no value'}."
        )
    if len(named) < 2:
        raise FitError(f"Every row has {options.by} = {base}: there is nothing to compare it with.")
    unnamed = int(runs[options.by].isna().sum())
    if unnamed:
        remarks(options)(f"{unnamed} of {len(runs)} rows have no {options.by} and were left out.")
    sides = []
    for name in [base, *(name for name in named if name != base)]:
        part = runs[runs[options.by] == named[name]]
        sides.append((name, _curves(part, rows_about(part, curves, None), options)))
    return sides


def _tables(path: Path, options: argparse.Namespace) -> "tuple[pd.DataFrame, pd.DataFrame | None]":
    from fit.data import tables
    from fit.study.study_tables import StudyTables

    mapping = tables.parse_mapping(options.map)
    read = StudyTables.read(path, mapping, options.where, with_fits=False, sheet=options.sheet)
    say = remarks(options)
    for note in read.notes:
        say(note)
    assert read.runs is not None
    return read.runs, read.curves


def _curves(
    runs: "pd.DataFrame", curves: "pd.DataFrame | None", options: argparse.Namespace
) -> "list[CurveGroup]":
    from fit.study.fitting import prepared

    chosen = FitOptions(flops=options.flops, draws=options.draws, seed=options.seed)
    return prepared(runs, curves, None, None, chosen, remarks(options)).curve_groups


def _lines(ratio: "ComputeRatio", a: str, b: str, loss: str) -> list[str]:
    """The sentence, how the ratio changes with the loss, and the cautions."""
    group = ", ".join(f"{key}={value}" for key, value in ratio.group.items())
    low, high = ratio.losses
    times = _times(ratio.ratio, ratio.low, ratio.high)
    head = f"{group}: " if group else ""
    lines = [f"{head}{b} reaches {a}'s loss with {times} of its compute ({loss} {low:.3g} to {high:.3g})"]
    parts = [f"{_times(p.ratio, p.low, p.high)} at {p.loss:.3g}" for p in ratio.parts]
    slope = f"ratio ∝ L^{_times(*ratio.slope)}"
    known = {
        True: f"constant over this range ({slope})",
        False: f"not constant ({slope})",
        None: "whether it is constant is not known",
    }
    lines.append(f"  around each loss {', '.join(parts)}: {known[ratio.constant]}")
    return lines + [f"  ! {caution.text}" for caution in ratio.cautions]


def _times(value: float, low: float | None, high: float | None) -> str:
    """The value with its interval, to three decimals where the interval is narrower than they show."""
    from fit.views.format import with_interval

    if low is not None and high is not None and high - low < 2e-3:
        return f"{value:.3f} [{low:.3f}, {high:.3f}]"
    return with_interval(value, low, high)


main = Verb(
    "compare",
    add_arguments,
    run,
    "Say with how much of A's compute B reaches A's loss, over the losses that the frontiers of both cover.",
    examples="""
    saescale compare runs/topk runs/batchtopk
    saescale compare runs/mine --by batch_tokens --base 1024
    """,
    failure="the sides cannot be compared; a sentence says why",
    answers=True,
)

if __name__ == "__main__":
    raise SystemExit(main())
