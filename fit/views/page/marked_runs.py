"""Marks the runs in the SVG of a figure: each element that stands for runs gets their rows, which page.js reads."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fit.data import tables
from fit.views.figures.shared.run_marks import SEVERAL, lines_of_runs

ATTRIBUTE = "data-run"
# The columns by which a point finds its row in a table without ids; the loss alone is nearly unique.
SETTINGS = ("n_latents", "k", "lr", "batch_tokens", "seed")
LOSS = "nmse"
# The column that tells the runs of two studies apart on one page.
SIDE = "side"


class RunRows:
    """Finds the row of a run in the table of runs, counted from 0.

    runs: in the order of the page's table, see `runs.ordered`.
    """

    def __init__(self, runs: pd.DataFrame) -> None:
        self.runs = runs
        self.by_id: dict[str, list[int]] = {}
        if "run_id" in runs.columns:
            for row, run_id in enumerate(runs["run_id"].astype(str)):
                self.by_id.setdefault(run_id, []).append(row)

    def of_point(self, point: pd.Series) -> list[int]:
        """The rows of the runs behind a point; empty where they are unknown.

        In a table without ids, the only row with the point's settings and its loss.
        """
        if self.by_id:
            run_id = str(point["run_id"]) if "run_id" in point.index else ""
            ids = [run_id] if run_id in self.by_id else run_id.split(SEVERAL)
            named = [row for each in ids for row in self.by_id.get(each, ())]
            return sorted(row for row in named if self._same_side(row, point))
        if LOSS not in self.runs.columns or LOSS not in point.index:
            return []
        names = [LOSS] + [
            name
            for name in SETTINGS
            if name in point.index and name in self.runs.columns and pd.notna(point[name])
        ]
        same = np.ones(len(self.runs), dtype=bool)
        if SIDE in point.index and SIDE in self.runs.columns:
            same &= (self.runs[SIDE] == point[SIDE]).to_numpy()
        for name in names:
            same &= np.asarray(tables.numbers(self.runs, name) == float(point[name]))
        rows = np.flatnonzero(same)
        return [int(rows[0])] if len(rows) == 1 else []

    def _same_side(self, row: int, point: pd.Series) -> bool:
        """Whether a row is of the study that the point is of, on a page of two."""
        if SIDE not in self.runs.columns or SIDE not in point.index:
            return True
        return bool(self.runs[SIDE].iloc[row] == point[SIDE])


@dataclass(frozen=True)
class MarkedLine:
    """A line of a figure by the id of its group in the SVG.

    places: the rows of the runs of each of its points that is drawn. whole: whether the line is one run as a whole.
    """

    group: str
    places: tuple[tuple[int, ...], ...]
    whole: bool


def prepared(figure: Figure, rows: RunRows) -> list[MarkedLine]:
    """Give each line of runs an id, before the figure is written as SVG."""
    marked = []
    for i, (line, points) in enumerate(lines_of_runs(figure)):
        places = [tuple(rows.of_point(point)) for _, point in points.iterrows()]
        line.set_gid(f"runs{i}")
        drawn = _drawn(line)
        whole = len(points) == 1 and len(drawn) != 1
        if not whole:
            places = [place for place, seen in zip(places, drawn, strict=True) if seen]
        marked.append(MarkedLine(f"runs{i}", tuple(places), whole))
    return marked


def _drawn(line: Line2D) -> Sequence[bool]:
    """Whether each point has a place in the panel: one at 0 has none on a logarithmic axis."""
    x, y = (np.asarray(values, dtype=float) for values in line.get_data(orig=False))
    with np.errstate(all="ignore"):
        at = line.get_transform().transform(np.column_stack([x, y]))
    return [bool(each) for each in np.isfinite(at).all(axis=1)]


def write_rows(root: ET.Element, marked: Sequence[MarkedLine], svg: str) -> None:
    """Write the rows of the runs into the elements of a figure. svg: the namespace of its tags."""
    groups = {element.get("id"): element for element in root.iter(f"{svg}g")}
    for line in marked:
        group = groups.get(line.group)
        if group is None:
            continue
        points = list(group.iter(f"{svg}use"))
        if line.whole:
            lines = [each for each in group.findall(f"{svg}path")]
            for element in (*lines, *points):
                _write(element, line.places[0])
        elif len(points) == len(line.places):
            for element, place in zip(points, line.places, strict=True):
                _write(element, place)


def _write(element: ET.Element, place: Sequence[int]) -> None:
    if place:
        element.set(ATTRIBUTE, " ".join(map(str, place)))
