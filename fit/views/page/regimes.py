"""The two regimes side by side: L(C), the best use of compute, and L(N), trained to convergence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fit.compute.frontier import LOOSER
from fit.data.number_format import percent, significant
from fit.law.errors import FitError
from fit.regimes.batch import Batch
from fit.regimes.lr_ratio import Ratio
from fit.views.page.fit_format import REGIMES, group_name, held_out_error, interval
from fit.views.page.render import MISSING
from fit.views.page.run_table import cell_text, known
from fit.views.page.source import Fit, Source
from fit.views.text import batch_effect, lr_ratio

# Of each regime: the law of the loss, and that of the best learning rate.
LAWS = {"compute": ("L_C", "LR_C"), "converged": ("L_N", "LR_N")}


@dataclass(frozen=True)
class LearningRateLaw:
    """A law of the best learning rate, with the interval of each parameter."""

    formula: str
    parameters: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Side:
    """One of the two regimes at one k."""

    formulas: tuple[str, ...]
    exponent: str
    floor: str
    held_out_error: str
    learning_rates: tuple[LearningRateLaw, ...]
    batch: str


@dataclass(frozen=True)
class Budget:
    """The compute-optimal and the converged budget of one n, read off its best run."""

    n_latents: str
    compute_tokens: str
    converged_tokens: str
    token_ratio: str | None
    compute_loss: str
    converged_loss: str
    loss_gap: str | None


@dataclass(frozen=True)
class Group:
    """The comparison at one k. findings: the ratio of the best learning rates, and which inputs were missing."""

    name: str
    sides: tuple[Side, ...]
    findings: tuple[str, ...]
    floors: tuple[str, ...]
    budgets: tuple[Budget, ...]


@dataclass(frozen=True)
class RegimesSection:
    """lead: why there is no comparison, else None. caution: what comparing n under L(C) means."""

    lead: str | None
    caution: str | None
    groups: tuple[Group, ...]
    reasons: tuple[str, ...]


def regimes(source: Source) -> RegimesSection:
    """The facts of the section."""
    compared = source.regimes
    if not compared:
        fitted = {fit.get("regime") for fit in source.laws}
        names = " and ".join(name for regime, name in REGIMES.items() if regime in fitted)
        lead = (
            f"Only laws {names} are fitted: there is nothing to compare."
            if names
            else "Neither has a law yet."
        )
        return RegimesSection(lead, LOOSER if "compute" in fitted else None, (), ())
    groups = [_group(source, group, compared) for group in compared.get("groups") or []]
    reasons = tuple(compared.get("reasons") or ())
    return RegimesSection(None, compared.get("caution") or LOOSER, tuple(groups), reasons)


def _group(source: Source, group: Mapping[str, Any], compared: Mapping[str, Any]) -> Group:
    columns = group.get("group") or {}
    ratio = _made(Ratio, group.get("ratio") or {})
    findings = [*(lr_ratio(ratio) if ratio else []), *(group.get("reasons") or [])]
    floors = [
        f"{floor['law']} {interval(floor)}"
        for floor in compared.get("floors") or []
        if floor.get("k") == columns.get("k")
    ]
    return Group(
        name=group_name(columns),
        sides=tuple(
            _side(_fits(source, law, columns), _fits(source, lr, columns), _batch(group, regime))
            for regime, (law, lr) in LAWS.items()
        ),
        findings=tuple(line.strip() for line in findings),
        floors=tuple(floors),
        budgets=tuple(_budget(row) for row in group.get("budgets") or []),
    )


def _fits(source: Source, law: str, group: Mapping[str, Any]) -> list[Fit]:
    """The fits of one law whose group does not contradict this one."""
    return [
        fit
        for fit in source.laws
        if fit["law"] == law and all((fit.get("group") or {}).get(k, v) == v for k, v in group.items())
    ]


def _side(fits: Sequence[Fit], learning_rates: Sequence[Fit], batch: str) -> Side:
    laws = [
        LearningRateLaw(
            str(fit.get("formula")),
            tuple((name, interval(param)) for name, param in (fit.get("params") or {}).items()),
        )
        for fit in learning_rates
    ]
    return Side(
        formulas=tuple(dict.fromkeys(str(fit.get("formula")) for fit in fits)),
        exponent=_once(fits, lambda fit: interval((fit.get("params") or {}).get("alpha"))),
        floor=_once(fits, lambda fit: interval((fit.get("params") or {}).get("E"))),
        held_out_error=_once(fits, held_out_error),
        learning_rates=tuple(dict.fromkeys(laws)),
        batch=batch,
    )


def _once(fits: Sequence[Fit], describe: Callable[[Fit], str]) -> str:
    """The different descriptions of the fits; a dash without fits."""
    return "; ".join(dict.fromkeys(map(describe, fits))) or MISSING


def _batch(group: Mapping[str, Any], regime: str) -> str:
    for raw in group.get("batch") or []:
        test = _made(Batch, raw)
        if test is not None and test.regime == regime:
            return batch_effect(test)
    return MISSING


def _made(kind: Any, raw: Mapping[str, Any]) -> Any:
    """The frozen result of plain data, None where fits.json is of another make."""
    try:
        return kind.from_dict(raw)
    except (FitError, KeyError, TypeError, ValueError):
        return None


def _budget(row: Mapping[str, Any]) -> Budget:
    ratio, gap = row.get("token_ratio"), row.get("loss_gap")
    return Budget(
        n_latents=cell_text(row["n_latents"]),
        compute_tokens=_tokens(row["compute"].get("tokens")),
        converged_tokens=_tokens(row["converged"].get("tokens")),
        token_ratio=None if ratio is None else f"{ratio:.1f}",
        compute_loss=cell_text(row["compute"].get("nmse"), "nmse"),
        converged_loss=cell_text(row["converged"].get("nmse"), "nmse"),
        loss_gap=None if gap is None else percent(gap, signed=True),
    )


def _tokens(value: float | None) -> str:
    return significant(value, 3) if value is not None and known(value) else MISSING
