"""Every figure of the gallery as SVG inside the page, or the data that it needs if it cannot be drawn."""

import inspect
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from fit.law.errors import FitError
from fit.law.result import FitResult
from fit.views.figures import gallery
from fit.views.figures.shared import style as styles
from fit.views.page.fit_format import fit_name
from fit.views.page.marked_runs import RunRows, prepared, write_rows
from fit.views.page.runs import ordered
from fit.views.page.study_report import StudyReport

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
NOTHING = dict.fromkeys(("Date", "Creator", "Format", "Type"))
WIDE_PT = 340  # a figure wider than this, in points, takes both columns of the page
STYLE = "paper"
# The laws that each figure draws; two figures draw every law.
LAWS_OF = {
    "l_n": ("L_N",),
    "l_nk": ("L_NK",),
    "l_c": ("L_C",),
    "tokens": ("T_N",),
    "subjects": ("L_N",),
    "optima": ("N_C", "D_C", "LR_C", "LR_N"),
}
ALL_LAWS = ("residuals", "profiles")


@dataclass(frozen=True)
class Drawing:
    """A figure as an <svg> element. wide: whether it takes both columns of the page."""

    name: str
    svg: Markup
    caption: str
    wide: bool


@dataclass(frozen=True)
class Missing:
    """A figure that could not be drawn, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Figures:
    """The figures that were drawn and those that are missing; every figure of the gallery is one or the other.

    reason: why no figure could be drawn, where one reason holds for all.
    """

    drawings: tuple[Drawing, ...]
    missing: tuple[Missing, ...]
    reason: str = ""


def figures(report: StudyReport) -> Figures:
    """The facts of the section."""
    tables, rows = report.tables, RunRows(ordered(report.runs))
    drawn, missing = [], []
    for name, module in gallery.FIGURES.items():
        try:
            numbers = module.numbers(tables)
            figure, text = module.draw(numbers, tables, STYLE), module.caption(numbers, tables).text
            caption = " ".join([text, *_refutations(name, report.fits)])
            svg, width = inline(figure, name, _label(module), rows)
        except FitError as error:
            missing.append(Missing(name, str(error)))
        except Exception as error:  # an unexpected table that breaks one figure must not break the others
            missing.append(Missing(name, f"{type(error).__name__}: {' '.join(str(error).split())}"))
        else:
            drawn.append(Drawing(name, svg, caption, width > WIDE_PT))
    return Figures(tuple(drawn), tuple(missing))


def _label(module: object) -> str:
    """The first sentence of the figure's module, which says what it shows."""
    return (inspect.getdoc(module) or "").split("\n")[0]


def _refutations(name: str, fits: Sequence[FitResult]) -> list[str]:
    """What says that the rows refute a law that a figure draws."""
    drawn = LAWS_OF.get(name, ())
    return [
        f"{fit.law}{f', {fit_name(fit)}' if fit_name(fit) else ''}: {fit.refutation}"
        for fit in fits
        if fit.refutation and (fit.law in drawn or name in ALL_LAWS)
    ]


def inline(figure: Figure, name: str, label: str, rows: RunRows) -> tuple[Markup, float]:
    """The figure as an <svg> element, and its width in points.

    Its ids begin with `name`, so that no two figures share one. It has no style sheet, which would apply to the whole
    page. Letters are outlines, so that the page needs no font. Elements that stand for runs name their rows.
    """
    marked = prepared(figure, rows)
    out = io.BytesIO()
    with styles.applied(STYLE):
        FigureCanvasSVG(figure)
        figure.savefig(out, format="svg", metadata=NOTHING, transparent=False)
    root = ET.fromstring(out.getvalue())
    width = float((root.get("viewBox") or "0 0 0 0").split()[2])
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{SVG}metadata", f"{SVG}style"):
                parent.remove(child)
    write_rows(root, marked, SVG)
    for element in root.iter():
        element.tag = element.tag.replace(SVG, "")
        for key in list(element.attrib):
            value = _prefixed(element.attrib.pop(key), key.replace(XLINK, ""), name)
            element.set(key.replace(XLINK, ""), value)
    # matplotlib's style sheet for `*` would apply to the whole page.
    root.attrib = {key: value for key, value in root.attrib.items() if key not in ("width", "height")}
    root.set("style", "stroke-linejoin:round;stroke-linecap:butt")
    root.attrib.update({"role": "img", "aria-label": label or name, "class": "drawing"})
    return Markup(ET.tostring(root, encoding="unicode")), width


def _prefixed(value: str, key: str, name: str) -> str:
    """An attribute in which an id, or a reference to one, begins with the figure's name."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", value)
