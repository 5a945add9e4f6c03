"""CPU seconds of a training step and of its indispensable pieces, compared with peers' steps. `make bench-step`

One thread, d = 384, n = 8,192, k = 32, a batch of 4,096 tokens, fp32. The pieces are the encoder's product
(B, d)·(d, n), the k largest of each of its rows (torch.topk), and a fused Adam step on all weights. Our rows are the
gradients alone, and the whole step with projection, Adam, unit norm and weight average. The contenders take turns, and
the times are medians over the rounds.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks import record
from benchmarks.train.case import CPU, QUICK, WARM, Case, Clock, batches, read_rows, write_rows
from benchmarks.train.contenders import PEERS_PYTHON, in_its_own_process, missing
from benchmarks.train.ours import Memory, a_run
from kernels.topk import topk
from sae_core.training.gradients import StepOptions, gradients_
from sae_core.training.memory import tokens_at_once

PACKAGES = ("saescale", "torch", "numpy")
PIECES = ("encoder product", "torch.topk", "fused Adam")
OURS, GRADIENTS, OUR_TOPK = "our step", "our gradients", "kernels.topk"
_PEERS = ("eai-sparsify", "sae-lens")
_MOST = 1.35  # the goal: our step takes at most this many times the sum of the pieces


def works(case: Case, x: Tensor) -> dict[str, Callable[[Tensor], object]]:
    """The calls to time in this process. Each takes a batch (B, d)."""
    source = Memory(x)
    run, other = a_run(case, source), a_run(case, source)
    W = torch.randn(case.n, case.d, generator=torch.Generator().manual_seed(0)) / case.d**0.5
    z = x[: case.batch_tokens] @ W.T
    weights = [torch.nn.Parameter(torch.randn_like(p)) for p in run.sae.parameters()]
    for p in weights:
        p.grad = torch.randn_like(p)
    adam = torch.optim.Adam(weights, fused=True)
    product = torch.empty_like(z)  # preallocated, so that only the product is timed
    options = StepOptions(source.denominator, rows=tokens_at_once(run.config.sae, case.batch_tokens, None))
    return {
        PIECES[0]: lambda batch: torch.mm(batch, W.T, out=product),
        PIECES[1]: lambda batch: torch.topk(z, case.k, dim=1, sorted=False),
        PIECES[2]: lambda batch: adam.step(),
        OUR_TOPK: lambda batch: topk(z, case.k),
        GRADIENTS: lambda batch: gradients_(other.sae, batch, options),
        OURS: run.step,
    }


def compare(
    case: Case, rounds: int, folder: Path, python: Path, absent: Mapping[str, str]
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """CPU seconds of every lap of every contender, and the error of each peer that failed."""
    x = read_rows(folder)
    stream, timed = batches(x, case), works(case, x)
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    failed: dict[str, str] = {}
    clock = Clock()
    for turn in range(WARM + rounds * case.laps):
        batch = next(stream)
        for name, work in timed.items():
            clock.lap()
            work(batch)
            seconds[name].append(clock.lap())
        if turn >= WARM and (turn - WARM) % case.laps == 0:
            for peer in (name for name in _PEERS if name not in absent and name not in failed):
                found = in_its_own_process(peer, case, folder, python)
                if isinstance(found, str):
                    failed[peer] = found
                else:
                    seconds.setdefault(peer, []).extend(found[0]["seconds"])
    return {name: laps[0 if name in _PEERS else WARM :] for name, laps in seconds.items()}, failed


def rows_of(
    case: Case, seconds: Mapping[str, Sequence[float]], failed: Mapping[str, str]
) -> list[dict[str, Any]]:
    """One row per contender, with its time divided by the sum of the pieces."""
    pieces = sum(median(seconds[name]) for name in PIECES)
    sizes = {"d": case.d, "n": case.n, "k": case.k, "batch_tokens": case.batch_tokens}
    rows: list[dict[str, Any]] = []
    for name, laps in seconds.items():
        times = {"cpu_s": median(laps), "least": min(laps), "most": max(laps), "laps": len(laps)}
        rows.append({"work": name, **sizes, **times, "over_pieces": median(laps) / pieces})
    return [*rows, *({"work": name, **sizes, "failed": why} for name, why in failed.items())]


def as_table(rows: Sequence[Mapping[str, Any]], absent: Mapping[str, str]) -> str:
    """Format the rows as a table, followed by the goal."""
    lines = [f"{'work':<18}{'CPU s':>9}{'least':>9}{'most':>9}{'× pieces':>10}"]
    for row in rows:
        if "failed" in row:
            lines.append(f"{row['work']:<18} failed: {row['failed']}")
            continue
        times = "".join(f"{row[name]:9.4f}" for name in ("cpu_s", "least", "most"))
        lines.append(f"{row['work']:<18}{times}{row['over_pieces']:10.3f}")
    lines += [f"{name}: missing: {absent[name]}" for name in _PEERS if name in absent]
    times_of = {row["work"]: row["cpu_s"] for row in rows if "cpu_s" in row}
    step, pieces = times_of[OURS], sum(times_of[name] for name in PIECES)
    strict = pieces - times_of["torch.topk"] + times_of[OUR_TOPK]
    met = "met" if step <= _MOST * pieces else "missed"
    lines.append(
        f"our step ≤ {_MOST} × {' + '.join(PIECES)} = {pieces:.4f} s: {step / pieces:.3f}, {met}; "
        f"with {OUR_TOPK} as the piece: {step / strict:.3f}"
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    p = record.parser("step_cpu", __doc__)
    p.add_argument("--rounds", type=int, default=3, help="processes of each peer")
    p.add_argument("--laps", type=int, default=5, help="of each work a round")
    p.add_argument("--quick", action="store_true", help="tiny shapes, one round: does it run?")
    p.add_argument(
        "--peers", type=Path, default=PEERS_PYTHON, metavar="PYTHON", help="the peers' interpreter"
    )
    p.add_argument("--results", type=Path, default=record.RESULTS, help="where the rows go")
    options = p.parse_args(arguments)
    if torch.cuda.is_available():
        print("benchmarks.step_cpu measures CPUs: hide the GPU with CUDA_VISIBLE_DEVICES= .", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    shape = QUICK if options.quick else CPU
    rounds, laps = (1, 2) if options.quick else (options.rounds, options.laps)
    case, absent = Case(shape.d, shape.n, shape.k, shape.batch_tokens, laps), missing(options.peers)
    with tempfile.TemporaryDirectory() as folder:
        write_rows(shape, Path(folder))
        rows = rows_of(case, *compare(case, rounds, Path(folder), options.peers, absent))
    print(
        f"d = {case.d}, n = {case.n}, k = {case.k}, batch of {case.batch_tokens} tokens, {record.machine()}"
    )
    print(as_table(rows, absent))
    print(f"added to {record.append('step_cpu', rows, PACKAGES, options.results)}")
    return 1 if any("failed" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
