"""How the tests look at a figure: its texts, its bars, how much of it is plot, and its lines by their style."""

from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.text import Text

WIDTHS = {"paper": (3.25, 6.75), "talk": (10.0,)}  # inches
HEIGHTS = {"paper": 4.0, "talk": 5.625}
# The least share of the figure's area that its panels take, without ticks and labels; of a slide with more than four
# panels, whose letters are large, less.
PLOT, PLOT_OF_MANY = 0.6, 0.45


def texts(figure):
    """Every visible piece of text with its box in pixels; ticks outside their axis are not drawn, so not counted."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    hidden = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low <= tick.get_loc() <= high:
                    hidden |= {tick.label1, tick.label2}
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in hidden]
    return [(t, Text.get_window_extent(t, canvas.get_renderer())) for t in found]


def overlap(a, b):
    """Whether two boxes share more than a pixel in both directions."""
    return min(min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)) > 1


def plot_share(figure):
    """The share of the figure's area inside its panels; a last cell that is left empty counts as filled."""
    grid = figure.axes[0].get_gridspec()
    filled = len(figure.axes) / (grid.nrows * grid.ncols)
    plots = sum(ax.bbox.width * ax.bbox.height for ax in figure.axes if ax.lines)
    return plots / (figure.bbox.width * figure.bbox.height) / filled


def faults(figure, style="paper"):
    """What keeps the figure out of a paper, a sentence each.

    Two texts overlap, one lies on another panel or leaves the figure, an error bar leaves its panel, the panels take
    less than `PLOT` of the area, the figure is not as wide as a column or higher than a third of a page.
    """
    found, told = texts(figure), []
    width, height = figure.get_size_inches()
    if width not in WIDTHS[style]:
        told.append(f"it is {width:g} in wide")
    if height > HEIGHTS[style] + 1e-6:
        told.append(f"it is {height:.2f} in high")
    many = style == "talk" and len(figure.axes) > 4
    if (share := plot_share(figure)) < (PLOT_OF_MANY if many else PLOT):
        told.append(f"{100 * share:.0f} % of it is plot")
    for (a, box_a), (b, box_b) in combinations(found, 2):
        if overlap(box_a, box_b):
            told.append(f"{a.get_text()!r} overlaps {b.get_text()!r}")
    for text, box in found:
        if any(overlap(box, ax.bbox) for ax in figure.axes if ax is not text.axes):
            told.append(f"{text.get_text()!r} lies on another panel")
        if box.x0 < 0 or box.y0 < 0 or box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1:
            told.append(f"{text.get_text()!r} leaves the figure: {box}")
    return told + [fault for ax in figure.axes for fault in _bars_outside(ax)]


def _bars_outside(ax: Axes):
    """Error bars with an end more than a pixel outside their panel, where the reader does not see it."""
    box = ax.bbox.padded(1.5)
    for bars in ax.collections:
        if isinstance(bars, LineCollection):
            ends = np.concatenate([bars.get_transform().transform(s) for s in bars.get_segments()] or [[]])
            outside = [y for _, y in ends.reshape(-1, 2) if np.isfinite(y) and not box.y0 <= y <= box.y1]
            if outside:
                yield f"{len(outside)} ends of error bars are outside their panel"


def assert_readable(figure):
    """Without any of the `faults`, in the style that its width tells."""
    style = "talk" if figure.get_size_inches()[0] in WIDTHS["talk"] else "paper"
    assert len(texts(figure)) > 5
    assert not (found := faults(figure, style)), "\n".join(found)


def assert_readable_at_its_width(figure, style):
    """In the columns of a paper or on a slide."""
    assert figure.get_size_inches()[0] in WIDTHS[style]
    assert_readable(figure)


def written_in(figure):
    """Every text of a figure, with the entries of its key."""
    return [text.get_text() for text, _ in texts(figure)]


def lines(ax, style, marker="None"):
    """Lines of the axes by their style; the hollow markers of held-out runs are not among them."""
    drawn = [line for line in ax.lines if line.get_markerfacecolor() != "none"]
    return [line for line in drawn if line.get_linestyle() == style and line.get_marker() == marker]
