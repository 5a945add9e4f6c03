"""What is said where a law has no fit: the error that ends a command, and the sentence about a law that was skipped."""

from collections.abc import Iterable


class FitError(ValueError):
    """What was wrong, the value, and what to do; a command prints it and ends with exit code 1."""


class SkippedLaw(str):
    """A sentence that says why a law was not fitted, to some groups of rows or to any.

    law: its name. groups: the groups of rows as texts, `k=16`; empty if the law has no fit at all.
    """

    law: str
    groups: tuple[str, ...]

    def __new__(cls, text: str, law: str, groups: Iterable[str] = ()) -> "SkippedLaw":
        sentence = super().__new__(cls, text)
        sentence.law, sentence.groups = law, tuple(filter(None, groups))
        return sentence
