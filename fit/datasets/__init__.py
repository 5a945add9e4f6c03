"""Published tables to try the fits on and to test them with; README.md names their sources."""

from importlib import resources

import pandas as pd

from fit.law.errors import FitError

NAMES = ("gao2024_gpt4_lnk",)


def load(name: str) -> pd.DataFrame:
    """The table of that name; FitError with the names there are."""
    if name not in NAMES:
        raise FitError(f"There is no data set {name!r}: choose among {', '.join(NAMES)}.")
    with resources.files(__name__).joinpath(f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)
