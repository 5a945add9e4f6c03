"""A study's tables and the fits of every law to them: `fit_study` and `fit_table` fit, `fits_file` writes fits.json.

`predict`, `inverse` and `advise` answer questions from the fits.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fit.study.answers.advise import advise as advise
    from fit.study.answers.budget import budget as budget
    from fit.study.answers.inverse import inverse as inverse
    from fit.study.answers.prediction import predict as predict
    from fit.study.fits_file import read_json as read_json
    from fit.study.fits_file import write_json as write_json
    from fit.study.fitting import Study as Study
    from fit.study.fitting import fit_study as fit_study
    from fit.study.fitting import fit_table as fit_table

_HOME = {
    **dict.fromkeys(("Study", "fit_study", "fit_table"), "fitting"),
    **dict.fromkeys(("read_json", "write_json"), "fits_file"),
    "predict": "answers.prediction",
    "advise": "answers.advise",
    "budget": "answers.budget",
    "inverse": "answers.inverse",
}
__all__ = list(_HOME)  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    # Imported on first use, so that a command which only reads names does not wait for scipy.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
