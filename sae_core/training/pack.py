"""A pack: many runs trained by one process over one stream of activations."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sae_core.config import RunConfig
from sae_core.data.geometric_median import geometric_median
from sae_core.data.source import Source
from sae_core.data.stream import Stream, shared_chunks
from sae_core.training.evaluation import THRESHOLD_ROWS
from sae_core.training.run import Run
from sae_core.training.schedule import trunk

_MEDIAN_ROWS = 32_768  # rows for b_pre's geometric median, as many as in released code


@dataclass(frozen=True)
class Event:
    """What happened to one run: "step", "evaluated" (with the row of its curve), "done", "diverged" or "failed".

    more: whether further events of the same step follow, of this run or of those that branch off it.
    """

    run: Run
    kind: str
    row: dict[str, Any] | None = None
    error: Exception | None = None
    more: bool = False


def start_point(source: Source) -> Tensor:
    """The initial b_pre of every run on this source: the geometric median of a sample of rows, (d,)."""
    return geometric_median(source.sample(_MEDIAN_ROWS))


def train_pack(runs: Sequence[Run], source: Source, device: str | torch.device = "cpu") -> Iterator[Event]:
    """Train all `runs` until they end, and yield an `Event` for each step, evaluation, end and failure of a run.

    The runs that have seen the fewest tokens go first. Runs that read the same tokens in the same order share one
    stream, also if their batch sizes are multiples of one another (`sae_core.data.stream`). Of runs that are equal up
    to where their lr decays or their budgets end, only the one with the longest constant part is trained, and the
    others branch off it (`_Trunks`). These have the same events as if they were trained themselves; before the caller
    saves one, it calls `Run.catch_up`. A run's result does not depend on the other runs of the pack. A run that ends,
    fails or is abandoned leaves the pack, and the others go on; an abandoned run has no further event. No event is
    yielded in the middle of a step, so the caller may save any run after any event.
    """
    left = []
    for run in runs:
        ended = (
            run.outcome()
        )  # not None if a worker saved the last evaluation but stopped before it recorded the end
        if ended is None:
            left.append(run)
        else:
            yield Event(run, ended, run.curve[-1])
    del runs  # frees the memory of runs that have ended
    if not left:
        return
    held_out = source.held_out().to(device)
    training = None
    if any(run.config.sae.activation == "batchtopk" for run in left):
        training = source.sample(THRESHOLD_ROWS).to(device)
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        streams, trunks = _Streams(source, pool, device), _Trunks(left)
        while left := [run for run in left if not run.abandoned]:
            leading = trunks.leading(left)
            front = min(run.tokens for run in leading)
            streams.forget(leading)
            here = [run for run in leading if run.tokens == front]
            batches, waited = streams.batches(here)
            for run, x in zip(here, batches, strict=True):
                events = list(_advance(run, x, waited / len(here), held_out, training, alone=len(left) == 1))
                if events[-1].kind == "failed":
                    trunks.release(run)
                # Before the first of these events is yielded: at each of them the followers are as far as they can be.
                events += trunks.followers_events(run, held_out, training)
                for number, event in enumerate(events, 1):
                    if event.run.abandoned:  # by the caller, at an event before
                        continue
                    if event.kind in ("done", "diverged", "failed"):
                        left.remove(event.run)
                    yield replace(event, more=number < len(events))


class _Trunks:
    """Which runs are not trained now, because another run of the pack has the same weights as they would.

    Runs with the same trunk, as many tokens and a constant lr from there on have the same state. The one of them whose
    lr is constant for longest is trained; the others follow it: they take over its state at each of their evaluations,
    where their own constant parts end, and when the caller wants to save them. A killed worker leaves a follower where
    it last did, which may be behind the run that it follows. It is then trained alone until it is as far, and follows
    again.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._trunk = {id(run): trunk(run.config) for run in runs}
        self._followers: dict[int, list[Run]] = {}  # of the id of the run that they follow

    def leading(self, left: Sequence[Run]) -> list[Run]:
        """The runs to train: all but the followers. Those of a run that ended or was abandoned take over its state."""
        there = {id(run) for run in left}
        for run in left:
            if run.leader is not None and id(run.leader) not in there:
                run.catch_up()
        followers = {
            leader: [run for run in runs if id(run) in there]
            for leader, runs in self._followers.items()
            if leader in there
        }
        waiting = {id(run) for runs in followers.values() for run in runs}
        same: dict[tuple[RunConfig, int], list[Run]] = {}
        for run in left:
            if id(run) not in waiting and run.tokens < run.config.train.constant_tokens:
                same.setdefault((self._trunk[id(run)], run.tokens), []).append(run)
        for runs in same.values():
            leader = max(runs, key=lambda run: run.config.train.constant_tokens)
            joined = [run for run in runs if run is not leader]
            # Those that follow one of the joined runs now follow the leader, which has the same state.
            for run in list(joined):
                joined += followers.pop(id(run), [])
            followers[id(leader)] = [*followers.get(id(leader), []), *joined]
        self._followers = {leader: runs for leader, runs in followers.items() if runs}
        leader_of = {id(run): leader for leader in left for run in self._followers.get(id(leader), ())}
        for run in left:
            run.leader = leader_of.get(id(run))
        waiting = {*leader_of}
        return [run for run in left if id(run) not in waiting]

    def release(self, leader: Run) -> None:
        """Let the followers of a run that failed go on from where they are: its own state may be of half a step."""
        for run in self._followers.pop(id(leader), ()):
            run.leader = None

    def followers_events(self, leader: Run, held_out: Tensor, training: Tensor | None) -> Iterator[Event]:
        """Bring the followers of a run to where it is now, as far as they have something to do there."""
        for run in list(self._followers.get(id(leader), ())):
            at_its_end = leader.tokens == run.config.train.constant_tokens
            if run.abandoned:
                continue
            if leader.tokens < run.next_evaluation() and not at_its_end:
                yield Event(run, "step")
                continue
            try:
                row = run.follow(leader, held_out, training)
                outcome = run.outcome()
            except Exception as error:
                self._leave(leader, run)
                yield Event(run, "failed", error=error)
                continue
            if at_its_end or outcome is not None:
                self._leave(leader, run)
            yield Event(run, "step") if row is None else Event(run, "evaluated", row)
            if outcome is not None:
                yield Event(run, outcome, row)

    def _leave(self, leader: Run, run: Run) -> None:
        self._followers[id(leader)].remove(run)
        run.leader = None


class _Streams:
    """The streams of a pack: one for each pair of chunk size and shuffle seed."""

    def __init__(self, source: Source, pool: ThreadPoolExecutor, device: str | torch.device) -> None:
        self._new = partial(Stream, source, pool=pool, device=device)
        self._streams: dict[tuple[int, int], Stream] = {}
        self._chunks: dict[int, int] = {}

    def forget(self, left: Sequence[Run]) -> None:
        """Drop the data that no remaining run will read. When a run ends, others may come to share a stream."""
        self._chunks = shared_chunks(run.config.train.batch_tokens for run in left)
        front: dict[tuple[int, int], int] = {}
        for run in left:
            key = self._key(run)
            front[key] = min(front.get(key, run.tokens), run.tokens)
        self._streams = {key: stream for key, stream in self._streams.items() if key in front}
        for key, stream in self._streams.items():
            stream.forget(front[key])

    def batches(self, runs: Sequence[Run]) -> tuple[list[Tensor], float]:
        """The next batch of each run, and the seconds spent waiting for them. An error in the source ends the pack."""
        began = time.perf_counter()
        return [self._batch(run) for run in runs], time.perf_counter() - began

    def _batch(self, run: Run) -> Tensor:
        train, key = run.config.train, self._key(run)
        if key not in self._streams:
            self._streams[key] = self._new(chunk=key[0], seed=key[1])
        more = run.tokens + train.batch_tokens < train.budget
        return self._streams[key].batch(run.tokens, train.batch_tokens, ahead=more)

    def _key(self, run: Run) -> tuple[int, int]:
        return self._chunks[run.config.train.batch_tokens], run.config.data.shuffle_seed


def _advance(
    run: Run, x: Tensor, waited: float, held_out: Tensor, training: Tensor | None, alone: bool
) -> Iterator[Event]:
    """Do one step of one run, and evaluate the run if an evaluation is due."""
    try:
        run.step(x, waited, alone)
        if run.tokens < run.next_evaluation():
            yield Event(run, "step")
            return
        row = run.evaluate(held_out, training)
        outcome = run.outcome()
    except Exception as error:  # an error ends only this run, not the others
        yield Event(run, "failed", error=error)
        return
    yield Event(run, "evaluated", row)
    if outcome is not None:
        yield Event(run, outcome, row)
