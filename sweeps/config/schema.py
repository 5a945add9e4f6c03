"""Every config key, its type and default, registered with Hydra: unknown keys and wrong types fail before any job."""

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from sae_core.config import SAEConfig, TrainConfig
from sae_core.data.harvest_config import HarvestConfig
from sae_core.data.import_array import ArrayConfig
from sae_core.data.streaming import StreamingConfig
from sae_core.data.synthetic import SyntheticConfig


def _open(cls: type) -> Any:
    """The same fields without `frozen`, which OmegaConf would take for "read-only" and refuse to merge into."""
    hints = get_type_hints(cls)
    specs = [
        (f.name, hints[f.name], field(default=MISSING if f.default is NO_DEFAULT else f.default))
        for f in fields(cls)
    ]
    return make_dataclass(cls.__name__, specs)


SAE, Train, Synthetic = map(_open, (SAEConfig, TrainConfig, SyntheticConfig))
Harvest, Array, Streaming = map(_open, (HarvestConfig, ArrayConfig, StreamingConfig))


@dataclass
class Data:
    """Where the activations are: made on the fly (`synthetic`), in a store, or streamed from the harvest's model."""

    name: str = MISSING
    shuffle_seed: int = 0  # order of the tokens
    d_model: int | None = None  # what their width must be; null: what it is
    synthetic: Synthetic | None = None  # type: ignore[valid-type]
    store: str | None = None  # folder of an activation store
    harvest: Harvest | None = None  # type: ignore[valid-type]  # fills the store
    array: Array | None = None  # type: ignore[valid-type]  # fills the store instead
    streaming: Streaming | None = None  # type: ignore[valid-type]  # what `harvest` would write, never stored


@dataclass
class Grid:
    """Which cells: the product of `axes`, with the axes named in one list of `zip` stepping together."""

    axes: dict[str, Any] = field(
        default_factory=dict
    )  # config key: list of values, or a Hydra sweep ("1,2", geom(…))
    zip: list[list[str]] = field(default_factory=list)
    where: list[str] = field(
        default_factory=list
    )  # expressions over the cell; a cell stays where all are true
    derive: dict[str, Any] = field(default_factory=dict)  # config key: expression over the cell


@dataclass
class Slurm:
    """What sbatch is asked for, for every job of the array. Null: not asked for, the site's default."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    nodelist: str | None = None
    exclude: str | None = None  # nodes that failed a run of this study are added
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    mem_gb: float | None = None  # of the host; after host_oom a job asks for half as much again
    signal_s: int = (
        120  # SLURM's warning, this long before the time limit: enough to write every checkpoint of a pack
    )
    setup: list[str] = field(default_factory=list)  # shell lines before the worker: module load, activate …
    python: str | None = None  # command that starts Python in the job, a container's too; null: this Python
    srun_args: list[str] = field(default_factory=list)
    use_srun: bool = True
    sbatch: dict[str, Any] = field(
        default_factory=dict
    )  # any other option of sbatch: mail-type, reservation …
    patience_s: float = 600.0  # how long to go on asking a controller that does not answer


def _retries() -> dict[str, int]:
    return {"oom": 4, "host_oom": 2, "node": 3, "disk": 5, "lost": 2, "data": 0, "bug": 0}


@dataclass
class Launcher:
    """How the runs are carried out. Nothing here changes a result."""

    kind: str = "local"  # local: processes on this machine; slurm: a job array; debug: in this process
    workers: int = 2  # processes at once; on SLURM jobs of the array at once
    threads: int = 1  # torch threads a worker; two on one shared core cost 30× (measured, OpenMP spinning)
    runs_per_pack: int = 4  # at most so many runs trained together on one stream
    memory_gb: float | None = None  # of a worker's device, that a pack may fill; null: not looked at
    device: str = "cpu"  # cpu | cuda
    timeout_min: int = 1440  # a job's time limit; a job that reaches it goes back into the queue and resumes
    checkpoint_s: float = 60.0  # seconds between checkpoints of a pack
    heartbeat_s: float = 2.0  # seconds between signs of life
    lease_s: float = 60.0  # a claim without a sign of life for this long is free again
    flops_per_s: float | None = (
        None  # of a worker, sparse convention; null: as measured on this study's ended runs
    )
    retries: dict[str, int] = field(default_factory=_retries)  # how often a failure of a kind is tried again
    tensorboard: bool = False  # also show each curve there: event files in the run's folder
    wandb: str = "off"  # off | offline | online: also show each curve there
    wandb_project: str = "saescale"
    slurm: Slurm = field(default_factory=Slurm)


@dataclass
class Budget:
    """What a study may cost; a plan above it is refused."""

    gpu_hours: float | None = None  # worker-hours of what is not done yet


@dataclass
class Config:
    name: str = "sweep"  # the study's folder under `runs`
    runs: str = "runs"
    seed: int = 0
    data: Data = field(default_factory=Data)
    sae: SAE = field(default_factory=SAE)  # type: ignore[valid-type]
    train: Train = field(default_factory=Train)  # type: ignore[valid-type]
    grid: Grid = field(default_factory=Grid)
    launcher: Launcher = field(default_factory=Launcher)
    budget: Budget = field(default_factory=Budget)


def register() -> None:
    ConfigStore.instance().store(name="base_config", node=Config)


def conf_dir() -> Path:
    """The config groups: beside this package in a checkout, inside it when installed."""
    inside = Path(__file__).parents[1] / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "conf"
