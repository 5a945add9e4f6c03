"""A worker: claims runs of a study, trains them in packs, and writes what happens to their folders."""

import math
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae_core import checkpoint
from sae_core.config import RunConfig
from sae_core.errors import DataError
from sae_core.files import write_text
from sae_core.latents import latent_histograms
from sae_core.pack import Event, start_point, train_pack
from sae_core.run import Run
from sae_core.source import Source
from sweeps import cost, failures
from sweeps.claims import Claim, Heartbeat, claim
from sweeps.data import open_source
from sweeps.failures import Failure
from sweeps.ledger import ENDED, RunFolder, Status, Study
from sweeps.provenance import environment, now
from sweeps.signals import TIME_IS_UP, Stop, await_the_end, requeue, slurm_job, stoppable


@dataclass(frozen=True)
class WorkerOptions:
    """The part of the launcher's config that a worker needs."""

    threads: int
    runs_per_pack: int
    device: str
    checkpoint_s: float
    heartbeat_s: float
    lease_s: float
    memory_gb: float | None = None  # what a pack may fill; None: no limit but runs_per_pack
    retries: Mapping[str, int] = field(default_factory=dict)
    wait: bool = True  # for runs that others hold, in case one of them dies


@dataclass
class _Held:
    """A claimed run."""

    folder: RunFolder
    claim: Claim
    run: Run
    began_at: int  # tokens
    began: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    said: float = 0.0  # when its status was written last

    @property
    def status(self) -> Status:
        """Running, with its pace since this worker began."""
        took = time.monotonic() - self.began
        gained = self.run.tokens - self.began_at
        return Status("running", self.run.tokens, rate=gained / took if gained and took > 0 else None)


def job(study_path: str, run_ids: Sequence[str], options: WorkerOptions) -> None:
    """`work` as a job of its own, whose exit code tells SLURM the truth: 0 unless a run failed or it was stopped.

    Before its time limit the job goes back into the queue and resumes from the checkpoints that `work` left.
    """
    with stoppable() as stop:
        try:
            states = work(study_path, run_ids, options, stop)
        except OSError as error:  # not even a claim can be written
            sys.exit(
                f"The study's folder cannot be used: {error}. Runs go on from their checkpoints when it can."
            )
    if stop:
        requeued = stop.asked == TIME_IS_UP and requeue()
        if not requeued:
            print(f"{stop.words}: all runs are saved.", flush=True)
            await_the_end()
        sys.exit(f"{stop.words}{', requeued' if requeued else ''}: all runs are saved.")
    failed = [run_id for run_id, state in states.items() if state == "failed"]
    if failed:
        sys.exit(f"{len(failed)} of {len(states)} runs failed: {', '.join(failed[:10])}")


def work(
    study_path: str, run_ids: Sequence[str], options: WorkerOptions, stop: Stop | None = None
) -> dict[str, str]:
    """Train whatever of `run_ids` is neither finished nor held by another; returns the state each run was left in.

    Walks the list again and again until every run has ended or failed, so workers started with the same list share it,
    and a run whose worker dies is taken over. A run for which there was no memory is tried again in a smaller pack, as
    often as `retries` allows; other failures are not tried again here.
    """
    torch.set_num_threads(options.threads)
    stop = Stop() if stop is None else stop  # `or` would take one that nobody asked yet for none
    study, left = Study(Path(study_path)), list(run_ids)
    states: dict[str, str] = {}
    while left and not stop:
        group, left = _claim_group(study, left, options)
        if group:
            found = _train_group(group, options, stop)
            states |= found
            left += [run_id for run_id, state in found.items() if state == "failed"]
            if any(study.run(run_id).status().failure == "oom" for run_id in found):
                options = replace(options, runs_per_pack=max(1, len(group) // 2))
        elif (
            left and options.wait
        ):  # all that is left is held by others: look again, in case one of them dies
            time.sleep(options.heartbeat_s)
        else:
            break
    return states


def _claim_group(
    study: Study, ids: Sequence[str], options: WorkerOptions
) -> tuple[list[tuple[RunFolder, Claim]], list[str]]:
    """Claim free runs on one data set, as many as the pack and its memory hold; and the ids to look at again."""
    group: list[tuple[RunFolder, Claim]] = []
    later: list[str] = []
    configs: list[RunConfig] = []
    for run_id in ids:
        folder = study.run(run_id)
        if _over(folder, options):
            continue
        config = RunConfig.from_dict(folder.config()["run"])
        if configs and not _fits(configs, config, options):
            later.append(run_id)
            continue
        held = claim(folder.path, options.lease_s)
        if held is None:
            later.append(run_id)
        elif _over(folder, options):  # it ended between our look and our claim
            held.release()
        elif _lost(folder, held, options):
            held.release()
        else:
            group.append((folder, held))
            configs.append(config)
    return group, later


def _lost(folder: RunFolder, its_claim: Claim, options: WorkerOptions) -> bool:
    """Note it where the last worker of a run died without a word; True if that has happened too often.

    Not where SLURM has requeued this very job: then it was the node, or a preemption without a warning.
    """
    status = folder.status()
    if status.state != "running" or its_claim.follows_this_job:
        return False
    message = f"its worker died without a word at {status.tokens:,} tokens"
    failures.note(folder.path, _failure(folder, "lost", message))
    if failures.may_retry(folder.path, options.retries):
        return False
    folder.set_status(Status("failed", status.tokens, "lost", message))
    return True


def _failure(folder: RunFolder, kind: str, message: str) -> Failure:
    saved = checkpoint.newest(folder.checkpoints)
    return Failure(kind, message, saved, host=socket.gethostname(), job=slurm_job())


def _fits(pack: Sequence[RunConfig], config: RunConfig, options: WorkerOptions) -> bool:
    if len(pack) >= options.runs_per_pack or config.data.fingerprint != pack[0].data.fingerprint:
        return False
    return options.memory_gb is None or cost.pack_bytes([*pack, config]) <= options.memory_gb * cost.GiB


def _over(folder: RunFolder, options: WorkerOptions) -> bool:
    """Whether there is nothing to do: ended, cancelled, or failed in a way that this worker does not try again."""
    status = folder.status()
    if status.state == "failed":
        return status.failure != "oom" or not failures.may_retry(folder.path, options.retries)
    return status.state in (*ENDED, "cancelled") or folder.cancelled


def _train_group(group: list[tuple[RunFolder, Claim]], options: WorkerOptions, stop: Stop) -> dict[str, str]:
    """Train claimed runs together to their ends; returns the state each was left in."""
    states: dict[str, str] = {}
    heartbeat = Heartbeat([its_claim for _, its_claim in group], options.heartbeat_s)
    heartbeat.start()
    try:
        source = open_source(group[0][0].config()["data"])
        held = {id(one.run): one for one in _prepare(group, source, options, states)}
        for event in train_pack([one.run for one in held.values()], source, options.device):
            one = held[id(event.run)]
            _handle(one, event, source, options, states)
            if one.folder.run_id in states:
                del held[id(event.run)]
            if stop:
                break
        for one in held.values():  # none unless we were stopped
            _handle(one, Event(one.run, "stopped", {"words": stop.words}), source, options, states)
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
        held.append(_Held(folder, its_claim, run, run.tokens))
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
    if event.kind == "stopped":
        assert event.row is not None
        return _leave(one, "stopped", event.row["words"])
    if event.kind == "evaluated":
        assert event.row is not None
        one.folder.append_row(event.row)
    now_s = time.monotonic()
    if now_s - one.said >= options.heartbeat_s:
        if not one.claim.touch():
            one.run.abandoned = True
            return "taken over"
        if one.folder.cancelled:
            one.run.abandoned = True
            return _leave(one, "cancelled", "cancelled by hand")
        one.folder.set_status(one.status)
        one.said = now_s
    if now_s - one.saved >= options.checkpoint_s:
        _save(one)
    return None


def _save(one: _Held) -> None:
    checkpoint.save(one.folder.checkpoints, one.run.steps, one.run.tensors(), one.run.meta())
    one.saved = time.monotonic()


def _leave(one: _Held, state: str, message: str) -> str:
    """Save the run where it stands, and let anyone go on with it."""
    if one.run.steps:
        _save(one)
    one.folder.set_status(Status(state, one.run.tokens, message=message))
    one.claim.release()
    return state


def _finish(one: _Held, state: str, source: Source, options: WorkerOptions) -> str:
    """Write the weights and the result, then say so: a run is done when its status says it."""
    run, folder = one.run, one.folder
    folder.checkpoints.mkdir(exist_ok=True)
    checkpoint.write(
        folder.checkpoints / "weights.safetensors", run.weights(), {"config": run.config.as_dict()}
    )
    if state == "done":
        x = source.held_out().to(options.device)
        folder.write_json("latents.json", latent_histograms(run.sae, x))
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
    kind = failures.kind_of(error)
    message = failures.words(kind, error)
    try:
        folder.set_status(Status("failed", tokens, kind, message))
        write_text(folder.path / "traceback.txt", "".join(traceback.format_exception(error)))
        failures.note(folder.path, _failure(folder, kind, message))
    except OSError as disk:  # the job's log has it, and the run stays to be tried again
        print(f"{folder.run_id} failed ({message}), and its folder cannot be written: {disk}", flush=True)
    its_claim.release()
    return "failed"
