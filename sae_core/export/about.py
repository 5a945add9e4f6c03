"""What an exported SAE says of itself: which run and weights it is, of which place in which model."""

from dataclasses import dataclass
from typing import Any

# How a tool that has only the export is told to prepare its inputs.
_PREPARED = {
    "mean_off_unit_norm": "subtract each vector's mean over d, then divide it by its norm",
    "none": "none: vectors as they are",
}


# The keys of formats.FORMATS, known here without importing torch; a test compares them.
FORMAT_NAMES = ("saelens", "sparsify", "dictionary_learning", "openai")


class ExportError(ValueError):
    """An export that cannot be written, or cannot be read: one sentence."""


@dataclass(frozen=True)
class About:
    """None: not known. layer: the block's number from 0, as these tools count; a harvest config counts from 1."""

    model: str | None = None
    layer: int | None = None
    hook: str | None = None  # module of the block, as mlp; None: the residual stream after the block
    prepare: str | None = None  # key of `sae_core.data.prepare.PREPARATIONS`
    dataset: str | None = None
    context: int | None = None  # tokens
    weights: str = "live"  # or "ema"
    run_id: str | None = None
    run: dict[str, Any] | None = None  # `RunConfig.as_dict`

    @property
    def preparation(self) -> str:
        """What has to be done to an activation vector before it is given to the exported SAE."""
        if self.prepare is None:
            return "not known"
        return _PREPARED.get(self.prepare, self.prepare)

    def note(self) -> dict[str, Any]:
        """For the metadata of every layout: JSON."""
        return {
            "run_id": self.run_id,
            "weights": self.weights,
            "input_preparation": self.preparation,
            "input_preparation_folded": False,
            "run": self.run,
        }
