"""What a user asks a fit for, checked before any work: names of laws, and names of columns to map.

The command line and `import saescale` share it, so that both answer a mistyped name with the near ones.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence

from fit.data.columns import CURVES, LATENTS, RUNS
from fit.data.near_names import did_you_mean
from fit.law.errors import FitError
from fit.law.laws import LAWS, named

# A name to map to that is this similar to one of our columns is taken for that one, mistyped.
MISTYPED = 0.8


def law_names(laws: Iterable[str | Sequence[str]]) -> list[str]:
    """The registered names of laws, each given alone, with others between commas, or in a list with others.

    Raises
    ------
    FitError
        With near names if there is no such law.
    """
    texts = (text for law in laws for text in ([law] if isinstance(law, str) else law))
    return [_law_name(name.strip()) for text in texts for name in text.split(",")]


def _law_name(name: str) -> str:
    try:
        return named(name).name
    except FitError as error:
        raise FitError(f"{error}{'' if ':' in name else did_you_mean(name, LAWS)}") from error


def check_mapped(mapping: Mapping[str, str], laws: Iterable[str], option: str = "--map") -> None:
    """Refuse to map to a name that is near one of our columns and is itself none, nor an input of a law.

    Any other name is the user's own, for a condition or a law of their own.

    Parameters
    ----------
    mapping : our column names to those of the table.
    laws : registered names of the laws that are asked for.
    option : where the mapping was given, for the sentence.

    Raises
    ------
    FitError
        With the near names.
    """
    inputs = {name for law in map(named, laws) for name in (*law.inputs, law.response)}
    ours = {column.name for column in (*RUNS, *CURVES, *LATENTS)} | {"flops"}
    for name in mapping.keys() - inputs - ours:
        if difflib.get_close_matches(name, ours, 1, MISTYPED):
            raise FitError(f"{option}: {name} is not one of our columns.{did_you_mean(name, ours)}")
