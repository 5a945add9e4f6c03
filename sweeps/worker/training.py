"""Train claimed runs as one pack, and write what happens to them to their folders."""

import math
import socket
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from sae_core.config import RunConfig
from sae_core.data.source import Source
from sae_core.errors import CheckpointError, DataError
from sae_core.training import checkpoint
from sae_core.training.evaluation import latent_histograms
from sae_core.training.pack import Event, start_point, train_pack
from sae_core.training.run import Run
from sweeps.config.data import open_source
from sweeps.config.launcher import Launcher
from sweeps.ledger import failures
from sweeps.ledger.claims import Claim, Heartbeat
from sweeps.ledger.failures import Failure
from sweeps.ledger.job_environment import slurm_job
from sweeps.ledger.provenance import environment, now
from sweeps.ledger.run_folder import ENDED, RunFolder, Status, Study
from sweeps.worker.signals import Stop
from sweeps.worker.trackers import Trackers


@dataclass
class _Held:
    """A claimed run."""

    folder: RunFolder
    claim: Claim
    run: Run
    trackers: Trackers
    began_at: int  # tokens
    began: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    status_written: float = 0.0  # when its status was last written

    @property
    def status(self) -> Status:
        """Running, with its rate since this worker began."""
        took = time.monotonic() - self.began
        gained = self.run.reached - self.began_at
        return Status("running", self.run.reached, rate=gained / took if gained and took > 0 else None)


def train_group(group: list[tuple[RunFolder, Claim]], launcher: Launcher, stop: Stop) -> dict[str, str]:
    """Train claimed runs together to their ends; return the state each was left in."""
    states: dict[str, str] = {}
    held: dict[int, _Held] = {}
    heartbeat = Heartbeat([its_claim for _, its_claim in group], launcher.heartbeat_s)
    heartbeat.start()
    try:
        source = open_source(group[0][0].config()["data"])
        held |= {id(one.run): one for one in _prepare(group, source, launcher, states)}
        for event in train_pack([one.run for one in held.values()], source, launcher.device):
            one = held[id(event.run)]
            _handle(one, event, source, launcher, states)
            if one.folder.run_id in states:
                held.pop(id(event.run)).trackers.close()
            if stop and not event.more:
                break
        for one in held.values():  # there are none unless the worker was stopped
            _handle(one, Event(one.run, "stopped", {"words": stop.reason}), source, launcher, states)
    except Exception as error:  # the data is gone or unusable: no run of the pack can go on
        for folder, its_claim in group:
            if folder.run_id not in states:
                states[folder.run_id] = _fail(folder, its_claim, folder.status().tokens, error)
    finally:
        for one in held.values():
            one.trackers.close()
        heartbeat.stop()
        for _, its_claim in group:
            its_claim.release()
    return states


def _prepare(
    group: list[tuple[RunFolder, Claim]], source: Source, launcher: Launcher, states: dict[str, str]
) -> list[_Held]:
    """Build every run of the group, from its checkpoint if it has one. A run that cannot be built fails alone."""
    b_pre = start_point(source)
    held = []
    for folder, its_claim in group:
        try:
            run = _build(folder, source, b_pre, launcher.device)
            started = (folder.environment() or {}).get("started")
            facts = environment(launcher.device)
            folder.set_environment(facts | ({"started": started} if started else {}))
            folder.set_status(Status("running", run.tokens))
        except Exception as error:
            states[folder.run_id] = _fail(folder, its_claim, folder.status().tokens, error)
            continue
        trackers = Trackers(folder, run.config, run.tokens, launcher)
        held.append(_Held(folder, its_claim, run, trackers, run.tokens))
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
    elif (start := folder.branches_off()) is not None:
        _branch(run, Study(folder.path.parent).run(start))
    folder.rewind(run.curve)
    return run


def _branch(run: Run, ended: RunFolder) -> None:
    """Let a run go on from the state that an ended run has kept, if it is still there and can be read."""
    try:
        kept = checkpoint.latest(ended.checkpoints)
        if kept is None:
            raise CheckpointError(f"{ended.run_id} has kept no state any more.")
        run.go_on_from(*kept)
    except CheckpointError as error:
        print(f"A run that was to branch off {ended.run_id} begins at its first step: {error}", flush=True)


def _handle(one: _Held, event: Event, source: Source, launcher: Launcher, states: dict[str, str]) -> None:
    """Write an event to the run's folder. A run that was taken over, or whose folder fails, is given up alone."""
    if event.kind != "step" and not one.claim.touch():
        one.run.abandoned = True
        states[one.folder.run_id] = "taken over"
        return
    try:
        state = _record(one, event, source, launcher)
    except Exception as error:
        one.run.abandoned = True
        state = _fail(one.folder, one.claim, one.run.tokens, error)
    if state is not None:
        states[one.folder.run_id] = state


def _record(one: _Held, event: Event, source: Source, launcher: Launcher) -> str | None:
    """Write what an event means to the folder; return the run's state if it is over."""
    if event.kind == "failed":
        assert event.error is not None
        return _fail(one.folder, one.claim, one.run.tokens, event.error)
    if event.kind in ENDED:
        return _finish(one, event.kind, source, launcher)
    if event.kind == "stopped":
        assert event.row is not None
        return _leave(one, "stopped", event.row["words"])
    if event.kind == "evaluated":
        assert event.row is not None
        one.folder.append_row(event.row)
        one.trackers.log(event.row)
    now_s = time.monotonic()
    if now_s - one.status_written >= launcher.heartbeat_s:
        if not one.claim.touch():
            one.run.abandoned = True
            return "taken over"
        if one.folder.cancelled:
            one.run.abandoned = True
            return _leave(one, "cancelled", "cancelled by hand")
        one.folder.set_status(one.status)
        one.status_written = now_s
    if now_s - one.saved >= launcher.checkpoint_s:
        _save(one)
    return None


def _save(one: _Held) -> None:
    one.run.catch_up()
    checkpoint.save(one.folder.checkpoints, one.run.steps, one.run.tensors(), one.run.meta())
    one.saved = time.monotonic()


def _leave(one: _Held, state: str, message: str) -> str:
    """Save the run where it stands, and release it."""
    one.run.catch_up()
    if one.run.steps:
        _save(one)
    one.folder.set_status(Status(state, one.run.tokens, message=message))
    one.claim.release()
    return state


def _finish(one: _Held, state: str, source: Source, launcher: Launcher) -> str:
    """Write the weights and the result, and the status last: a run is done when its status says so."""
    run, folder = one.run, one.folder
    folder.checkpoints.mkdir(exist_ok=True)
    checkpoint.write(folder.weights_path, run.weights(), {"config": run.config.as_dict()})
    if state == "done":
        x = source.held_out().to(launcher.device)
        folder.set_latents(latent_histograms(run.sae, x))
    keep = launcher.keep_state and state == "done" and run.config.train.lr_schedule == "constant"
    if keep:
        _save(one)
    folder.set_result(result(run, source.oracle(run.config.sae.n_latents), launcher.device))
    folder.set_status(Status(state, run.tokens))
    checkpoint.clear(folder.checkpoints, but_newest=keep)
    folder.set_traceback(None)  # of a failure before
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
        "ended_by": run.ended_by(),
        **found,
        "gpu_seconds": run.train_seconds if device.startswith("cuda") else None,
        "wait_share": run.wait_seconds / spent if (spent := run.wait_seconds + run.train_seconds) else None,
        "ended": now(),
    }


def _fail(folder: RunFolder, its_claim: Claim, tokens: int, error: Exception) -> str:
    """Record a failure, unless the run was taken over: its kind and message in the status, and the traceback."""
    if not its_claim.touch():
        return "taken over"
    kind = failures.kind_of(error)
    message = failures.message_of(kind, error)
    try:
        folder.set_status(Status("failed", tokens, kind, message))
        folder.set_traceback("".join(traceback.format_exception(error)))
        failures.record(folder, failure(folder, kind, message))
    except OSError as disk:  # it is in the job's log, and the run can be tried again
        print(f"{folder.run_id} failed ({message}), and its folder cannot be written: {disk}", flush=True)
    its_claim.release()
    return "failed"


def failure(folder: RunFolder, kind: str, message: str) -> Failure:
    """A failure of this run in this process, now."""
    saved = checkpoint.newest(folder.checkpoints)
    return Failure(kind, message, saved, host=socket.gethostname(), job=slurm_job())
