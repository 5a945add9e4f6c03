"""Which two figures carry the answer of a study: those of the verdict, or of the laws in the first sentence."""

from collections.abc import Iterator

from fit.views.lines.verdict import judgements
from fit.views.page.drawings import Figures
from fit.views.page.study_report import StudyReport

MOST = 2
# Of the claims on the two regimes, and of the laws of the loss. Of L(N) and L(N, K) one is enough.
VERDICT = (("lr_ratio",), ("batch",))
LAWS = (("l_c",), ("l_n", "l_nk"))
# What a study without laws can show, before the rest of the gallery.
OTHERS = (("curves",), ("residuals",), ("large_run",), ("activations",))


def divided(drawn: Figures, report: StudyReport) -> tuple[Figures, Figures]:
    """The two figures that carry the answer, and all the others with what they lack."""
    of_name = {drawing.name: drawing for drawing in drawn.drawings}
    first = [of_name[name] for name in _wanted(report, set(of_name))][:MOST]
    rest = tuple(drawing for drawing in drawn.drawings if drawing not in first)
    return Figures(tuple(first), ()), Figures(rest, drawn.missing)


def _wanted(report: StudyReport, known: set[str]) -> Iterator[str]:
    """The names of drawn figures, the most important first."""
    groups = report.regimes.groups if report.regimes else ()
    judged = any(judgements(group) for group in groups)
    for names in (*(VERDICT if judged else ()), *LAWS, *OTHERS):
        yield from [name for name in names if name in known][:1]
    listed = {name for names in (*VERDICT, *LAWS, *OTHERS) for name in names}
    yield from sorted(known - listed)
