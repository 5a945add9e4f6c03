"""Every config key, its type and default, registered with Hydra: unknown keys and wrong types fail before any job."""

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from sae_core.config import SAEConfig, TrainConfig
from sae_core.data.configs import ArrayConfig, HarvestConfig, StreamingConfig, SyntheticConfig
from sweeps.config.launcher import Launcher


def _open(cls: type) -> Any:
    """The same class without `frozen`: OmegaConf treats frozen classes as read-only and merges no config into them."""
    hints = get_type_hints(cls)
    specs = [
        (f.name, hints[f.name], field(default=MISSING if f.default is NO_DEFAULT else f.default))
        for f in fields(cls)
    ]
    return make_dataclass(cls.__name__, specs)


if TYPE_CHECKING:
    SAE = SAEConfig
    Train = TrainConfig
    Synthetic = SyntheticConfig
    Harvest = HarvestConfig
    Array = ArrayConfig
    Streaming = StreamingConfig
else:
    SAE, Train, Synthetic = map(_open, (SAEConfig, TrainConfig, SyntheticConfig))
    Harvest, Array, Streaming = map(_open, (HarvestConfig, ArrayConfig, StreamingConfig))


@dataclass
class Data:
    """Where the activations come from: generated (`synthetic`), a store, or streamed from a language model."""

    name: str = MISSING
    shuffle_seed: int = 0  # order of the tokens
    d_model: int | None = None  # the width that the activations must have; null: any
    synthetic: Synthetic | None = None
    store: str | None = None  # folder of an activation store
    harvest: Harvest | None = None  # fills the store
    array: Array | None = None  # fills the store instead
    streaming: Streaming | None = None  # the same activations as from `harvest`, but never stored


@dataclass
class Grid:
    """The cells: the product of `axes`, where the axes named in one list of `zip` step together."""

    axes: dict[str, Any] = field(
        default_factory=dict
    )  # config key: list of values, or a Hydra sweep ("1,2", geom(…))
    zip: list[list[str]] = field(default_factory=list)  # lists of axes that step together
    where: list[str] = field(default_factory=list)  # conditions; a cell is kept if all of them hold
    derive: dict[str, Any] = field(default_factory=dict)  # config key: expression over the cell


@dataclass
class Phase:
    """A phase of a study, as it differs from the study as a whole: docs/guide/phases.md."""

    regime: str = "ln"  # ln: converged; lc: the best loss for the compute, converged or not
    stop: str | None = None  # budget | converged | predicted; null: converged for ln, budget for lc
    grid: Grid = field(
        default_factory=Grid
    )  # a null removes an axis or a derived value of the study's own grid
    sae: dict[str, Any] = field(default_factory=dict)  # any keys of sae
    train: dict[str, Any] = field(default_factory=dict)  # any keys of train
    # Each a number, a list, an expression over the cell, or a rule: {from: PHASE, rule: NAME, …}
    n_latents: Any = None
    batch_tokens: Any = None  # as n_latents
    tokens: Any = None  # as n_latents
    lr: Any = None  # as n_latents


@dataclass
class Budget:
    """The most that a study may cost. A launch that would cost more is refused.

    Of a study in phases it is for all of them, with what has been spent; of any other for the runs that are not done.
    """

    gpu_hours: float | None = None  # worker-hours
    money: float | None = None  # in the currency of per_gpu_hour
    per_gpu_hour: float | None = None  # what a worker-hour costs


@dataclass
class Design:
    """`plan design=true`: which cells to train next, so that a target becomes known better: docs/guide/launching.md."""

    on: bool = False  # design=true and design=false are short for it
    target: str | None = (
        None  # a number of a law (alpha, alpha(k=32), E), or a loss: L(n_latents=131072, k=32)
    )
    law: str | None = None  # the law to ask; null: the first that has the target and that the rows support
    budget: float | None = (
        None  # worker-hours, or FLOPs where the throughput is unknown; null: 35 % of the cells
    )


@dataclass
class Config:
    name: str = "sweep"  # the study's folder under `runs`
    runs: str = "runs"  # the folder of the studies
    seed: int = 0
    data: Data = field(default_factory=Data)
    sae: SAE = field(default_factory=SAE)
    train: Train = field(default_factory=Train)
    grid: Grid = field(default_factory=Grid)
    launcher: Launcher = field(default_factory=Launcher)
    budget: Budget = field(default_factory=Budget)
    design: Design = field(default_factory=Design)
    phases: dict[str, Phase] = field(default_factory=dict)  # in the order in which they are trained


def register() -> None:
    ConfigStore.instance().store(name="base_config", node=Config)


def conf_dir() -> Path:
    """The folder of the config groups: beside this package in a checkout, inside it when installed."""
    inside = Path(__file__).parents[1] / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "conf"
