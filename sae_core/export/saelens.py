"""The layout of SAELens: cfg.json and sae_weights.safetensors in a folder, read by `SAE.load_from_disk(folder)`."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from sae_core.export.about import About, ExportError
from sae_core.export.canonical import sae_of, tensors_of
from sae_core.model import SAE

# Our activation -> their architecture. SAELens has no inference class for batchtopk and saves its own batchtopk SAEs as
# jumprelu with one θ for all latents.
ARCHITECTURES = {
    "topk": "topk",
    "batchtopk": "jumprelu",
    "relu": "standard",
    "jumprelu": "jumprelu",
    "gated": "gated",
}
WEIGHTS, CONFIG = "sae_weights.safetensors", "cfg.json"
_LAYOUT = "6.0.0"  # SAELens converts a config from older layouts unless its metadata has a version ≥ 6


def write(folder: Path, sae: SAE, about: About) -> None:
    t = tensors_of(sae)
    n, d = t["W_enc"].shape
    weights = {"W_enc": t["W_enc"].T, "W_dec": t["W_dec"], "b_dec": t["b_dec"]}
    if sae.config.activation == "gated":
        weights |= {"b_gate": t["b_enc"], "b_mag": t["b_mag"], "r_mag": t["r_mag"]}
    else:
        weights["b_enc"] = t["b_enc"]
    if "threshold" in t:
        weights["threshold"] = t["threshold"].expand(n)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(_config(sae, d, about), indent=1) + "\n", encoding="utf-8")


def _config(sae: SAE, d: int, about: About) -> dict[str, Any]:
    architecture = ARCHITECTURES[sae.config.activation]
    ranked = {"k": sae.k, "rescale_acts_by_decoder_norm": False} if architecture == "topk" else {}
    return {
        "architecture": architecture,
        "d_in": d,
        "d_sae": sae.config.n_latents,
        **ranked,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": _LAYOUT,
            "sae_lens_training_version": None,  # SAELens did not train it
            "model_name": about.model,
            "hook_name": about.hook.name,
            "hook_head_index": None,
            "dataset_path": about.dataset,
            "context_size": about.context,
            "prepend_bos": None,
            "saescale": about.note() | {"activation": sae.config.activation, "k": sae.config.k},
        },
    }


def read(folder: Path) -> SAE:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    t = load_file(folder / WEIGHTS)
    _refuse(folder, config)
    ours = (config.get("metadata") or {}).get("saescale") or {}
    theirs = {theirs: ours for ours, theirs in ARCHITECTURES.items() if ours != "batchtopk"}
    activation = ours.get("activation") or theirs[config["architecture"]]
    t["W_enc"] = t["W_enc"].T
    if activation == "gated":
        t["b_enc"] = t.pop("b_gate")
    if activation == "batchtopk":
        t["threshold"] = t["threshold"][0]
    if not config.get("apply_b_dec_to_input", True):
        t = _with_input_bias(t)
    return sae_of(activation, config.get("k", ours.get("k")), t)


def _refuse(folder: Path, config: dict[str, Any]) -> None:
    """Raise ExportError for a setting that our SAEs do not have."""
    for key, fits in (
        ("architecture", tuple(ARCHITECTURES.values())),
        ("normalize_activations", ("none", None)),
        ("reshape_activations", ("none", None)),
        ("rescale_acts_by_decoder_norm", (False, None)),
    ):
        if config.get(key) not in fits:
            raise ExportError(
                f"{folder / CONFIG} has {key} = {config.get(key)!r}; only {', '.join(sorted({str(f) for f in fits}))} "
                "can be read."
            )


def _with_input_bias(t: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same SAE with b_dec subtracted from x: W_enc x + b_enc = W_enc (x − b_dec) + (b_enc + W_enc b_dec)."""
    shift = t["W_enc"] @ t["b_dec"]
    moved = {"b_enc": t["b_enc"] + shift}
    if "b_mag" in t:
        moved["b_mag"] = t["b_mag"] + t["r_mag"].exp() * shift
    return t | moved
