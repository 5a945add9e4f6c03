"""The provenance stored with an exported SAE: its run, its weights, and the layer of the model it was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sae_core.data.names import Named, lens_hook

# How to prepare the inputs, as text in the metadata of an export, for users who have nothing but the export.
_PREPARED = {
    "mean_off_unit_norm": "subtract each vector's mean over d, then divide it by its norm",
    "none": "none: vectors as they are",
}


# The keys of formats.FORMATS, repeated here so that they can be read without importing torch. A test compares the two.
FORMAT_NAMES = ("saelens", "sparsify", "dictionary_learning", "openai")


class ExportError(ValueError):
    """Raised if an export cannot be written or read. The message is one sentence."""


@dataclass(frozen=True)
class About:
    """Provenance of an exported SAE. A field that is None is unknown."""

    model: str | None = None
    layer: int | None = None  # block number from 0, as these tools count; a harvest config counts from 1
    site: str = "resid_post"  # one of `sae_core.data.configs.SITES`, or the path of a module of the block
    # What other tools call the tensor, by `transformer_lens` and `sparsify`, as the harvest found it in the model.
    names: Mapping[str, Named] = field(default_factory=dict)
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

    @property
    def hook(self) -> Named:
        """TransformerLens' hook."""
        if self.layer is None:
            return Named(None, "the layer is not known")
        return self.names.get("transformer_lens") or lens_hook(self.site, self.layer)

    @property
    def module(self) -> Named:
        """The path of the module whose output was read, in the model without its head."""
        return self.names.get("sparsify") or Named(
            None, "it is not known which: add --module PATH, as layers.3.mlp"
        )

    def note(self) -> dict[str, Any]:
        """The JSON object that every layout stores in its metadata."""
        return {
            "run_id": self.run_id,
            "weights": self.weights,
            "site": None if self.layer is None else self.site,
            "module": self.module.name,
            "input_preparation": self.preparation,
            "input_preparation_folded": False,
            "run": self.run,
        }
