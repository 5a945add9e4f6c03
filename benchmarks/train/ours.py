"""Our contenders in benchmarks/train/__main__.py: a step with AuxK off and on, packs of runs, and a store on disk."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.train.case import WARM, Case, Clock, batches, device
from sae_core.config import DataKey, RunConfig, SAEConfig, TrainConfig
from sae_core.data.source import Source
from sae_core.training.pack import train_pack
from sae_core.training.run import Run

PRECISION = {"cpu": "fp32", "cuda": "bf16"}
_LONG = 2**40  # tokens; no benchmark reaches the end or an evaluation
_HELD_OUT = 64


class Memory:
    """A `Source` of rows in memory, repeated in the same order."""

    fingerprint = "rows in memory"

    def __init__(self, x: Tensor) -> None:
        self.x, self.d_model = x, x.shape[1]
        self.denominator = float((x - x.mean(0)).pow(2).sum(1).mean())

    def rows(self, start: int, size: int, seed: int) -> Tensor:
        start %= len(self.x)
        assert start + size <= len(self.x), "batches divide the rows"
        return self.x[start : start + size]

    def held_out(self) -> Tensor:
        return self.x[:_HELD_OUT]

    def sample(self, rows: int) -> Tensor:
        return self.x[:rows]

    def oracle(self, n_latents: int) -> float | None:
        return None


def a_run(case: Case, source: Source, auxk: float = 0.0, seed: int = 0) -> Run:
    """A run that neither ends nor is evaluated within the benchmark. auxk: its α; 0 switches AuxK off."""
    train = TrainConfig(
        lr=1e-4 * (1 + seed),
        batch_tokens=case.batch_tokens,
        max_tokens=_LONG,
        first_eval_tokens=_LONG,
        precision=PRECISION[device()],
    )
    sae = SAEConfig(n_latents=case.n, k=case.k, auxk_coef=auxk)
    config = RunConfig(DataKey(source.fingerprint, case.d), sae, train, seed).resolved()
    return Run(config, source.sample(32_768).mean(0).to(device()), source.denominator, device())


def step(case: Case, x: Tensor, folder: Path) -> list[dict[str, Any]]:
    """A whole step, alternately with AuxK off and on. With AuxK on, all latents are checked and none is dead."""
    source = Memory(x)
    off, on = a_run(case, source), a_run(case, source, auxk=1 / 32)
    on.tokens = 2 * on.config.sae.dead_tokens  # enough for inactive latents to count as dead
    on.last_active.fill_(on.tokens)
    stream, clock = batches(x, case), Clock()
    seconds: dict[str, list[float]] = {"step": [], "step with AuxK, none dead": []}
    for turn in range(case.steps):
        batch = next(stream)
        pairs = list(zip(seconds, (off, on), strict=True))
        for name, run in pairs if turn % 2 else reversed(pairs):
            clock.lap()
            run.step(batch)
            seconds[name].append(clock.lap())
    assert on.tokens > on.config.sae.dead_tokens and on.dead() is None and on.flops_auxk == 0
    without, with_ = (laps[WARM:] for laps in seconds.values())
    over = [b / a for a, b in zip(without, with_, strict=True)]
    names = list(seconds)
    return [{"task": names[0], "seconds": without}, {"task": names[1], "seconds": with_, "over_off": over}]


def pack(case: Case, x: Tensor, folder: Path, runs: int) -> list[dict[str, Any]]:
    """A step of each of `runs` runs, with different seeds and learning rates, on one source in memory."""
    source = Memory(x.cpu())
    members = [a_run(case, source, seed=seed) for seed in range(runs)]
    events, clock, seconds = train_pack(members, source, device()), Clock(), []
    for _ in range(case.steps):
        _round(events, runs)
        seconds.append(clock.lap())
    return [{"task": "pack", "runs": runs, "seconds": seconds[WARM:]}]


def store(case: Case, x: Tensor, folder: Path) -> list[dict[str, Any]]:
    """A pack of one run, alternately from a store on disk and memory. wait_share: share of time spent waiting."""
    from sae_core.data.disk.import_array import from_array  # here, because only this task needs safetensors
    from sae_core.data.disk.store import Store

    memory = Memory(x.cpu())
    disk = Store(from_array(memory.x, folder / f"store-{case.n}", held_out=_HELD_OUT, dtype="float16"))
    runs = [a_run(case, memory), a_run(case, disk)]
    from_memory = train_pack(runs[:1], memory, device())
    from_disk = train_pack(runs[1:], disk, device())
    clock, over, seconds = Clock(), [], []
    waited = trained = 0.0
    for turn in range(case.steps):
        if turn == WARM:
            waited, trained = runs[1].wait_seconds, runs[1].train_seconds
        clock.lap()
        _round(from_memory, 1)
        base = clock.lap()
        _round(from_disk, 1)
        seconds.append(clock.lap())
        over.append(seconds[-1] / base)
    waited, trained = runs[1].wait_seconds - waited, runs[1].train_seconds - trained
    share = waited / (waited + trained)
    row = {"task": "pack from a store", "runs": 1, "seconds": seconds[WARM:], "over_memory": over[WARM:]}
    return [{**row, "wait_share": [share]}]


def _round(events: Iterator[Any], runs: int) -> None:
    """Do one step of every run. A run that fails ends the benchmark."""
    for _ in range(runs):
        event = next(events)
        if event.kind != "step":
            raise event.error or RuntimeError(f"a run of the benchmark was {event.kind} after a step.")


TASKS = {"step": step, "store": store, **{f"pack{m}": partial(pack, runs=m) for m in (1, 4, 8, 16)}}
