"""How the tests look at a figure: its texts, whether they can be read, and its lines by their style."""

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

WIDTHS = {"paper": 3.25, "talk": 10.0}  # inches


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
    return [(t, t.get_window_extent(canvas.get_renderer())) for t in found]


def overlap(a, b):
    """Whether two boxes share more than a pixel in both directions."""
    return min(min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)) > 1


def assert_readable(figure):
    """No two texts overlap, none lies on the panel or colour bar of another, and none leaves the figure."""
    found = texts(figure)
    assert len(found) > 8
    for (a, box_a), (b, box_b) in combinations(found, 2):
        assert not overlap(box_a, box_b), f"{a.get_text()!r} overlaps {b.get_text()!r}"
    for text, box in found:
        others = [ax for ax in figure.axes if ax is not text.axes]
        assert not any(overlap(box, ax.bbox) for ax in others), f"{text.get_text()!r} lies on another panel"
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert inside, f"{text.get_text()!r} leaves the figure: {box}"


def assert_readable_at_its_width(figure, style):
    """In a column of a paper or on a slide."""
    assert figure.get_size_inches()[0] == WIDTHS[style]
    assert_readable(figure)


def lines(ax, style, marker="None"):
    """Lines of the axes by their style; the hollow markers of held-out runs are not among them."""
    drawn = [line for line in ax.lines if line.get_markerfacecolor() != "none"]
    return [line for line in drawn if line.get_linestyle() == style and line.get_marker() == marker]
