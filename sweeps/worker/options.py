"""What a worker needs of the launcher's config."""

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    tensorboard: bool = False
    wandb: str = "off"
    wandb_project: str = "saescale"
