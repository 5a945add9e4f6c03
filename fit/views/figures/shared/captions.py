"""The caption of a figure: what it shows, how to read its marks, its laws with estimates, and its runs and commits.

It is written as Markdown and as LaTeX beside each figure, since numbers belong in a caption, not in the plot.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fit.law.result import FitResult
from fit.study.study_tables import StudyTables
from fit.views.figures.shared import labels
from fit.views.format import percent

SUPERSCRIPTS = str.maketrans("0123456789-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")
LOWERED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-") | str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-")
# The Greek letters that LaTeX has a command for; the others look as Latin ones.
NAMES = """alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho varsigma sigma tau
upsilon varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega""".split()
TEX = {
    letter: rf"\{name}" for letter, name in zip("αβγδεζηθικλμνξπρςστυφχψωΓΔΘΛΞΠΣΦΨΩ", NAMES, strict=True)
} | {
    "·": r"\cdot ",
    "−": "-",
    "∝": r"\propto ",
    "∞": r"\infty",
    "×": r"\times ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≈": r"\approx ",
    "★": r"\star ",
    "…": r"\dots ",
    "±": r"\pm ",
    "→": r"\to ",
    "∂": r"\partial ",
    "√": r"\surd ",
    "½": r"\frac{1}{2}",
    "µ": r"\mu",
    # In the font of LaTeX's running text these print as other characters.
    "<": "<",
    ">": ">",
    "|": "|",
}
SPECIAL = {c: rf"\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
QUOTED = {"–": "--", "—": "---", "’": "'", "“": "``", "”": "''", "\u00a0": "~"}


@dataclass(frozen=True)
class LawText:
    """A law as a caption states it: its formula, and for each fit its name and its numbers."""

    formula: str
    fits: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Caption:
    """The parts of a caption. text: what the figure shows, and how to read it. source: runs and commits."""

    text: str
    laws: tuple[LawText, ...] = ()
    source: str = ""

    def markdown(self) -> str:
        parts = [self.text]
        for law in self.laws:
            parts.append(f"`{law.formula}`, with 95 % intervals:")
            parts.append("\n".join(f"- {': '.join(filter(None, fit))}" for fit in law.fits))
        return "\n\n".join([*parts, *filter(None, [self.source])]) + "\n"

    def latex(self) -> str:
        r"""The argument of `\caption`: `\caption[L(N)]{\input{l_n.tex}}`, or its text pasted there.

        Without `[...]`, LaTeX moves the `\input` itself into the list of figures, where it is an error.
        """
        parts = [latex_text(self.text)]
        for law in self.laws:
            fits = "; ".join(
                ": ".join(latex_text(part) for part in fit if part) for fit in law.fits if any(fit)
            )
            parts.append(f"{latex_formula(law.formula)}, with 95\\,\\% intervals: {fits}.")
        return (
            "%\n".join(part + " " for part in [*parts, *filter(None, [latex_text(self.source)])]).rstrip()
            + "%\n"
        )


def caption(
    text: str, study: StudyTables, fits: Sequence[FitResult] = (), names: Sequence[str] | None = None
) -> Caption:
    """The caption of a figure that draws these fits, in their order.

    names: of the fits of one law, by default those of their groups.
    """
    by_formula: dict[str, list[FitResult]] = {}
    for fit in fits:
        by_formula.setdefault(fit.formula, []).append(fit)
    laws = tuple(
        LawText(formula, tuple(zip(names or labels.fit_names(own), map(_numbers, own), strict=True)))
        for formula, own in by_formula.items()
    )
    return Caption(text, laws, _source(study))


def _numbers(fit: FitResult) -> str:
    """The estimates with their intervals, the number of points, and the error at the scale that was held out."""
    parts = [", ".join(raised(text) for text in labels.parameters(fit)), f"{len(fit.points):,} points"]
    if fit.held_out is not None and fit.held_out.points:
        worst = max(fit.held_out.points, key=lambda point: abs(point.predicted / point.measured - 1))
        parts.append(f"held out: predicted {percent(worst.predicted / worst.measured - 1, signed=True)} off")
    return "; ".join(parts)


def raised(text: str) -> str:
    """`6.4e+04` as `6.4·10⁴`: one notation for large and small numbers."""

    def power(match: re.Match[str]) -> str:
        return f"{match[1]}·10{str(int(match[2].replace('−', '-'))).translate(SUPERSCRIPTS)}"

    return re.sub(r"(\d[\d.]*)e([+−-]?\d+)", power, text)


def _source(study: StudyTables) -> str:
    """How many runs the study has, and at which commits of saescale they were trained."""
    if study.runs is None:
        return ""
    count = len(study.runs)
    runs = f"{count:,} run{'s' * (count != 1)}"
    if "git_sha" not in study.runs.columns:
        return (
            f"{runs}; the table does not name their commit."
            if "run_id" in study.runs.columns
            else f"{count:,} rows."
        )
    counts = study.runs["git_sha"].dropna().astype(str).str[:7].value_counts(sort=False)
    commits = {str(commit): int(number) for commit, number in counts.items()}
    each = ", ".join(f"{name} ({number:,})" if len(commits) > 1 else name for name, number in commits.items())
    unknown = int(study.runs["git_sha"].isna().sum())
    rest = f", {unknown:,} of an unknown commit" if unknown else ""
    return f"{runs} at commit {each or 'unknown'}{rest if each else ''}."


def latex_text(text: str) -> str:
    """Plain text for LaTeX: special characters escaped, Greek letters and signs as mathematics."""
    text = "".join(SPECIAL.get(c, c) for c in text)
    text = re.sub(r"([⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+)", lambda m: f"$^{{{m[1].translate(LOWERED)}}}$", text)
    text = re.sub(r"([₀₁₂₃₄₅₆₇₈₉₊₋]+)", lambda m: f"$_{{{m[1].translate(LOWERED)}}}$", text)
    text = re.sub(r"([α-ω])\\_(\w)", lambda m: f"${TEX.get(m[1], m[1])}_{{{m[2]}}}$", text)
    text = re.sub(r"\bL∞", r"$L_{\\infty}$", text)
    text = re.sub(r"\b([A-Za-z])\\textasciicircum\{\}([A-Za-z])\b", r"$\1^{\2}$", text)
    text = "".join(f"${TEX[c]}$" if c in TEX else c for c in _outside(text))
    for sign, latex in QUOTED.items():
        text = text.replace(sign, latex)
    return text


def _outside(text: str) -> list[str]:
    """The letters of a text; a piece between dollars is one letter."""
    return re.findall(r"\$[^$]*\$|\\\$|.", text, flags=re.DOTALL)


def latex_formula(formula: str) -> str:
    """The formula of a law as inline mathematics."""
    if not re.fullmatch(r"[\w\s()^·−+=,.*/α-ωE-]*", formula):
        return latex_text(formula)
    math = re.sub(r"\^\(([^()]*)\)", r"^{\1}", formula)
    math = re.sub(r"\^([−-]?\w+)", r"^{\1}", math)
    math = re.sub(r"_(\w+)", r"_{\1}", math)
    math = re.sub(r"\b(exp|ln|log|min|max)\b", r"\\\1 ", math)
    math = re.sub(r"(?<![\\A-Za-z])([A-Za-z]{2,})(?![A-Za-z])", lambda m: rf"\mathrm{{{m[1]}}}", math)
    math = math.replace("*", r"^{*}")
    return "$" + "".join(TEX[c] + " " * (TEX[c][-1].isalpha()) if c in TEX else c for c in math) + "$"
