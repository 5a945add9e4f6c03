"""The provenance stored with an exported SAE: its run, its weights, and the layer of the model it was trained on."""

from dataclasses import dataclass
from typing import Any

# How to prepare the inputs, as text in the metadata of an export, for users who have nothing but the export.
_PREPARED = {
    "mean_off_unit_norm": "subtract each vector's mean over d, then divide it by its norm",
    "none": "none: vectors as they are",
}


# The keys of formats.FORMATS, repeated here so that they can be read without importing torch. A test compares the two.
FORMAT_NAMES = ("saelens", "sparsify", "dictionary_learning", "openai")


RESID_PRE = "resid_pre"


class ExportError(ValueError):
    """Raised if an export cannot be written or read. The message is one sentence."""


@dataclass(frozen=True)
class About:
    """Provenance of an exported SAE. A field that is None is unknown, except `hook`."""

    model: str | None = None
    layer: int | None = None  # block number from 0, as these tools count; a harvest config counts from 1
    # Module of the block, e.g. mlp; None: the residual stream after the block; RESID_PRE: the one before it.
    hook: str | None = None
    prepare: str | None = None  # a key of `sae_core.data.disk.prepare.PREPARATIONS`
    dataset: str | None = None
    context: int | None = None  # tokens
    weights: str = "live"  # or "ema"
    run_id: str | None = None
    run: dict[str, Any] | None = None  # `RunConfig.as_dict`

    @property
    def preparation(self) -> str:
        """How an activation vector must be transformed before the exported SAE encodes it."""
        if self.prepare is None:
            return "not known"
        return _PREPARED.get(self.prepare, self.prepare)

    def note(self) -> dict[str, Any]:
        """The JSON object that every layout stores in its metadata."""
        return {
            "run_id": self.run_id,
            "weights": self.weights,
            "input_preparation": self.preparation,
            "input_preparation_folded": False,
            "run": self.run,
        }
