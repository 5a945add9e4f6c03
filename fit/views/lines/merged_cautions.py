"""The cautions of all fits of a study merged into a few lines, each a kind of caution with the fits that have it."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fit.data.training_runs import SETTINGS
from fit.law.caution import Caution, Kind
from fit.law.errors import SkippedLaw
from fit.law.result import FitResult
from fit.regimes.compare import Regimes
from fit.views.format import greek
from fit.views.lines.law_table import GAP, merged_groups, method_name

MOST_CAUTIONS = 5
# Lines that one caution takes: a sentence about rows or optima is seldom shorter than 100 characters.
MOST_LINES = 2
IN_FULL = "-v has every sentence"
# Below this width a caution takes one line where one says all that two would but the groups.
NARROW = 80
# What a caution of several sentences claims, where the heading of its kind names a subject and claims nothing.
CLAIMS = {
    Kind.INTERVALS: "Intervals that may mislead",
    Kind.ROWS: "Rows left out or taken on an assumption",
}
# Kinds whose sentences change how the numbers are read, so that one of several is given as an example.
BY_EXAMPLE = (Kind.ROWS, Kind.EDGE, Kind.DISAGREEMENT, Kind.INTERVALS)
# Kinds of which each caution names a law that is not the one fitted.
OTHER_LAWS = (Kind.ANOTHER_LAW, Kind.LOWER_AICC)


@dataclass(frozen=True)
class Owner:
    """Who has a caution: a law, its group, and the method by which it was fitted where there are several.

    The comparison of the regimes has no group.
    """

    law: str
    group: Mapping[str, Any]
    method: str = ""


@dataclass(frozen=True)
class Merged:
    """The cautions of one kind, each with its owner."""

    kind: Kind
    cautions: tuple[tuple[Caution, Owner], ...]

    @property
    def facts(self) -> dict[str, str]:
        """Each sentence once, and what is so without the advice."""
        return {caution.text: caution.for_readers for caution, _ in self.cautions}

    @property
    def owners(self) -> list[Owner]:
        """Who has a caution of this kind."""
        return [owner for _, owner in self.cautions]

    @property
    def claim(self) -> str:
        """`Parameters that trade off against each other`; of another law, its name with it."""
        claim = CLAIMS.get(self.kind, self.kind.heading)
        names = dict.fromkeys(name for caution, _ in self.cautions for name in caution.of)
        return f"{claim} ({', '.join(names)})" if self.kind in OTHER_LAWS and names else claim


def caution_lines(fits: Sequence[FitResult], regimes: Regimes | None, width: int) -> list[str]:
    """At most five cautions of at most two lines of at most `width`: a kind each, and the fits that have it.

    Refuted laws are not among them: each is marked in the heading of its table.
    """
    merged = merged_cautions(fits, regimes)
    every = _every(fits)
    alone = merged if len(merged) <= MOST_CAUTIONS else merged[: MOST_CAUTIONS - 1]
    texts = [_shortest(each, every, width) for each in alone]
    if rest := merged[len(alone) :]:
        with_owners = [f"{each.claim} ({_owners(each.owners, every)})" for each in rest]
        with_laws = [f"{each.claim} ({_laws(each.owners)})" for each in rest]
        ways = [
            f"also: {'; '.join(with_owners)}",
            f"also: {'; '.join(with_laws)}",
            f"also: {'; '.join(f'{each.kind.value} ({_laws(each.owners)})' for each in rest)}",
            f"also: {'; '.join(each.kind.value for each in rest)}; {IN_FULL}",
            f"also: {len(rest)} further kinds of caution; {IN_FULL}",
        ]
        texts.append(_first_that_fits(ways, width))
    return [line for text in texts for line in _broken(text, width)]


def in_full(merged: Merged, fits: Sequence[FitResult]) -> str:
    """The fullest text of a kind, as `Outliers (L_C k=16)`: where there is a page for it, and not two lines."""
    return next(_ways(merged, _every(fits), on_screen=False))


def owners_text(owners: Sequence[Owner], fits: Sequence[FitResult]) -> str:
    """`L_C, L_N k=16, 32`: who has a caution, among all fits."""
    return _owners(owners, _every(fits))


def _every(fits: Sequence[FitResult]) -> list[Owner]:
    return [Owner(fit.law, fit.group, method_name(fit)) for fit in fits]


def merged_cautions(fits: Sequence[FitResult], regimes: Regimes | None) -> list[Merged]:
    """The cautions by kind, without those that the rows refute a law."""
    known = [
        (caution, Owner(fit.law, fit.group, method_name(fit))) for fit in fits for caution in fit.cautions
    ]
    known += [(caution, Owner("L(C) against L(N)", {})) for caution in (regimes.cautions if regimes else ())]
    of_kind = {kind: tuple(each for each in known if each[0].kind is kind) for kind in Kind}
    return [Merged(kind, each) for kind, each in of_kind.items() if each and kind is not Kind.REFUTED]


def _shortest(merged: Merged, every: Sequence[Owner], width: int) -> str:
    """The fullest way to write a kind that fits; on a narrow terminal one in a single line, if it loses no more than
    the groups of its laws. A setting that mixes runs is said in full at any width."""
    text = _first_that_fits(_ways(merged, every), width)
    mixing = _mixing(merged)
    if mixing and not any(fact.rstrip(".") in text for fact in mixing):
        return next(iter(mixing.values()))
    if width < NARROW and len(_broken(text, width)) > 1:
        laws = _laws(merged.owners)
        facts = merged.facts
        brief = [f"{greek(fact)} ({laws})" for fact in facts.values()] if len(facts) == 1 else []
        brief += [f"{merged.kind.value}: {laws}"] if merged.kind not in BY_EXAMPLE and len(facts) > 1 else []
        return next((each for each in brief if len(_broken(each, width)) == 1), text)
    return text


def _ways(merged: Merged, every: Sequence[Owner], on_screen: bool = True) -> Iterator[str]:
    """Ways to write a kind, the fullest first. on_screen: -v of the command shows more; a page has no such option."""
    owners, laws = _owners(merged.owners, every), _laws(merged.owners)
    facts = merged.facts
    if len(facts) == 1:
        for text in dict.fromkeys((*facts, *facts.values())):
            yield f"{greek(text)} ({owners})"
            yield f"{greek(text)} ({laws})"
    elif merged.kind in BY_EXAMPLE:
        subjects = _subjects(merged, every)
        for way in _mixing(merged, on_screen).values():
            yield f"{merged.claim}: {subjects}; for one: {way}"
            yield way
        for of_whom in (subjects, laws):
            for fact in facts.values():
                yield f"{merged.claim}: {of_whom}; for one: {greek(fact)}"
        for fact in facts.values():
            yield f"{greek(fact)} ({laws}; -v has {len(facts) - 1} more like it)"
        yield f"{merged.claim}: {subjects}"
    yield f"{merged.claim}: {owners}"
    yield f"{merged.claim}: {laws}"
    fits = len({(owner.law, str(owner.group)) for owner in merged.owners})
    yield f"{merged.claim}: {'1 fit' if fits == 1 else f'{fits} fits'}"
    yield f"{merged.kind.value}: {'1 fit' if fits == 1 else f'{fits} fits'}"


def _mixing(merged: Merged, on_screen: bool = True) -> dict[str, str]:
    """The facts about a setting in which the rows of a law differ, each with its law, and on a screen how many more.

    Such a setting changes what the law is a law of.
    """
    more = f"; -v has {len(merged.facts) - 1} more like it" if on_screen and len(merged.facts) > 1 else ""
    return {
        greek(caution.fact): f"{greek(caution.fact)} ({owner.law}{more})"
        for caution, owner in merged.cautions
        if caution.fact and SETTINGS.intersection(caution.of)
    }


def _subjects(merged: Merged, every: Sequence[Owner]) -> str:
    """`batch_tokens in L_C, converged in L_N, T_N`: the owners by the columns that the cautions are about."""
    of_subject: dict[tuple[str, ...], list[Owner]] = {}
    for caution, owner in merged.cautions:
        of_subject.setdefault(caution.of, []).append(owner)
    if merged.kind is not Kind.ROWS or len(of_subject) == 1 or () in of_subject:
        return _owners(merged.owners, every)
    return "; ".join(f"{', '.join(names)} in {_owners(each, every)}" for names, each in of_subject.items())


def _laws(owners: Sequence[Owner]) -> str:
    return ", ".join(dict.fromkeys(owner.law for owner in owners))


def _owners(owners: Sequence[Owner], every: Sequence[Owner]) -> str:
    """`L_C, L_N k=16, 32, N_C by crossovers`: the laws, with the groups and the method where not all have the caution.

    every: all fits.
    """
    by_name: dict[tuple[str, str], list[Owner]] = {}
    for owner in owners:
        alike = [each for each in every if (each.law, each.group) == (owner.law, owner.group)]
        one_of_several = any(each.method != owner.method and each not in owners for each in alike)
        method = owner.method if one_of_several else ""
        having = by_name.setdefault((owner.law, method), [])
        if owner.group not in [each.group for each in having]:
            having.append(owner)
    texts = []
    for (law, method), having in by_name.items():
        groups = [owner.group for owner in having]
        every_group = {str(each.group) for each in every if each.law == law and method in ("", each.method)}
        name = law if len(groups) >= len(every_group) or groups == [{}] else f"{law} {merged_groups(groups)}"
        texts.append(f"{name} by {method}" if method else name)
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


def _broken(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        f"! {text}", width, subsequent_indent=GAP, break_long_words=False, break_on_hyphens=False
    )


def _first_that_fits(ways: Sequence[str] | Iterator[str], width: int) -> str:
    """The first of these texts that fits in the lines of a caution; the last, if none does."""
    text = ""
    for text in ways:
        lines = _broken(text, width)
        if len(lines) <= MOST_LINES and all(len(line) <= width for line in lines):
            return text
    return text
