"""The cost of a run before it is trained: memory, disk, FLOPs, and seconds at a known throughput."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from sae_core.config import RANKED, RunConfig
from sae_core.training import flops, memory
from sae_core.training.memory import FLOAT, NARROW
from sweeps.config.launcher import Launcher
from sweeps.ledger.run_folder import RunFolder
from sweeps.planning.devices import Device, device

# Per parameter: weight, gradient, two moments, average and, during an evaluation, the bias-corrected average.
COPIES = 6
GiB = 2.0**30


@dataclass(frozen=True)
class Throughput:
    """How fast one worker is.

    flops_per_s: in the sparse convention. source: the origin of the number, for the plan. device: the model of a GPU
    that says how long each run takes, in place of flops_per_s, as long as nothing is known better.
    """

    flops_per_s: float
    source: str
    device: Device | None = None

    @property
    def text(self) -> str:
        """`1.00e+09 FLOPs/s a worker, configured`."""
        if self.device is not None:
            return self.source
        return f"{self.flops_per_s:.2e} FLOPs/s a worker, {self.source}"


def parameters(run: RunConfig) -> int:
    """The number of parameters.

    It is 2·n·d + d, plus n for an encoder bias, n for the thresholds of jumprelu, and 2·n for the magnitudes of gated.
    """
    n, d = run.sae.n_latents, run.data.d_model
    vectors = {"jumprelu": 1, "gated": 2}.get(run.sae.activation, 0) + bool(run.sae.encoder_bias)
    return 2 * n * d + d + vectors * n


def state_bytes(run: RunConfig) -> int:
    """Bytes that a run occupies for as long as it is in a pack."""
    narrow = NARROW.get(run.train.precision, 0) if run.sae.activation in RANKED else 0
    copies = narrow * 2 * run.sae.n_latents * run.data.d_model
    return FLOAT * COPIES * parameters(run) + copies + 8 * run.sae.n_latents


def step_bytes(run: RunConfig, memory_gb: float | None = None) -> int:
    """Bytes that one step needs in addition and then frees: micro-batches of (rows, n), arrays of (B, d) and (B, k).

    memory_gb: the memory of the device, which sets the size of the micro-batch; None for a CPU.
    """
    sae, B, d = run.sae, run.train.batch_tokens, run.data.d_model
    device = None if memory_gb is None else int(memory_gb * GiB)
    rows = run.train.micro_batch_tokens or memory.tokens_at_once(sae, B, device)
    return FLOAT * (memory.copies(sae) * min(rows, B) * sae.n_latents + B * (4 * d + 6 * (sae.k or 0)))


def pack_bytes(runs: Iterable[RunConfig], memory_gb: float | None = None) -> int:
    """Bytes for runs that are trained together and take their steps one after another."""
    runs = list(runs)
    return sum(map(state_bytes, runs)) + max((step_bytes(run, memory_gb) for run in runs), default=0)


def disk_bytes(run: RunConfig, keep_state: bool = False) -> tuple[int, int]:
    """Bytes on disk while the run trains, for two checkpoints with moments, and after its end, for its weights.

    keep_state: whether one checkpoint is kept too.
    """
    size = FLOAT * parameters(run)
    return 2 * 4 * size, (2 + 4 * keep_state) * size


def seconds(run: RunConfig, at: Throughput | None) -> float | None:
    """Seconds for the whole run; None if the throughput is unknown."""
    if at is None:
        return None
    return flops_sparse(run) / at.flops_per_s if at.device is None else at.device.seconds(run)


def flops_sparse(run: RunConfig) -> float:
    """Training FLOPs of the whole budget in the sparse convention, without AuxK, whose share is unknown in advance."""
    return run.train.budget * flops.sparse_per_token(run.sae, run.data.d_model)


def flops_dense(run: RunConfig) -> float:
    return run.train.budget * flops.dense_per_token(run.sae.n_latents, run.data.d_model)


def throughput(launcher: Launcher, ended: Iterable[RunFolder]) -> Throughput | None:
    """The configured throughput, or the median of runs that ended on this kind of device, or the model of a GPU."""
    if launcher.flops_per_s:
        return Throughput(launcher.flops_per_s, "configured")
    rates = [rate for folder in ended if (rate := _measured(folder, launcher.device))]
    if rates:
        return Throughput(median(rates), f"measured on {len(rates)} runs")
    if launcher.gpu is None or launcher.device != "cuda":
        return None
    known = device(launcher.gpu)
    return Throughput(known.peak["fp32"], known.text, known)


def _measured(folder: RunFolder, device: str) -> float | None:
    facts, result = folder.environment() or {}, folder.result() or {}
    on_cpu = str(facts.get("device", "")).endswith("CPU")
    done, took = result.get("flops_sparse"), result.get("train_seconds")
    if not (done and took and on_cpu == (device == "cpu")):
        return None
    tokens, shared = result.get("tokens"), result.get("shared_tokens")
    return float(done) * (1 - shared / tokens if shared and tokens else 1.0) / float(took)


def seconds_spent(folder: RunFolder) -> float:
    """The seconds that a run has been trained so far, as its last evaluation says; 0 before the first."""
    curve = folder.curve()
    return float(curve[-1].get("train_seconds") or 0.0) if curve else 0.0
