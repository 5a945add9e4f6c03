"""How the runs of a study are carried out: the config group `launcher`, and the checks of its values.

A job imports this before its signal handlers are installed, so nothing here may import torch or Hydra.
"""

import importlib.util
from dataclasses import dataclass, field
from typing import Any

from sweeps.errors import SweepError
from sweeps.ledger.failures import KINDS as FAILURE_KINDS
from sweeps.ledger.failures import RETRIES

KINDS = ("local", "slurm", "debug")
DEVICES = ("cpu", "cuda")
WANDB_MODES = ("off", "offline", "online")
_POSITIVE = (
    "workers",
    "threads",
    "runs_per_pack",
    "memory_gb",
    "timeout_min",
    "checkpoint_s",
    "heartbeat_s",
    "flops_per_s",
)


# Neither class is frozen: OmegaConf would refuse to merge a config file into it. Nothing assigns to their fields.
@dataclass
class Slurm:
    """What sbatch is asked for, for every job of the array. Null: not asked for, so the site's default holds."""

    partition: str | None = None  # --partition
    account: str | None = None  # --account
    qos: str | None = None  # --qos
    constraint: str | None = None  # --constraint, as h100
    nodelist: str | None = None  # --nodelist
    exclude: str | None = None  # nodes that failed a run of this study are added
    gpus_per_node: int | None = None  # --gpus-per-node
    cpus_per_task: int | None = None  # --cpus-per-task
    mem_gb: float | None = None  # of the host; after host_oom a job asks for half as much again
    # How long before the time limit SLURM warns a job: long enough to write every checkpoint of a pack.
    signal_s: int = 120
    setup: list[str] = field(default_factory=list)  # shell lines before the worker: module load, activate …
    python: str | None = None  # command that starts Python in the job, in a container too; null: this Python
    srun_args: list[str] = field(default_factory=list)  # further arguments of srun
    use_srun: bool = True  # false: the worker is started without srun
    sbatch: dict[str, Any] = field(default_factory=dict)  # any other sbatch option: mail-type, reservation …
    # What differs for the small job that plans the next phase of a study: {partition: cpu}. It asks for no GPU.
    planner: dict[str, Any] = field(default_factory=dict)
    patience_s: float = 600.0  # how long to keep asking a controller that does not answer


@dataclass
class Launcher:
    """How the runs are carried out. Nothing here changes a result."""

    kind: str = "local"  # local: processes on this machine; slurm: a job array; debug: in this process
    workers: int = 2  # processes at once; on SLURM jobs of the array at once
    threads: int = 1  # torch threads per worker; two on one shared core cost 30× (measured, OpenMP spinning)
    runs_per_pack: int = 4  # at most so many runs are trained together on one stream
    memory_gb: float | None = None  # of a worker's device, that a pack may fill; null: no limit
    device: str = "cpu"  # cpu | cuda
    timeout_min: int = 1440  # a job's time limit; a job that reaches it goes back into the queue and resumes
    checkpoint_s: float = 60.0  # seconds between checkpoints of a pack
    # Keep the last checkpoint of runs with a constant lr, twice as large as their weights: later runs branch off it.
    keep_state: bool = False
    heartbeat_s: float = 2.0  # seconds between heartbeats of a claim
    lease_s: float = 60.0  # a claim without a heartbeat for this long is free again
    gpu: str | None = None  # A100 | H100 | H200: hours by its data sheet until runs have been measured
    # Of one worker, in the sparse convention; null: as measured on the ended runs of this study.
    flops_per_s: float | None = None
    retries: dict[str, int] = field(default_factory=lambda: dict(RETRIES))  # per kind of failure
    tensorboard: bool = False  # also show each curve there: event files in the run's folder
    wandb: str = "off"  # off | offline | online: also show each curve there
    wandb_project: str = "saescale"  # the project that wandb: true writes to
    slurm: Slurm = field(default_factory=Slurm)

    @property
    def waits_for_others(self) -> bool:
        """Whether a worker with no free run left waits for those that others hold, in case one of the others dies.

        On SLURM it ends instead, so that no GPU waits for another job.
        """
        return self.kind != "slurm"


def check_launcher(launcher: Launcher) -> None:
    """Raise SweepError for an impossible value, or a tracker whose package is missing."""
    _one_of("kind", launcher.kind, KINDS)
    _one_of("device", launcher.device, DEVICES)
    for key in _POSITIVE:
        value = getattr(launcher, key)
        if value is not None and not value > 0:
            raise SweepError(f"launcher.{key} is {value}; it must be above 0.")
    if launcher.lease_s < 3 * launcher.heartbeat_s:
        raise SweepError(
            f"launcher.lease_s = {launcher.lease_s} is less than three heartbeats of {launcher.heartbeat_s} s: "
            "a living worker would lose its runs."
        )
    check_trackers(launcher)
    for kind, times in launcher.retries.items():
        if kind not in FAILURE_KINDS:
            listed = ", ".join(FAILURE_KINDS)
            raise SweepError(f"launcher.retries names {kind!r}; the kinds are {listed}.", kind, FAILURE_KINDS)
        if times < 0:
            raise SweepError(f"launcher.retries.{kind} is {times}; it must be 0 or more.")


def _one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SweepError(f"launcher.{key} is {value!r}; it must be one of {', '.join(known)}.", value, known)


def check_trackers(launcher: Launcher) -> None:
    """Raise SweepError for an unknown W&B mode, or a tracker whose package is not installed."""
    _one_of("wandb", launcher.wandb, WANDB_MODES)
    wanted = {"tensorboard": launcher.tensorboard, "wandb": launcher.wandb != "off"}
    for package, on in wanted.items():
        if on and importlib.util.find_spec(package) is None:
            raise SweepError(
                f"launcher.{package} is {getattr(launcher, package)} and the package {package} is not installed: "
                "pip install 'saescale[track]', or leave it off."
            )
