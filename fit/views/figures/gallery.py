"""Draws every figure that has its data, and says in one line for each of the others which data it needs."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fit.data import files
from fit.law.errors import FitError
from fit.study.study_tables import StudyTables
from fit.views.figures import (
    ablations,
    activations,
    dead,
    isoflop,
    l_c,
    l_n,
    l_nk,
    large_run,
    lr,
    optima,
    profiles,
    random_data,
    residuals,
    tokens,
)
from fit.views.figures import by_subject as subjects
from fit.views.figures import curves as curves_figure
from fit.views.figures import latents as latents_figure
from fit.views.figures.regimes import batch, budgets, losses, lr_ratio
from fit.views.figures.shared import style as styles


class FigureModule(Protocol):
    """What each figure's module offers: its numbers from a study, and its drawing from the numbers."""

    def numbers(self, study: StudyTables) -> pd.DataFrame: ...

    def draw(self, table: pd.DataFrame, study: StudyTables, style: str = "paper") -> Figure: ...


FIGURES: dict[str, FigureModule] = {
    "l_n": l_n,
    "l_nk": l_nk,
    "l_c": l_c,
    "curves": curves_figure,
    "activations": activations,
    "lr": lr,
    "subjects": subjects,
    "tokens": tokens,
    "batch": batch,
    "dead": dead,
    "ablations": ablations,
    "latents": latents_figure,
    "large_run": large_run,
    "random_data": random_data,
    "optima": optima,
    "isoflop": isoflop,
    "budgets": budgets,
    "lr_ratio": lr_ratio,
    "regimes": losses,
    "residuals": residuals,
    "profiles": profiles,
}


def make(
    study: StudyTables,
    out: Path | str,
    only: Sequence[str] | None = None,
    style: str = "paper",
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Write each figure as PDF, PNG and CSV into a folder, and return the paths written.

    Parameters
    ----------
    study : the tables and, if there are any, their fits.
    out : the folder, which is created if needed.
    only : names of `FIGURES`; by default all figures.
    style : the name of one of `STYLES`.
    say : is called with one line for each file written and for each figure that could not be drawn; such a figure does
        not stop the others.

    Raises
    ------
    FitError
        For an unknown figure or style.
    """
    styles.named(style)
    written: list[Path] = []
    for name in _chosen(only):
        try:
            module = FIGURES[name]
            table = module.numbers(study)
            paths = save(module.draw(table, study, style), table, Path(out), name, style)
        except FitError as error:
            say(f"{name} skipped: {error}")
        except Exception as error:  # an unexpected table can break one figure in ways not foreseen here
            say(f"{name} skipped: it failed with {type(error).__name__}: {' '.join(str(error).split())}")
        else:
            written += paths
            for path in paths:
                say(f"wrote {path}")
    return written


def _chosen(only: Sequence[str] | None) -> Sequence[str]:
    unknown = [name for name in only or () if name not in FIGURES]
    if unknown:
        raise FitError(f"There is no figure {unknown[0]!r}: choose among {', '.join(FIGURES)}.")
    return [name for name in FIGURES if not only or name in only]


def rendered(figure: Figure, style: str = "paper") -> dict[str, bytes]:
    """The bytes of the figure under the keys "pdf" and "png", without dates or program names in their metadata."""
    pdf, png = io.BytesIO(), io.BytesIO()
    with styles.applied(style) as look:
        FigureCanvasAgg(figure)
        figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
        figure.savefig(png, format="png", dpi=look.dpi, metadata={"Software": None})
    return {"pdf": pdf.getvalue(), "png": png.getvalue()}


def save(figure: Figure, numbers: pd.DataFrame, out: Path, name: str, style: str = "paper") -> list[Path]:
    """Write out/name.pdf, .png and .csv (the plotted numbers in full precision), and return the three paths."""
    contents = rendered(figure, style) | {"csv": numbers.to_csv(index=False).encode()}
    return [files.write(out / f"{name}.{kind}", content) for kind, content in contents.items()]
