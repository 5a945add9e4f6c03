"""A worker: claims runs of a study, trains them in packs, and writes what happens to their folders."""

import math
import os
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae_core import checkpoint
from sae_core.config import RunConfig
from sae_core.errors import CheckpointError, DataError
from sae_core.pack import Event, start_point, train_pack
from sae_core.run import Run
from sae_core.source import Source
from sweeps.claims import Claim, claim
from sweeps.data import open_source
from sweeps.errors import SweepError
from sweeps.ledger import ENDED, RunFolder, Status, Study, replace
from sweeps.provenance import environment, now


@dataclass(frozen=True)
class WorkerOptions:
    """The part of the launcher's config that a worker needs."""

    threads: int
    runs_per_pack: int
    device: str
    checkpoint_s: float
    heartbeat_s: float
    lease_s: float


@dataclass
class _Held:
    """A claimed run."""

    folder: RunFolder
    claim: Claim
    run: Run
    saved: float = field(default_factory=time.monotonic)
    beaten: float = 0.0


def work(study_path: str, run_ids: Sequence[str], options: WorkerOptions) -> dict[str, str]:
    """Train whatever of `run_ids` is neither finished nor held by another; returns the state each run was left in.

    Walks the list until nothing is free, so workers started with the same list share it, and one that dies loses only
    the steps since its last checkpoint.
    """
    torch.set_num_threads(options.threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    study, left = Study(Path(study_path)), list(run_ids)
    states: dict[str, str] = {}
    while left:
        group, left = _claim_group(study, left, options)
        if group:
            states |= _train_group(group, options)
    return states


def _claim_group(
    study: Study, ids: Sequence[str], options: WorkerOptions
) -> tuple[list[tuple[RunFolder, Claim]], list[str]]:
    """Claim up to runs_per_pack free runs on one data set; returns them and the ids still to look at."""
    group: list[tuple[RunFolder, Claim]] = []
    later: list[str] = []
    data: str | None = None
    for index, run_id in enumerate(ids):
        if len(group) == options.runs_per_pack:
            return group, later + list(ids[index:])
        folder = study.run(run_id)
        if folder.status().state in ENDED:
            continue
        fingerprint = folder.config()["run"]["data"]["fingerprint"]
        if data not in (None, fingerprint):
            later.append(run_id)
            continue
        held = claim(folder.path, options.lease_s)
        if held is None:
            continue  # another worker has it
        if folder.status().state in ENDED:  # it ended between our look and our claim
            held.release()
            continue
        group.append((folder, held))
        data = fingerprint
    return group, later


def _train_group(group: list[tuple[RunFolder, Claim]], options: WorkerOptions) -> dict[str, str]:
    """Train claimed runs together to their ends; returns the state each was left in."""
    states: dict[str, str] = {}
    try:
        source = open_source(group[0][0].config()["data"])
        held = _prepare(group, source, options, states)
        of = {id(one.run): one for one in held}
        for event in train_pack([one.run for one in held], source, options.device):
            _record(of[id(event.run)], event, source, options, states)
    except Exception as error:  # the data went away or never fitted: no run of the pack can go on
        for folder, _ in group:
            if folder.run_id not in states:
                states[folder.run_id] = _fail(folder, folder.status().tokens, error)
    finally:
        for _, its_claim in group:
            its_claim.release()
    return states


def _prepare(
    group: list[tuple[RunFolder, Claim]], source: Source, options: WorkerOptions, states: dict[str, str]
) -> list[_Held]:
    """Build every run of the group, from its checkpoint where it has one. One that cannot be built fails alone."""
    b_pre = start_point(source)
    held = []
    for folder, its_claim in group:
        try:
            run = _build(folder, source, b_pre, options.device)
        except Exception as error:
            states[folder.run_id] = _fail(folder, 0, error)
            continue
        started = (folder.read_json("environment.json") or {}).get("started")
        facts = environment(options.device)
        folder.write_json("environment.json", facts | ({"started": started} if started else {}))
        folder.set_status(Status("running", run.tokens))
        held.append(_Held(folder, its_claim, run))
    return held


def _build(folder: RunFolder, source: Source, b_pre: Tensor, device: str) -> Run:
    config = RunConfig.from_dict(folder.config()["run"])
    if config.data.fingerprint != source.fingerprint:
        raise DataError(
            f"The data has changed since this run was planned: its fingerprint was {config.data.fingerprint} and is "
            f"{source.fingerprint}. Launch the study again to plan runs on the data as it is."
        )
    run = Run(config, b_pre, source.denominator, device)
    saved = checkpoint.latest(folder.checkpoints)
    if saved is not None:
        run.restore(*saved)
    folder.rewind(run.curve)
    return run


def _record(one: _Held, event: Event, source: Source, options: WorkerOptions, states: dict[str, str]) -> None:
    """Write to the run's folder what an event says."""
    run, folder = one.run, one.folder
    if event.kind == "evaluated":
        assert event.row is not None
        folder.append_row(event.row)
    elif event.kind == "failed":
        assert event.error is not None
        states[folder.run_id] = _fail(folder, run.tokens, event.error)
        one.claim.release()
        return
    elif event.kind in ENDED:
        states[folder.run_id] = _finish(one, event.kind, source, options)
        return
    _stay_alive(one, options, states)


def _stay_alive(one: _Held, options: WorkerOptions, states: dict[str, str]) -> None:
    """Heartbeat and checkpoint when they are due; give the run up if another worker has taken it."""
    now_s = time.monotonic()
    if now_s - one.beaten >= options.heartbeat_s:
        if not one.claim.touch():
            one.run.abandoned = True
            states[one.folder.run_id] = "taken over"
            return
        one.folder.set_status(Status("running", one.run.tokens))
        one.beaten = now_s
    if now_s - one.saved >= options.checkpoint_s:
        checkpoint.save(one.folder.checkpoints, one.run.steps, one.run.tensors(), one.run.meta())
        one.saved = time.monotonic()


def _finish(one: _Held, state: str, source: Source, options: WorkerOptions) -> str:
    """Write the weights and the result, then say so: a run is done when its status says it."""
    run, folder = one.run, one.folder
    if not one.claim.touch():
        return "taken over"
    folder.checkpoints.mkdir(exist_ok=True)
    checkpoint.write(
        folder.checkpoints / "weights.safetensors", run.weights(), {"config": run.config.as_dict()}
    )
    folder.write_json("result.json", result(run, source.oracle(run.config.sae.n_latents), options.device))
    folder.set_status(Status(state, run.tokens))
    checkpoint.clear(folder.checkpoints)
    one.claim.release()
    return state


def result(run: Run, oracle: float | None, device: str) -> dict[str, Any]:
    """The numbers of an ended run: its last evaluation, convergence, and what it cost."""
    last = {k: v for k, v in run.curve[-1].items() if k != "step"}
    found = run.convergence()
    finite = [row["nmse"] for row in run.curve if math.isfinite(row["nmse"])]
    return last | {
        "steps": run.steps,
        "nmse_best": min(finite, default=None),
        "nmse_oracle": oracle,
        **vars(found),
        "gpu_seconds": run.train_seconds if device.startswith("cuda") else None,
        "ended": now(),
    }


def _fail(folder: RunFolder, tokens: int, error: Exception) -> str:
    """Record a failure: kind, last line for `status`, whole traceback beside it."""
    kind = _failure_kind(error)
    text = str(error).strip().splitlines()
    message = f"{type(error).__name__}: {text[-1] if text else ''}" if kind == "bug" else (text or [kind])[0]
    replace(folder.path / "traceback.txt", "".join(traceback.format_exception(error)))
    folder.set_status(Status("failed", tokens, kind, message))
    return "failed"


def _failure_kind(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return "oom"
    return "data" if isinstance(error, DataError | SweepError | CheckpointError) else "bug"
