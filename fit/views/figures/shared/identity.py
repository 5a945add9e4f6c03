"""One colour for one k, for one batch size and for one n in every figure of a study, and marks that grey keeps apart.

Each quantity has a colour map of its own, from dark to light, whose steps differ in lightness as well: they survive
a grey-scale print, and the maps are made for colour-blind readers. Lines of one colour differ in dashes and markers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import Colormap, ListedColormap, to_hex

from fit.data import tables
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import labels

# The part of each map that is dark enough for a thin line on white.
MAPS = {
    "k": ("plasma", 0.0, 0.78),
    "batch_tokens": ("Blues", 1.0, 0.5),
    "flops": ("copper", 0.0, 0.85),
    "n_latents": ("viridis", 0.0, 0.82),
}
# For what has no order, such as methods: of Okabe and Ito, whose colours colour-blind readers tell apart.
OTHER = ("#000000", "#0072B2", "#D55E00", "#56B4E9", "#E69F00", "#009E73")
LINES = ("-", "--", ":", "-.")
MARKERS = "osD^vPX*"


@dataclass(frozen=True)
class Mark:
    """How one series is drawn."""

    colour: str
    line: Any = "-"
    marker: str = "o"


def section(quantity: str) -> Colormap:
    """The colour map of a quantity."""
    name, low, high = MAPS[quantity]
    return ListedColormap(mpl.colormaps[name](np.linspace(low, high, 256)), name=f"{name}_section")


def spread(count: int, quantity: str = "") -> list[str]:
    """`count` colours of a quantity's map in order, dark to light, as hex; without a quantity, colours of no order."""
    if not quantity:
        return [OTHER[i % len(OTHER)] for i in range(count)]
    colours = section(quantity)
    return [to_hex(colours(x)) for x in (np.linspace(0.0, 1.0, count) if count > 1 else [0.3] * count)]


def values(study: StudyTables, quantity: str, more: Iterable[Any] = ()) -> list[float]:
    """Every value of a quantity in a study, in its runs, its curves and its fits, and in `more`, in order."""
    known = {float(value) for value in more if pd.notna(value)}
    for table in (study.runs, study.curves):
        if table is not None and quantity in table.columns:
            numbers = np.asarray(tables.numbers(table, quantity), dtype=float)
            known |= {float(value) for value in np.unique(numbers[np.isfinite(numbers)])}
    for fit in study.fits:
        if labels.has(fit.group, quantity) and isinstance(fit.group[quantity], int | float):
            known.add(float(fit.group[quantity]))
        if quantity in fit.inputs:
            known |= {float(point.inputs[quantity]) for point in fit.points}
    return sorted(known)


def colours(study: StudyTables, quantity: str, more: Iterable[Any] = ()) -> dict[float, str]:
    """The colour of each value of k or of the batch size, the same in every figure of the study."""
    known = values(study, quantity, more)
    return dict(zip(known, spread(len(known), quantity), strict=True))


def marks(groups: Sequence[Mapping[str, Any]], study: StudyTables) -> list[Mark]:
    """A mark for each group: its colour says k, or B if all have one k; the line and the marker say the rest.

    Groups that differ in neither have a colour each.
    """
    quantity = next((name for name in ("k", "batch_tokens") if labels.differ(groups, name)), None)
    if quantity is None and len(groups) > 1:
        return [
            Mark(colour, marker=MARKERS[i % len(MARKERS)]) for i, colour in enumerate(spread(len(groups)))
        ]
    quantity = quantity or "k"
    shades = colours(study, quantity, (group[quantity] for group in groups if labels.has(group, quantity)))
    rest = [_rest(group, quantity) for group in groups]
    kinds = list(dict.fromkeys(rest))
    return [
        Mark(
            shades[float(group[quantity])] if labels.has(group, quantity) else "black",
            LINES[kinds.index(kind) % len(LINES)],
            MARKERS[kinds.index(kind) % len(MARKERS)],
        )
        for group, kind in zip(groups, rest, strict=True)
    ]


def _rest(group: Mapping[str, Any], quantity: str) -> str:
    return str(sorted((key, str(value)) for key, value in group.items() if key != quantity))
