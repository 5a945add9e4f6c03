"""A worker: claims runs of a study and trains them in packs, until none is left that it may train."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from sae_core.config import RunConfig
from sae_core.training.schedule import trunk
from sweeps.config.launcher import Launcher
from sweeps.ledger import failures
from sweeps.ledger.claims import Claim, claim
from sweeps.ledger.run_folder import ENDED, RunFolder, Status, Study
from sweeps.planning.packs import joins
from sweeps.worker.signals import Stop
from sweeps.worker.training import failure, train_group


def work(
    study_path: str, run_ids: Sequence[str], launcher: Launcher, stop: Stop | None = None
) -> dict[str, str]:
    """Train the runs of `run_ids` that are not finished and not held by others; return the state each was left in.

    The worker goes through the list until every run has ended or failed. So workers with the same list share it, and a
    run whose worker dies is taken over. After an out-of-memory error a run is retried in a smaller pack, as often as
    `retries` allows; other failures are not retried here.
    """
    torch.set_num_threads(launcher.threads)
    stop = Stop() if stop is None else stop  # not `stop or Stop()`: a Stop without a signal is false
    study, left = Study(Path(study_path)), list(run_ids)
    states: dict[str, str] = {}
    while left and not stop:
        group, left = _claim_group(study, left, launcher)
        if group:
            found = train_group(group, launcher, stop)
            states |= found
            left += [run_id for run_id, state in found.items() if state == "failed"]
            if any(study.run(run_id).status().failure == "oom" for run_id in found):
                launcher = replace(launcher, runs_per_pack=max(1, len(group) // 2))
        elif (
            left and launcher.waits_for_others
        ):  # all that is left is held by others: look again, in case one of them dies
            time.sleep(launcher.heartbeat_s)
        else:
            break
    return states


def _claim_group(
    study: Study, ids: Sequence[str], launcher: Launcher
) -> tuple[list[tuple[RunFolder, Claim]], list[str]]:
    """Claim free runs on one data set, as many as fit a pack; return them, and the ids to look at again."""
    group: list[tuple[RunFolder, Claim]] = []
    later: list[str] = []
    configs: list[RunConfig] = []
    folders = [folder for run_id in ids if not _over(folder := study.run(run_id), launcher)]
    left = {folder.run_id: RunConfig.from_dict(folder.config()["run"]) for folder in folders}
    by_trunk: dict[RunConfig, list[str]] = {}
    for run_id, config in left.items():
        by_trunk.setdefault(trunk(config), []).append(run_id)
    for folder in folders:
        config = left[folder.run_id]
        family = by_trunk[trunk(config)]
        if configs and not joins(configs, config, [left[one] for one in family], launcher):
            later.append(folder.run_id)
            continue
        taken = claim(folder, launcher.lease_s)
        if taken is None:
            later.append(folder.run_id)
        elif _over(folder, launcher):  # it ended after the first look and before the claim
            taken.withdraw()
        elif _lost(folder, taken, launcher):
            taken.release()
        else:
            group.append((folder, taken))
            configs.append(config)
        family.remove(folder.run_id)
    return group, later


def _lost(folder: RunFolder, its_claim: Claim, launcher: Launcher) -> bool:
    """Record it where the last worker of a run died without recording a reason; True if that has happened too often.

    It is not recorded where SLURM has requeued this same job, after a node failure or a preemption without a warning.
    """
    status = folder.status()
    if status.state != "running" or its_claim.follows_this_job:
        return False
    message = f"its worker died without recording a reason at {status.tokens:,} tokens"
    failures.record(folder, failure(folder, "lost", message))
    if failures.may_retry(folder, launcher.retries):
        return False
    folder.set_status(Status("failed", status.tokens, "lost", message))
    return True


def _over(folder: RunFolder, launcher: Launcher) -> bool:
    """Whether nothing is left to do: ended, cancelled, or failed in a way that this worker does not retry."""
    status = folder.status()
    if status.state == "failed":
        return status.failure != "oom" or not failures.may_retry(folder, launcher.retries)
    return status.state in (*ENDED, "cancelled") or folder.cancelled
