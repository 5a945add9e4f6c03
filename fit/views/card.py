"""A fit as one paragraph for a paper, in plain text, LaTeX or Markdown: `saescale fit TABLE --as latex`.

In Python: `print(cards(fits_file.read(Path("fits.json")).fits, "latex"))`.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fit.compute.optima import CROSSOVERS, ISOFLOP
from fit.data.flops import described
from fit.law.caution import Kind
from fit.law.checks.held_out import HeldOut
from fit.law.errors import FitError
from fit.law.intervals.choose import NONE
from fit.law.options import DROP
from fit.law.result import FitResult, Param
from fit.law.selection import ConvergedSelection, FrontierSelection, OptimumSelection
from fit.views.format import LETTERS, greek, percent, scale, symbol, with_interval

TEXT, LATEX, MARKDOWN = STYLES = ("text", "latex", "markdown")
# What a reader of a paper must know. That the rows refute the law comes first of all; the kinds that are not here are
# about the fit's making, or said elsewhere in the paragraph.
TOLD = (
    Kind.NOT_IDENTIFIED,
    Kind.INTERVALS,
    Kind.CORRELATED,
    Kind.TRADE_OFF,
    Kind.NO_FLOOR,
    Kind.RISING,
    Kind.ANOTHER_LAW,
    Kind.LOWER_AICC,
    Kind.DISAGREEMENT,
    Kind.OUTLIERS,
    Kind.EDGE,
    Kind.ROWS,
)
METHODS = {"profile": "profile likelihood", "delta": "the delta method"}
SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    **{letter: rf"\{letter}" for letter in "_%&#$"},
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
    "`": "'",
    "–": "--",
    "…": r"\dots{}",
    "“": "``",
    "”": "''",
    "’": "'",
}
CODE_OR_NUMBER = re.compile(r"(`[^`]*`|\d(?:\.\d+)?e[+−-]\d+)")
# Letters and signs that plain LaTeX writes in math mode.
MATH = {
    **dict(zip("αβγδεζηθκλμνξπρστφχψω", (
        r"\alpha \beta \gamma \delta \varepsilon \zeta \eta \theta \kappa \lambda \mu \nu \xi \pi \rho \sigma \tau "
        r"\varphi \chi \psi \omega"
    ).split(), strict=True)),
    "Δ": r"\Delta", "Σ": r"\Sigma", "Φ": r"\Phi", "Ω": r"\Omega",
    "−": "-", "·": r"\cdot", "×": r"\times", "∞": r"\infty", "±": r"\pm", "≈": r"\approx", "≤": r"\le", "≥": r"\ge",
    "∝": r"\propto", "√": r"\surd", "∂": r"\partial", "→": r"\to", "¹": "^1", "²": "^2", "³": "^3", "½": r"\tfrac12",
}  # fmt: skip


def cards(fits: Sequence[FitResult], style: str = TEXT) -> str:
    """A paragraph for each fit, separated by empty lines."""
    return "\n\n".join(card(fit, style) for fit in fits)


def card(fit: FitResult, style: str = TEXT) -> str:
    """One paragraph about a fit: its law, rows, estimates with intervals, held-out error, and what limits it.

    style: text, latex (compiles with amsmath alone) or markdown. FitError for any other.
    """
    if style not in STYLES:
        raise FitError(f"There are no cards as {style}: choose {', '.join(STYLES)}.")
    write = {TEXT: Plain(), LATEX: Latex(), MARKDOWN: Markdown()}[style]
    sentences = [
        *([write.words(fit.refutation)] if fit.refutation else []),
        f"{write.words('We fitted')} {write.formula(fit)} {write.words(f'to {_rows(fit)} by {_objective(fit)}.')}",
        _estimates(fit, write),
        *(write.words(sentence) for sentence in _quality(fit)),
        *(write.words(sentence) for sentence in _cautions(fit)),
    ]
    return f"{write.title(_title(fit))} {' '.join(filter(None, sentences))}"


class Plain:
    """Writes the parts of a paragraph as plain text."""

    def title(self, text: str) -> str:
        return f"{text}."

    def words(self, text: str) -> str:
        return text

    def formula(self, fit: FitResult) -> str:
        return fit.formula

    def estimate(self, name: str, param: Param) -> str:
        return f"{greek(name)} = {with_interval(param.value, param.low, param.high)}"


class Markdown(Plain):
    """The same as Markdown: letters that it would take for emphasis are escaped, formulae are math."""

    def title(self, text: str) -> str:
        return f"**{self.words(text)}.**"

    def words(self, text: str) -> str:
        parts = re.split(r"(`[^`]*`)", text)
        return "".join(
            part if part[:1] == "`" else re.sub(r"([\\`*_\[\]<>|#$])", r"\\\1", part) for part in parts
        )

    def formula(self, fit: FitResult) -> str:
        return f"${fit.latex}$" if fit.latex else self.words(fit.formula)

    def estimate(self, name: str, param: Param) -> str:
        return self.words(super().estimate(name, param))


class Latex(Plain):
    """The same as LaTeX, in ASCII: every other letter and each special one is written as a command."""

    def title(self, text: str) -> str:
        return rf"\paragraph{{{self.words(text)}.}}"

    def words(self, text: str) -> str:
        parts = CODE_OR_NUMBER.split(unicodedata.normalize("NFC", text))
        return "".join(_tex_part(part) for part in parts)

    def formula(self, fit: FitResult) -> str:
        return f"${fit.latex}$" if fit.latex else self.words(fit.formula)

    def estimate(self, name: str, param: Param) -> str:
        if param.value is None:
            return f"${_tex_symbol(name)}$ undefined"
        value, ends = with_interval(param.value, param.low, param.high).split(" ", 1)
        return rf"${_tex_symbol(name)} = {_tex_number(value)}$ ${_tex_number(ends)}$"


def _tex_part(part: str) -> str:
    """Words, `code`, or a number with a power of ten, as LaTeX."""
    if CODE_OR_NUMBER.fullmatch(part) is None:
        return "".join(map(_tex_letter, part))
    if part.startswith("`"):
        return rf"\texttt{{{''.join(map(_tex_letter, part[1:-1]))}}}"
    return f"${_tex_number(part)}$"


def _tex_letter(letter: str) -> str:
    if letter in SPECIAL:
        return SPECIAL[letter]
    if letter in MATH:
        return f"${MATH[letter]}$"
    if letter.isascii():
        return letter
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return "".join(map(_tex_letter, plain)) if plain else f"[U+{ord(letter):04X}]"


def _tex_symbol(name: str) -> str:
    """`\\beta_k` for beta_k, `T_0` for T0, `\\mathit{slope}` for a name of several letters."""
    stem, _, below = name.partition("_")
    if stem in LETTERS and len(below) <= 1 or len(stem) == 1 and len(below) == 1:
        symbol = rf"\{stem}" if len(stem) > 1 else stem
        return f"{symbol}_{below}" if below else symbol
    if re.fullmatch(r"[A-Za-z]\d?", name):
        return "_".join(name)
    return rf"\mathit{{{''.join(map(_tex_letter, name))}}}"


def _tex_number(text: str) -> str:
    """`4.5 \\times 10^{4}` for 4.5e+04, and the ends of an interval as they are."""
    text = text.replace("−", "-").replace("∞", r"\infty")
    text = re.sub(r"(?<=\d),(?=\d{3})", "{,}", text)
    return re.sub(r"e([+-])0*(\d+)", lambda m: rf" \times 10^{{{m[1].replace('+', '')}{m[2]}}}", text)


def _title(fit: FitResult) -> str:
    method = f"by {_way(fit.selection.method)}" if isinstance(fit.selection, OptimumSelection) else ""
    return ", ".join(filter(None, [fit.law, _group(fit.group), method]))


def _way(method: str) -> str:
    return {ISOFLOP: "isoFLOP parabolas"}.get(method, method)


def _group(group: Mapping[str, Any]) -> str:
    return ", ".join(f"{symbol(name)} = {value}" for name, value in group.items() if value is not None)


def _objective(fit: FitResult) -> str:
    return fit.loss_text


def _rows(fit: FitResult) -> str:
    """What the law was fitted to, with the number of runs."""
    chosen = fit.selection
    compute = f"C in FLOPs ({described(fit.flops)})"
    match chosen:
        case OptimumSelection(budgets=int()):
            return f"the optima of {fit.rows} budgets with {chosen.runs} runs in all, {compute},"
        case OptimumSelection():
            return f"{fit.rows} {'crossovers' if chosen.method == CROSSOVERS else _way(chosen.method)}, {compute},"
        case FrontierSelection():
            return f"{fit.rows} points of the frontier of {chosen.runs} runs, {compute},"
        case ConvergedSelection():
            only_converged = chosen.unconverged_runs == DROP and not chosen.extrapolated
            kind = "converged runs" if only_converged else "runs"
            within = chosen.extrapolated != chosen.used
            epsilon = f" (ε = {100 * chosen.epsilon:g} %)" if chosen.epsilon and within else ""
            best = f", the best learning rate of {chosen.chosen_from} runs," if chosen.passed_over else ""
            limit = f", {chosen.extrapolated} of them at an extrapolated L∞" if chosen.extrapolated else ""
            return f"{fit.rows} {kind}{epsilon}{limit}{best}"
    return f"{fit.rows} rows"


def _estimates(fit: FitResult, write: Plain) -> str:
    """`The estimates are α = 0.357 [0.332, 0.382] and …, with 95 % intervals by profile likelihood.`"""
    one_by_one = [write.estimate(name, param) for name, param in fit.params.items()]
    together = ", ".join(one_by_one[:-1]) + f" and {one_by_one[-1]}" if len(one_by_one) > 1 else one_by_one[0]
    methods = {param.method for param in fit.params.values()} - {NONE}
    if not methods:
        how = "there are no intervals"
    else:
        how = f"with 95 % intervals by {' and '.join(sorted(map(_method, methods)))}"
    return f"{write.words('The estimates are')} {together}{write.words(f', {how}.')}"


def _method(method: str) -> str:
    name, *rest = method.split(" ", 1)
    name = METHODS.get(name.removesuffix(","), f"a {name}") + ("," if name.endswith(",") else "")
    return " ".join([name, *rest])


def _quality(fit: FitResult) -> Iterator[str]:
    """The residuals, and the held-out error."""
    residuals = (
        f"The residuals have a root mean square of {percent(fit.rms_log)}" if fit.rms_log is not None else ""
    )
    test = fit.lack_of_fit
    if residuals and test is not None and test.noise is not None:
        residuals += f", where {test.known_from} show a noise of {percent(test.noise)}"
        residuals += "" if test.refuted else ", so that the rows do not refute the law"
    if residuals:
        yield f"{residuals}."
    held = fit.held_out
    if held is None:
        yield "It was not tested on held-out scales."
        return
    above = scale(held.input, held.score.up_to).replace("=", " ≤ ")
    yield f"Fitted to {above} alone, the law is off by {_held_out(held)}."


def _held_out(held: HeldOut) -> str:
    if len(held.points) == 1:
        (point,) = held.points
        where = ", ".join(scale(name, value) for name, value in point.inputs.items())
        ends = {None: "", True: ", inside its 95 % interval", False: ", outside its 95 % interval"}[
            point.inside
        ]
        return f"{percent(point.relative_error, signed=True)} at {where}{ends}"
    known = [point.inside for point in held.points if point.inside is not None]
    inside = f", and {sum(known)} of {len(known)} lie inside their 95 % intervals" if known else ""
    return (
        f"the {held.score.held:,} values beyond by {percent(held.score.rms_log)} (root mean square){inside}"
    )


def _cautions(fit: FitResult) -> Iterator[str]:
    """What a reader of a paper must know, the gravest first, without advice to whoever made the fit."""
    for kind in TOLD:
        yield from (greek(caution.for_readers) for caution in fit.cautions if caution.kind is kind)
