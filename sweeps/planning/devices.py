"""A model of a GPU, from which a plan knows hours before any run has been measured.

A step takes as long as its one dense product, the encoder's, at a share of the peak, and after it as long as the rest
takes to move at a share of the memory's bandwidth. Both shares are assumptions, and the plan prints them; the
throughput that runs measure replaces this model.
"""

from dataclasses import dataclass

from sae_core.config import RANKED, RunConfig
from sae_core.training.memory import FLOAT
from sweeps.errors import SweepError

PEAK_SHARE, BANDWIDTH_SHARE = 0.4, 0.5
# Passes over k rows of d numbers a token: decoding, latent gradients, and both weight gradients.
_GATHERS = 4
# Reads and writes of each weight in an update: weight, moments and average both ways, and the gradient once.
_UPDATES = 9


@dataclass(frozen=True)
class Device:
    """A GPU by its data sheet: peak FLOPs per second by precision, without sparsity; bytes per second; GB."""

    name: str
    peak: dict[str, float]
    bandwidth: float
    memory_gb: float
    source: str

    def seconds(self, run: RunConfig) -> float:
        """The seconds of a whole run, without AuxK and evaluations."""
        n, d, k, B = run.sae.n_latents, run.data.d_model, run.sae.k or 0, run.train.batch_tokens
        ranked = run.sae.activation in RANKED
        flops = (2 if ranked else 12) * n * d * B
        moved = 2 * n * B + (_GATHERS * k * d * B if ranked else 0) + _UPDATES * 2 * n * d
        step = flops / (PEAK_SHARE * self.peak[run.train.precision])
        step += FLOAT * moved / (BANDWIDTH_SHARE * self.bandwidth)
        return step * run.train.budget / B

    @property
    def text(self) -> str:
        """Where the hours come from, for the plan."""
        return (
            f"{self.name} by its data sheet, assuming {PEAK_SHARE:.0%} of its peak and {BANDWIDTH_SHARE:.0%} of its "
            f"{self.bandwidth / 1e12:g} TB/s; not measured"
        )


_H100 = {"fp32": 67e12, "tf32": 494e12, "bf16": 989e12}
_SHEET = "NVIDIA {} Tensor Core GPU data sheet, SXM"
DEVICES = {
    one.name: one
    for one in (
        Device("A100", {"fp32": 19.5e12, "tf32": 156e12, "bf16": 312e12}, 2.04e12, 80, _SHEET.format("A100 80GB")),
        Device("H100", _H100, 3.35e12, 80, _SHEET.format("H100")),
        Device("H200", _H100, 4.8e12, 141, _SHEET.format("H200")),
    )
}  # fmt: skip


def device(name: str) -> Device:
    """The device of a name; SweepError, with the known ones, if there is none."""
    if name not in DEVICES:
        raise SweepError(
            f"launcher.gpu is {name!r}; known are {', '.join(DEVICES)}: for another GPU set launcher.flops_per_s.",
            name,
            DEVICES,
        )
    return DEVICES[name]
