"""A worker: claims runs of a study, trains them in packs, and writes what happens to their folders."""

import math
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
from sae_core.files import write_text
from sae_core.pack import Event, start_point, train_pack
from sae_core.run import Run
from sae_core.source import Source
from sweeps.claims import Claim, Heartbeat, claim
from sweeps.data import open_source
from sweeps.errors import SweepError
from sweeps.ledger import ENDED, RunFolder, Status, Study
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
    launched: float = 0.0  # seconds since the epoch; what failed after this is not tried again


@dataclass
class _Held:
    """A claimed run."""

    folder: RunFolder
    claim: Claim
    run: Run
    saved: float = field(default_factory=time.monotonic)
    said: float = 0.0  # when its status was written last


def work(study_path: str, run_ids: Sequence[str], options: WorkerOptions) -> dict[str, str]:
    """Train whatever of `run_ids` is neither finished nor held by another; returns the state each run was left in.

    Walks the list again and again until every run has ended or failed, so workers started with the same list share it,
    and a run whose worker dies is taken over. One run is tried once a launch: a failure is not repeated.
    """
    torch.set_num_threads(options.threads)
    study, left = Study(Path(study_path)), list(run_ids)
    states: dict[str, str] = {}
    while left:
        group, left = _claim_group(study, left, options)
        if group:
            states |= _train_group(group, options)
        elif left:  # all that is left is held by others: look again, in case one of them dies
            time.sleep(options.heartbeat_s)
    return states


def _claim_group(
    study: Study, ids: Sequence[str], options: WorkerOptions
) -> tuple[list[tuple[RunFolder, Claim]], list[str]]:
    """Claim up to runs_per_pack free runs on one data set; returns them and the ids to look at again."""
    group: list[tuple[RunFolder, Claim]] = []
    later: list[str] = []
    data: str | None = None
    for run_id in ids:
        folder = study.run(run_id)
        if _over(folder, options):
            continue
        fingerprint = folder.config()["run"]["data"]["fingerprint"]
        if len(group) == options.runs_per_pack or data not in (None, fingerprint):
            later.append(run_id)
            continue
        held = claim(folder.path, options.lease_s)
        if held is None:
            later.append(run_id)
        elif _over(folder, options):  # it ended between our look and our claim
            held.release()
        else:
            group.append((folder, held))
            data = fingerprint
    return group, later


def _over(folder: RunFolder, options: WorkerOptions) -> bool:
    status = folder.status()
    return status.state in ENDED or (status.state == "failed" and status.updated >= options.launched)


def _train_group(group: list[tuple[RunFolder, Claim]], options: WorkerOptions) -> dict[str, str]:
    """Train claimed runs together to their ends; returns the state each was left in."""
    states: dict[str, str] = {}
    heartbeat = Heartbeat([its_claim for _, its_claim in group], options.heartbeat_s)
    heartbeat.start()
    try:
        source = open_source(group[0][0].config()["data"])
        held = _prepare(group, source, options, states)
        of = {id(one.run): one for one in held}
        for event in train_pack([one.run for one in held], source, options.device):
            _handle(of[id(event.run)], event, source, options, states)
    except Exception as error:  # the data went away or never fitted: no run of the pack can go on
        for folder, its_claim in group:
            if folder.run_id not in states:
                states[folder.run_id] = _fail(folder, its_claim, folder.status().tokens, error)
    finally:
        heartbeat.stop()
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
            started = (folder.read_json("environment.json") or {}).get("started")
            facts = environment(options.device)
            folder.write_json("environment.json", facts | ({"started": started} if started else {}))
            folder.set_status(Status("running", run.tokens))
        except Exception as error:
            states[folder.run_id] = _fail(folder, its_claim, folder.status().tokens, error)
            continue
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


def _handle(one: _Held, event: Event, source: Source, options: WorkerOptions, states: dict[str, str]) -> None:
    """Write an event to the run's folder. A run that is not ours any more, or whose folder fails, is given up alone."""
    if event.kind != "step" and not one.claim.touch():
        one.run.abandoned = True
        states[one.folder.run_id] = "taken over"
        return
    try:
        state = _record(one, event, source, options)
    except Exception as error:
        one.run.abandoned = True
        state = _fail(one.folder, one.claim, one.run.tokens, error)
    if state is not None:
        states[one.folder.run_id] = state


def _record(one: _Held, event: Event, source: Source, options: WorkerOptions) -> str | None:
    """What an event means for the folder; returns the state if the run is over."""
    if event.kind == "failed":
        assert event.error is not None
        return _fail(one.folder, one.claim, one.run.tokens, event.error)
    if event.kind in ENDED:
        return _finish(one, event.kind, source, options)
    if event.kind == "evaluated":
        assert event.row is not None
        one.folder.append_row(event.row)
    now_s = time.monotonic()
    if now_s - one.said >= options.heartbeat_s:
        if not one.claim.touch():
            one.run.abandoned = True
            return "taken over"
        one.folder.set_status(Status("running", one.run.tokens))
        one.said = now_s
    if now_s - one.saved >= options.checkpoint_s:
        checkpoint.save(one.folder.checkpoints, one.run.steps, one.run.tensors(), one.run.meta())
        one.saved = time.monotonic()
    return None


def _finish(one: _Held, state: str, source: Source, options: WorkerOptions) -> str:
    """Write the weights and the result, then say so: a run is done when its status says it."""
    run, folder = one.run, one.folder
    folder.checkpoints.mkdir(exist_ok=True)
    checkpoint.write(
        folder.checkpoints / "weights.safetensors", run.weights(), {"config": run.config.as_dict()}
    )
    folder.write_json("result.json", result(run, source.oracle(run.config.sae.n_latents), options.device))
    folder.set_status(Status(state, run.tokens))
    checkpoint.clear(folder.checkpoints)
    (folder.path / "traceback.txt").unlink(missing_ok=True)  # of a try before this one
    one.claim.release()
    return state


def result(run: Run, oracle: float | None, device: str) -> dict[str, Any]:
    """The numbers of an ended run: its last evaluation, convergence, and what it cost."""
    last = {k: v for k, v in run.curve[-1].items() if k != "step"}
    found = vars(run.convergence())
    if run.outcome() == "diverged":
        found = dict.fromkeys(found) | {"converged": False}
    finite = [row["nmse"] for row in run.curve if math.isfinite(row["nmse"])]
    return last | {
        "steps": run.steps,
        "nmse_best": min(finite, default=None),
        "nmse_oracle": oracle,
        **found,
        "gpu_seconds": run.train_seconds if device.startswith("cuda") else None,
        "ended": now(),
    }


def _fail(folder: RunFolder, its_claim: Claim, tokens: int, error: Exception) -> str:
    """Record a failure, if the run is still ours: kind, last line for `status`, whole traceback beside it."""
    if not its_claim.touch():
        return "taken over"
    kind = _failure_kind(error)
    text = str(error).strip().splitlines()
    message = f"{type(error).__name__}: {text[-1] if text else ''}" if kind == "bug" else (text or [kind])[0]
    try:
        folder.set_status(Status("failed", tokens, kind, message))
        write_text(folder.path / "traceback.txt", "".join(traceback.format_exception(error)))
    except (
        OSError
    ) as disk:  # not even that can be written: the job's log has it, and the run stays to be tried again
        print(f"{folder.run_id} failed ({message}), and its folder cannot be written: {disk}", flush=True)
    its_claim.release()
    return "failed"


def _failure_kind(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return "oom"
    if isinstance(error, DataError | SweepError | CheckpointError):
        return "data"
    return "disk" if isinstance(error, OSError) else "bug"
