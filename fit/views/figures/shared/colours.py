"""Colours by n, or another positive number, and the key to them, which stands in a free corner of a panel."""

from collections.abc import Iterable

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, to_hex

from fit.study.study_tables import StudyTables
from fit.views.figures.shared import direct, identity
from fit.views.figures.shared.axes import power, size_text
from fit.views.figures.shared.style import sizes

BAR, THICK, STEPS = (
    4.5,
    0.7,
    60,
)  # length and thickness of the key in letters' heights, and its number of pieces


class Colours:
    """Colours by n, or another positive number, on a logarithmic scale, the same in every panel and figure."""

    def __init__(self, values: Iterable[float], name: str = "n", quantity: str = "n_latents") -> None:
        self.values, self.name = sorted({float(v) for v in values if pd.notna(v)}), name
        low, high = self.values[0], self.values[-1]
        self.norm = LogNorm(low, high) if low < high else LogNorm(low / 2, high * 2)
        self.map = identity.section(quantity)

    @classmethod
    def by_n(cls, study: StudyTables, more: Iterable[float] = ()) -> "Colours":
        """The one scale of n of a study, from its smallest n to its largest."""
        return cls(identity.values(study, "n_latents", more))

    def __call__(self, value: float) -> str:
        return to_hex(self.map(self.norm(value)))

    def key(self, ax: Axes) -> None:
        """`n = 128 ——— 2,048` in the corner of the panel that has the fewest lines."""
        if len(self.values) < 2:
            return
        low, high = (self._text(value) for value in (self.values[0], self.values[-1]))
        em = sizes().small * mpl.rcParams["figure.dpi"] / 72
        first, last = (direct.measured(ax, text) for text in (f"{self.name} = {low}", high))
        gap = 0.4 * em
        width = first[0] + last[0] + BAR * em + 2 * gap
        x, y = direct.corner(ax, width, first[1])
        right, top = direct.pixel(ax)
        for text, at in ((f"{self.name} = {low}", x), (high, x + width - last[0])):
            ax.text(at * right, y * top, text, transform=ax.transAxes, fontsize=sizes().small, va="bottom")
        ends = np.linspace(x + first[0] + gap, x + width - last[0] - gap, STEPS + 1) * right
        level = (y + 0.45 * first[1]) * top
        pieces = [((a, level), (b, level)) for a, b in zip(ends[:-1], [*ends[2:], ends[-1]], strict=True)]
        shades = [self.map(i / (STEPS - 1)) for i in range(STEPS)]
        bar = LineCollection(
            pieces, colors=shades, linewidths=THICK * sizes().small, transform=ax.transAxes, capstyle="butt"
        )
        ax.add_collection(bar, autolim=False)

    def _text(self, value: float) -> str:
        return power(float(f"{value:.1g}")) if self.values[-1] >= 1e9 else size_text(value, self.values)
