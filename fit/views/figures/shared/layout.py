"""Lays the panels of a figure out: one row where they fit, numbers on the outer axes only, a key of one line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.views.figures.shared import labels
from fit.views.figures.shared import style as styles
from fit.views.figures.shared.style import Style

# A panel is at least this many times as wide as its small letters are high: its ticks need the room.
PANEL = 14.4
MOST_ABREAST, MOST_ROWS = 4, 3


@dataclass(frozen=True)
class Panel:
    """One panel: its title, written if there are several, and the function that draws it on an `ax`."""

    title: str
    draw: Callable[[Axes], None]


def sheet(
    panels: Sequence[Panel],
    style: str | Style = "paper",
    share: str = "xy",
    key: Sequence[Line2D] = (),
    titles: bool | None = None,
    abreast: int = MOST_ABREAST,
    columns: int | None = None,
    y_labels: bool = False,
    x_labels: bool = True,
) -> Figure:
    """A figure of these panels, in their order.

    Parameters
    ----------
    panels : each sets the scales and the labels of its axes itself.
    style : the name of a look, or a look.
    share : the axes whose numbers and label are written only at the edge of the figure, as all panels have the same
        ones: "xy", "y", "x" or "". If the y axes differ, titles say what they show, so there is no y label either,
        unless y_labels.
    key : entries of the line above the panels.
    titles : whether titles are written; by default if there are several panels.
    abreast : at most so many side by side.
    columns : of the page, 1 or 2, unless the look says so.
    y_labels : whether each panel has a y label where the y axes differ. x_labels : False where titles say what x is.
    """
    with styles.applied(style) as look:
        width, rows, across = _arranged(len(panels), look, abreast, columns)
        height = look.height or look.heights[rows - 1]
        if key and rows < 3 and look.height is None:
            height = min(height + 2 * look.small / 72, look.heights[-1])
        figure = Figure(figsize=(width, height), layout="constrained")
        if y_labels:
            # A label stands between the panels.
            figure.set_layout_engine("constrained", wspace=0.04)
        cells = figure.subplots(rows, across, squeeze=False).flatten()
        shown = panels[: len(cells)]
        for spare in cells[len(shown) :]:
            spare.remove()
        if key:
            _key(figure, key, look, width)
        axes = list(cells[: len(shown)])
        titled = len(panels) > 1 if titles is None else titles
        for i, (panel, ax) in enumerate(zip(shown, axes, strict=True)):
            panel.draw(ax)
            if titled:
                ax.set_title(labels.typeset(panel.title), loc="left")
            _outer(ax, share, first=i % across == 0, last=i + across >= len(shown))
            if titled and "y" not in share and not y_labels:
                ax.set_ylabel("")
            if not x_labels:
                ax.set_xlabel("")
        if len(shown) < len(panels):
            left = len(panels) - len(shown)
            figure.supxlabel(f"{left} more panels are in the CSV only", fontsize=look.small)
    return figure


def _arranged(count: int, look: Style, abreast: int, wanted: int | None) -> tuple[float, int, int]:
    """The width, and the numbers of rows and columns."""
    widths = look.widths
    if look.width is not None:
        widths = (look.width,)
    elif columns := look.columns or wanted:
        widths = (look.widths[min(columns, len(look.widths)) - 1],)
    fitting = [min(abreast, max(1, int(width * 72 / (PANEL * look.small)))) for width in widths]
    width, most = next(
        ((w, c) for w, c in zip(widths, fitting, strict=True) if c >= count), (widths[-1], fitting[-1])
    )
    rows = min(-(-count // most), MOST_ROWS)
    return width, rows, min(most, -(-count // rows))


def _outer(ax: Axes, share: str, first: bool, last: bool) -> None:
    """Take the numbers and the label off an inner axis that another panel repeats."""
    if "y" in share and not first:
        ax.tick_params(labelleft=False)
        ax.set_ylabel("")
    if "x" in share and not last:
        ax.tick_params(labelbottom=False)
        ax.set_xlabel("")


def _key(figure: Figure, key: Sequence[Line2D], look: Style, width: float) -> None:
    """The key above the panels, in one line where it fits, else in rows that are filled from the left."""
    points = [look.small * (3.3 + 0.5 * len(str(line.get_label()))) for line in key]
    rows = -(-int(sum(points)) // int(width * 72))
    columns = -(-len(key) // rows)
    # A legend is filled column by column.
    order = [i for column in range(columns) for i in range(column, len(key), columns)]
    figure.legend(
        handles=[key[i] for i in order],
        loc="outside upper left",
        ncols=columns,
        columnspacing=1.0,
        borderpad=0,
        borderaxespad=0.2,
        handletextpad=0.5,
        labelspacing=0.2,
    )
