"""The cost of the sweep by phase: GPU- or CPU-hours, tokens, tokens per second, and FLOPs in both conventions."""

from dataclasses import dataclass

import pandas as pd

from fit.views.page.run_table import as_floats, as_texts, cell_text, known, states
from fit.views.page.study_report import StudyReport

SECONDS_PER_HOUR = 3600.0
COLUMNS = ("train_seconds", "gpu_seconds", "flops_sparse", "flops_dense", "tokens")


@dataclass(frozen=True)
class Phase:
    """Sums over the runs of one phase, as texts; tokens_per_second is a median. A sum of no known values is a dash."""

    name: str
    runs: str
    tokens: str
    gpu_hours: str
    cpu_hours: str
    tokens_per_second: str
    flops_sparse: str
    flops_dense: str


@dataclass(frozen=True)
class Cost:
    """The cost of the sweep.

    phases: one row for each phase, and a total if there are several; empty if the table has no columns of cost.
    untimed: how many of the runs that have begun have no recorded time.
    """

    phases: tuple[Phase, ...] = ()
    begun: int = 0
    untimed: int = 0


def cost(report: StudyReport) -> Cost:
    """The facts of the section."""
    runs = report.runs
    if not set(COLUMNS) & set(runs.columns):
        return Cost()
    study = as_texts(runs, "study")
    phases = [_phase(name or "all runs", runs[study == name]) for name in sorted(study.unique())]
    if len(phases) > 1:
        phases.append(_phase("total", runs))
    begun = runs[states(runs) != "pending"]
    untimed = int(as_floats(begun, "train_seconds").isna().sum())
    return Cost(tuple(phases), len(begun), untimed)


def hours(runs: pd.DataFrame) -> tuple[float, str] | None:
    """Hours of training and their unit: GPU-hours if they are known, else CPU-hours; None if neither is known."""
    gpu = as_floats(runs, "gpu_seconds").sum(min_count=1)
    total = as_floats(runs, "train_seconds").sum(min_count=1)
    if known(gpu):
        return float(gpu) / SECONDS_PER_HOUR, "GPU-hours"
    return (float(total) / SECONDS_PER_HOUR, "CPU-hours") if known(total) else None


def _phase(name: str, runs: pd.DataFrame) -> Phase:
    gpu = as_floats(runs, "gpu_seconds")
    cpu = as_floats(runs, "train_seconds")[gpu.isna()]
    return Phase(
        name,
        f"{len(runs):,}",
        tokens=_total(as_floats(runs, "tokens")),
        gpu_hours=_total(gpu / SECONDS_PER_HOUR),
        cpu_hours=_total(cpu / SECONDS_PER_HOUR),
        tokens_per_second=cell_text(as_floats(runs, "tokens_per_second").median()),
        flops_sparse=_total(as_floats(runs, "flops_sparse"), "flops"),
        flops_dense=_total(as_floats(runs, "flops_dense"), "flops"),
    )


def _total(values: pd.Series, column: str = "") -> str:
    return cell_text(values.sum(min_count=1), column)
