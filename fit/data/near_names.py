"""Suggestions for a mistyped name of a column, key, verb or option."""

import difflib
from collections.abc import Iterable

MOST = 3  # suggestions in one sentence
CUTOFF = 0.6  # difflib's default similarity; below it, suggestions look random
# A name this much less similar than the nearest one is none that was meant: --as beside --weights for --waights.
BEHIND = 0.26


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three of the known names that resemble `name`, the most similar first, ignoring case.

    The dashes before an option do not count: they alone would make --quiet resemble --wiat.
    """
    spelled = {candidate.lower().lstrip("-"): candidate for candidate in map(str, known)}
    typed = name.lower().lstrip("-")
    close = difflib.get_close_matches(typed, spelled, n=MOST, cutoff=CUTOFF)
    alike = [difflib.SequenceMatcher(None, candidate, typed).ratio() for candidate in close]
    return [spelled[one] for one, ratio in zip(close, alike, strict=True) if ratio >= alike[0] - BEHIND]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean A or B?`, with its leading space, to end an error sentence; empty if nothing is near."""
    close = near_names(name, known)
    if not close:
        return ""
    *first, last = close
    return f" Did you mean {', '.join(first)} or {last}?" if first else f" Did you mean {last}?"
