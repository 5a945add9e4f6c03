"""What the sweep cost: hours of GPU or CPU, tokens, their pace, and FLOPs in both conventions, a row a phase."""

import pandas as pd

from fit.views.page import states
from fit.views.page.cells_format import known, names, shown, values
from fit.views.page.markup import Html, join, table, tag
from fit.views.page.source import Source

HOUR = 3600.0


def hours(runs: pd.DataFrame) -> tuple[float, str] | None:
    """Hours of training and whose: GPU-hours where they are known, else hours of CPU; None where neither is."""
    gpu, every = values(runs, "gpu_seconds").sum(min_count=1), values(runs, "train_seconds").sum(min_count=1)
    if known(gpu):
        return float(gpu) / HOUR, "GPU-hours"
    return (float(every) / HOUR, "CPU-hours") if known(every) else None


def cost(source: Source) -> Html:
    """The section."""
    runs = source.runs
    if not {"train_seconds", "gpu_seconds", "flops_sparse", "flops_dense", "tokens"} & set(runs.columns):
        return tag("p", "The table has neither time nor FLOPs nor tokens.")
    head = [
        "phase",
        "runs",
        "tokens",
        "GPU-hours",
        "CPU-hours",
        "tokens/s, median",
        "FLOPs, sparse",
        "FLOPs, dense",
    ]
    study = names(runs, "study")
    rows = [_row(name or "all runs", runs[study == name]) for name in sorted(study.unique())]
    if len(rows) > 1:
        rows.append(_row("total", runs))
    about = [
        "Hours are those spent on a run's own training steps; of a pack each run has its share.",
        *_gaps(runs),
    ]
    return join([table("Cost by phase", head, rows), tag("p", " ".join(about), class_="note")])


def _row(name: str, part: pd.DataFrame) -> list[str]:
    gpu = values(part, "gpu_seconds")
    cpu = values(part, "train_seconds")[gpu.isna()]
    totals = [values(part, "tokens"), gpu / HOUR, cpu / HOUR]
    compute = [values(part, f"flops_{kind}") for kind in ("sparse", "dense")]
    return [
        name,
        f"{len(part):,}",
        *(shown(total.sum(min_count=1)) for total in totals),
        shown(values(part, "tokens_per_second").median()),
        *(shown(total.sum(min_count=1), "flops") for total in compute),
    ]


def _gaps(runs: pd.DataFrame) -> list[str]:
    """What the sums leave out: runs that have not begun, or did not write their time."""
    begun = runs[~states.states(runs).isin(["pending"])]
    without = int(values(begun, "train_seconds").isna().sum())
    return (
        [f"{without:,} of {len(begun):,} runs that have begun have no time and count as none."]
        if without
        else []
    )
