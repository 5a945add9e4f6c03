"""The cautions of all fits of a study merged into a few lines, each a kind of caution with the fits that have it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fit.law.caution import Caution, Kind
from fit.law.errors import SkippedLaw
from fit.law.result import FitResult
from fit.regimes.compare import Regimes
from fit.views.format import greek
from fit.views.lines.law_table import merged_groups

MOST_LINES = 5
IN_FULL = "-v has every sentence"
# Who has a caution: the law with its group; the comparison of the regimes has no group.
Owner = tuple[str, Mapping[str, Any]]


def caution_lines(fits: Sequence[FitResult], regimes: Regimes | None, width: int) -> list[str]:
    """At most five lines of at most `width`: a kind each, as its sentence where it is but one that fits, and its fits.

    Refuted laws are not among them: each is marked in the heading of its table.
    """
    by_kind = _by_kind(fits, regimes)
    every = {fit.law: len([other for other in fits if other.law == fit.law]) for fit in fits}
    kinds = [kind for kind in Kind if kind in by_kind and kind is not Kind.REFUTED]
    alone = kinds if len(kinds) <= MOST_LINES else kinds[: MOST_LINES - 1]
    lines = [_first_that_fits(_ways(kind, by_kind[kind], every), width) for kind in alone]
    rest = kinds[len(alone) :]
    if rest:
        with_owners = [f"{kind.heading} ({_owners(_all_owners(by_kind[kind]), every)})" for kind in rest]
        ways = [
            f"also: {'; '.join(with_owners)}",
            f"also: {'; '.join(kind.heading for kind in rest)}",
            f"also: {'; '.join(kind.value for kind in rest)}",
            f"also: {len(rest)} further kinds of caution; {IN_FULL}",
        ]
        lines.append(_first_that_fits(ways, width))
    return [f"! {line}" for line in lines]


def _by_kind(fits: Sequence[FitResult], regimes: Regimes | None) -> dict[Kind, dict[str, list[Owner]]]:
    """The owners of each sentence, by kind."""
    found: dict[Kind, dict[str, list[Owner]]] = {}

    def add(caution: Caution, owner: Owner) -> None:
        found.setdefault(caution.kind, {}).setdefault(caution.text, []).append(owner)

    for fit in fits:
        for caution in fit.cautions:
            add(caution, (fit.law, fit.group))
    for caution in regimes.cautions if regimes else ():
        add(caution, ("L(C) against L(N)", {}))
    return found


def _all_owners(by_text: Mapping[str, Sequence[Owner]]) -> list[Owner]:
    return [owner for owners in by_text.values() for owner in owners]


def _ways(kind: Kind, by_text: Mapping[str, Sequence[Owner]], every: Mapping[str, int]) -> Iterator[str]:
    """Ways to write a kind in one line, the fullest first."""
    owners = _all_owners(by_text)
    laws = ", ".join(dict.fromkeys(law for law, _ in owners))
    if len(by_text) == 1:
        (text,) = by_text
        yield f"{greek(text)} ({_owners(owners, every)})"
        yield f"{greek(text)} ({laws})"
    yield f"{kind.heading}: {_owners(owners, every)}"
    yield f"{kind.heading}: {laws}"
    yield f"{kind.heading}: {len(owners)} fits"
    yield f"{kind.value}: {len(owners)} fits"


def _owners(owners: Sequence[Owner], every: Mapping[str, int]) -> str:
    """`L_C, L_N k=16, 32`: the laws, with the groups where not all fits of the law have the caution."""
    by_law: dict[str, list[Mapping[str, Any]]] = {}
    for law, group in owners:
        groups = by_law.setdefault(law, [])
        if group not in groups:
            groups.append(group)
    texts = [
        law if len(groups) >= every.get(law, 1) or groups == [{}] else f"{law} {merged_groups(groups)}"
        for law, groups in by_law.items()
    ]
    return ("; " if any("," in text for text in texts) else ", ").join(texts)


def skipped_line(skipped: Sequence[SkippedLaw], fits: Sequence[FitResult]) -> str | None:
    """`skipped: LR_C (k=16, k=32), LR_N; -v says why`; None if nothing was.

    Of a law that was fitted to a group in one of two ways, that the other was not possible is seen in its table.
    """
    fitted = {(fit.law, ", ".join(f"{name}={value}" for name, value in fit.group.items())) for fit in fits}
    by_law: dict[str, list[str]] = {}
    for each in skipped:
        left = [group for group in each.groups or ("",) if (each.law, group) not in fitted]
        if left:
            groups = by_law.setdefault(each.law, [])
            groups += [group for group in left if group and group not in groups]
    if not by_law:
        return None
    texts = [f"{law} ({', '.join(groups)})" if groups else law for law, groups in by_law.items()]
    return f"skipped: {', '.join(texts)}; -v says why"


def _first_that_fits(ways: Sequence[str] | Iterator[str], width: int) -> str:
    """The first of these texts that fits beside the mark of a caution; the last, if none does."""
    text = ""
    for text in ways:
        if len(text) + 2 <= width:
            return text
    return text
