"""Which runs the points of a line stand for, so that a view can say it of the point that a reader looks at.

A figure notes it here while it draws; an image does not show it.
"""

from collections.abc import Iterable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

SEVERAL = " "  # between the ids of the runs behind one point

_ROWS: WeakKeyDictionary[Line2D, pd.DataFrame] = WeakKeyDictionary()


def stand_for_runs(line: Line2D, rows: pd.DataFrame) -> None:
    """Note that each point of a line is the run of the row at its place, by its run_id or else by its other columns.

    rows: one for each point; or a single row, whose run the whole line is.
    """
    _ROWS[line] = rows


def joined(run_ids: Iterable[Any]) -> str:
    """The ids of the runs behind one point, as the mean over seeds, in one cell of a table."""
    return SEVERAL.join(map(str, run_ids))


def lines_of_runs(figure: Figure) -> Iterator[tuple[Line2D, pd.DataFrame]]:
    """The lines of a figure whose points stand for runs, in the order in which they were drawn, with their rows."""
    for line in figure.findobj(Line2D):
        if line in _ROWS:
            yield line, _ROWS[line]
