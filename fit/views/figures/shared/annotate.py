"""Puts words beside points where they cover neither each other nor a point nor leave the panel."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from fit.views.figures.shared.style import Style


def words(
    ax: Axes,
    x: Iterable[float],
    y: Iterable[float],
    texts: Sequence[str],
    look: Style,
    avoid: Sequence[tuple[float, float]] = (),
) -> int:
    """Writes each text above or below its point, or leaves it out; returns how many were written.

    The figure is laid out first, and the words take no part in its layout. avoid: further points (x, y) to keep off.
    """
    x, y = list(x), list(y)
    figure = ax.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    points = ax.transData.transform(np.column_stack([x, y])) if texts else np.empty((0, 2))
    size = 0.8 * look.small
    others = ax.transData.transform(np.array(avoid)) if len(avoid) else np.empty((0, 2))
    taken: list[Bbox] = [_around(float(px), float(py), 2.0) for px, py in [*points, *others]]
    written = 0
    for data_x, data_y, own, text in zip(x, y, taken[: len(points)], texts, strict=True):
        for place, offset in (("bottom", 0.35), ("top", -0.35)):
            word = ax.annotate(
                text,
                (data_x, data_y),
                xytext=(0, offset * size),
                textcoords="offset points",
                fontsize=size,
                color="0.25",
                ha="center",
                va=place,
            )
            word.set_in_layout(False)
            box = word.get_window_extent(renderer)
            inside = (
                ax.bbox.x0 <= box.x0
                and box.x1 <= ax.bbox.x1
                and ax.bbox.y0 <= box.y0
                and box.y1 <= ax.bbox.y1
            )
            if inside and not any(box.overlaps(other) for other in taken if other is not own):
                taken.append(box)
                written += 1
                break
            word.remove()
    return written


def _around(x: float, y: float, radius: float) -> Bbox:
    return Bbox.from_extents(x - radius, y - radius, x + radius, y + radius)
