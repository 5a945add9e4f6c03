"""Every figure of the gallery as SVG inside the page; one that cannot be drawn says what it needs."""

import inspect
import io
import re
import xml.etree.ElementTree as ET

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from fit.law.errors import FitError
from fit.views.figures import gallery
from fit.views.figures.shared import style as styles
from fit.views.page.markup import Html, folded, join, listed, tag
from fit.views.page.source import Source

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
NOTHING = dict.fromkeys(("Date", "Creator", "Format", "Type"))
WIDE_PT = 340  # a figure wider than this, in points, takes both columns of the page
STYLE = "paper"


def drawings(source: Source) -> Html:
    """The section."""
    drawn, missing = [], []
    for name, module in gallery.FIGURES.items():
        try:
            table = gallery.numbers(name, source.runs, source.curves, source.fits, source.latents)
            svg, width = inline(module.draw(table, source.fits, STYLE), name, _caption(module))
        except FitError as error:
            missing.append(join([tag("code", name), ": ", str(error)]))
        except Exception as error:  # one figure that meets a table of another make costs no other
            missing.append(
                join([tag("code", name), f": {type(error).__name__}: {' '.join(str(error).split())}"])
            )
        else:
            caption = tag("figcaption", _caption(module), " ", tag("code", name))
            drawn.append(
                tag("figure", svg, caption, class_="wide" if width > WIDE_PT else None, id=f"figure-{name}")
            )
    parts = [tag("div", *drawn, class_="figures")] if drawn else [tag("p", "No figure could be drawn.")]
    if missing:
        parts.append(
            folded(f"Figures that need more than these tables have ({len(missing)})", listed(missing))
        )
    return join(parts)


def _caption(module: object) -> str:
    """The first sentence of the figure's module, which says what it shows."""
    return (inspect.getdoc(module) or "").split("\n")[0]


def inline(figure: Figure, name: str, label: str) -> tuple[Html, float]:
    """The figure as an <svg> element that shares no id with another and reaches no further than itself, and its width.

    Letters are outlines, so that the page needs no font. Width in points.
    """
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
    for element in root.iter():
        element.tag = element.tag.replace(SVG, "")
        for key in list(element.attrib):
            value = _own(element.attrib.pop(key), key.replace(XLINK, ""), name)
            element.set(key.replace(XLINK, ""), value)
    # What matplotlib writes as a style sheet for `*` would hold for the whole page.
    root.attrib = {key: value for key, value in root.attrib.items() if key not in ("width", "height")}
    root.set("style", "stroke-linejoin:round;stroke-linecap:butt")
    root.attrib.update({"role": "img", "aria-label": label or name, "class": "drawing"})
    return Html(ET.tostring(root, encoding="unicode")), width


def _own(value: str, key: str, name: str) -> str:
    """An id, or a reference to one, under the figure's name."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", value)
