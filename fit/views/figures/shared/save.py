"""Writes a figure as PDF, PNG and CSV: complete or not at all, and the same bytes from the same table."""

import io
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fit.data import files
from fit.views.figures.shared import style as styles


def rendered(figure: Figure, style: str = "paper") -> dict[str, bytes]:
    """The bytes of the figure as {"pdf", "png"}, without a date or a program's name in them."""
    pdf, png = io.BytesIO(), io.BytesIO()
    with styles.applied(style) as look:
        FigureCanvasAgg(figure)
        figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
        figure.savefig(png, format="png", dpi=look.dpi, metadata={"Software": None})
    return {"pdf": pdf.getvalue(), "png": png.getvalue()}


def write(figure: Figure, numbers: pd.DataFrame, out: Path, name: str, style: str = "paper") -> list[Path]:
    """Writes out/name.pdf, .png and .csv (the plotted numbers at full precision); returns the three paths."""
    contents = rendered(figure, style) | {"csv": numbers.to_csv(index=False).encode()}
    return [files.write(out / f"{name}.{kind}", content) for kind, content in contents.items()]
