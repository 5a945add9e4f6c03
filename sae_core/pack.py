"""A pack: many runs trained by one process over one stream of activations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sae_core.geometric_median import geometric_median
from sae_core.run import Run
from sae_core.source import Source

_MEDIAN_ROWS = 32_768  # rows for b_pre's geometric median, as released code takes


@dataclass(frozen=True)
class Event:
    """What happened to one run: "step", "evaluated" (with the row of its curve), "done", "diverged" or "failed"."""

    run: Run
    kind: str
    row: dict[str, Any] | None = None
    error: Exception | None = None


def start_point(source: Source) -> Tensor:
    """b_pre at the start of every run on this source: the geometric median of a sample, (d,)."""
    return geometric_median(source.sample(_MEDIAN_ROWS))


def train_pack(runs: Sequence[Run], source: Source, device: str | torch.device = "cpu") -> Iterator[Event]:
    """Train `runs` to their ends, yielding an `Event` after each thing that happens to one of them.

    The runs furthest behind go first, all those at one position of the stream with the same batch and order share the
    batch. A run sees only its own batches, so its result does not depend on who else is in the pack. A run that ends
    or is abandoned leaves; one that fails leaves too, and the others go on. Between two events every run stands
    between two steps, so the caller may save any of them.
    """
    left = []
    for run in runs:
        ended = run.outcome()  # saved after its last evaluation, stopped before its end was written down
        if ended is None:
            left.append(run)
        else:
            yield Event(run, ended, run.curve[-1])
    del runs  # a run that has ended gives its memory back
    held_out = source.held_out().to(device)
    while left := [run for run in left if not run.abandoned]:
        front = min(run.tokens for run in left)
        batches: dict[tuple[int, int], Tensor] = {}
        for run in [run for run in left if run.tokens == front]:
            key = (run.config.train.batch_tokens, run.config.data.shuffle_seed)
            if key not in batches:
                batches[key] = source.rows(front, *key).to(device, non_blocking=True)
            for event in _advance(run, batches[key], held_out):
                if event.kind in ("done", "diverged", "failed"):
                    left.remove(run)
                yield event


def _advance(run: Run, x: Tensor, held_out: Tensor) -> Iterator[Event]:
    """One step of one run, and its evaluation where one is due."""
    try:
        run.step(x)
        if run.tokens < run.next_evaluation():
            yield Event(run, "step")
            return
        row = run.evaluate(held_out)
        outcome = run.outcome()
    except Exception as error:  # whatever it is, it ends this run and not its neighbours
        yield Event(run, "failed", error=error)
        return
    yield Event(run, "evaluated", row)
    if outcome is not None:
        yield Event(run, outcome, row)
