"""What is written into a panel: names at the ends of curves, texts in a free corner, error bars that end inside."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fit.views.figures.shared import labels
from fit.views.figures.shared.style import sizes


@dataclass(frozen=True)
class End:
    """The name of a curve, and the end of the curve that it stands at."""

    x: float
    y: float
    text: str
    colour: str


def at_ends(ax: Axes, ends: Sequence[End]) -> None:
    """Write each name to the right of its end, moved up or down where names would touch, with a thin line to the end.

    The panel's scales must be set before.
    """
    figure, small = _figure(ax), sizes().small
    inside = [end for end in ends if np.isfinite(end.y) and (end.y > 0 or ax.get_yscale() != "log")]
    if not inside:
        return
    written = [
        ax.annotate(
            labels.typeset(end.text),
            (end.x, end.y),
            (0.9 * small, 0),
            textcoords="offset points",
            va="center",
            ha="left",
            fontsize=small,
            color=end.colour,
            annotation_clip=False,
        )
        for end in inside
    ]
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    scale = 72 / figure.dpi
    boxes = [text.get_window_extent(renderer) for text in written]
    heights = [1.15 * box.height * scale for box in boxes]
    middles = [(box.y0 + box.y1) / 2 * scale for box in boxes]
    bottom, top = ax.bbox.y0 * scale, ax.bbox.y1 * scale
    for text, end, at, new in zip(
        written, inside, middles, spread(middles, heights, bottom, top), strict=True
    ):
        shift = new - at
        text.xyann = (0.9 * small, shift)
        if abs(shift) > 0.25 * small:
            ax.annotate(
                "",
                (end.x, end.y),
                (0.8 * small, shift),
                textcoords="offset points",
                annotation_clip=False,
                arrowprops={
                    "arrowstyle": "-",
                    "color": end.colour,
                    "linewidth": 0.5 * sizes().line,
                    "shrinkA": 0,
                    "shrinkB": 1,
                },
            ).set_in_layout(False)


def spread(middles: Sequence[float], heights: Sequence[float], bottom: float, top: float) -> list[float]:
    """The middles moved as little as needed so that intervals of these heights do not overlap; order is kept.

    They stay between bottom and top if they have room there.
    """
    order = np.argsort(middles, kind="stable")
    blocks: list[
        tuple[list[int], float]
    ] = []  # the indices of names that touch, and the middle of their block
    for i in order:
        members, middle = [int(i)], float(middles[i])
        blocks.append((members, _inside(middle, heights[i], bottom, top)))
        while len(blocks) > 1 and _edge(blocks[-2], heights, 1) > _edge(blocks[-1], heights, -1):
            members = blocks[-2][0] + blocks[-1][0]
            whole = sum(heights[j] for j in members)
            middle = float(np.mean([middles[j] for j in members]))
            blocks[-2:] = [(members, _inside(middle, whole, bottom, top))]
    placed = [0.0] * len(middles)
    for members, middle in blocks:
        at = middle - sum(heights[j] for j in members) / 2
        for j in members:
            placed[j] = at + heights[j] / 2
            at += heights[j]
    return placed


def _inside(middle: float, height: float, bottom: float, top: float) -> float:
    return max(min(middle, top - height / 2), bottom + height / 2)


def _edge(block: tuple[list[int], float], heights: Sequence[float], side: int) -> float:
    return block[1] + side * sum(heights[j] for j in block[0]) / 2


def note(ax: Axes, text: str) -> None:
    """A short text in the corner of the panel that has the fewest lines."""
    width, height = measured(ax, text)
    x, y = corner(ax, width, height)
    right, top = pixel(ax)
    ax.text(x * right, y * top, text, transform=ax.transAxes, fontsize=sizes().small, va="bottom", ha="left")


def corner(ax: Axes, width: float, height: float) -> tuple[float, float]:
    """Where, in pixels of the panel, a box of this size covers the fewest points of its lines; the upper right if free.

    The panel's scales must be set before.
    """
    box = ax.bbox
    margin = 0.4 * height
    right, top = box.width - width - margin, box.height - height - margin
    places = [(right, top), (margin, margin), (margin, top), (right, margin)]
    points = _points(ax) - (box.x0, box.y0)

    def covered(place: tuple[float, float]) -> int:
        x, y = place
        within = (points[:, 0] > x - margin) & (points[:, 0] < x + width + margin)
        return int((within & (points[:, 1] > y - margin) & (points[:, 1] < y + height + margin)).sum())

    return min(places, key=covered)


def _points(ax: Axes) -> np.ndarray:
    """Points along every line of a panel, in pixels."""
    parts = [np.empty((0, 2))]
    for line in ax.lines:
        ends = line.get_transform().transform(np.column_stack(line.get_data()).astype(float))
        ends = ends[np.isfinite(ends).all(axis=1)]
        parts.append(ends)
        if len(ends) > 1 and line.get_linestyle() != "None":
            at = np.linspace(0, len(ends) - 1, 10 * len(ends))
            parts.append(np.column_stack([np.interp(at, np.arange(len(ends)), ends[:, i]) for i in (0, 1)]))
    return np.concatenate(parts)


def measured(ax: Axes, text: str) -> tuple[float, float]:
    """The width and height of a small text in pixels. Lays the figure out."""
    figure = _figure(ax)
    figure.draw_without_rendering()
    word = ax.text(0, 0, text, fontsize=sizes().small)
    box = word.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    word.remove()
    return box.width, box.height


def pixel(ax: Axes) -> tuple[float, float]:
    """The width and the height of a pixel in parts of the panel."""
    return 1 / ax.bbox.width, 1 / ax.bbox.height


def _figure(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def bars(
    ax: Axes,
    x: Iterable[float],
    low: Iterable[float],
    high: Iterable[float],
    colour: str,
    wide: float = 0.8,
) -> None:
    """Vertical bars from low to high, cut with an arrowhead where the panel ends; an unknown end is left out.

    The panel's scales must be set before. wide: the width in lines.
    """
    bottom, top = sorted(ax.get_ylim())
    log = ax.get_yscale() == "log"
    size = sizes()
    inset = 0.012
    span = np.log(top / bottom) if log else top - bottom
    ends = (
        (bottom * np.exp(inset * span), top * np.exp(-inset * span))
        if log
        else (bottom + inset * span, top - inset * span)
    )
    for at, lower, upper in zip(x, low, high, strict=True):
        if not (np.isfinite(lower) and np.isfinite(upper)) or upper < bottom or lower > top:
            continue
        a, b = max(lower, ends[0]), min(upper, ends[1])
        ax.vlines(at, a, b, color=colour, linewidth=wide * size.line, zorder=2.5)
        for cut, end, head in ((lower < bottom, ends[0], "v"), (upper > top, ends[1], "^")):
            if cut:
                ax.plot(at, end, head, color=colour, markersize=0.8 * size.marker, clip_on=False)
