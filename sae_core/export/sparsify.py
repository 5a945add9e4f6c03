"""The layout of sparsify: cfg.json and sae.safetensors in a folder named after a module, which `SparseCoder` loads."""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file

from sae_core.export.about import About, ExportError
from sae_core.export.canonical import sae_of, tensors_of
from sae_core.model import SAE

ACTIVATIONS = ("topk",)
WEIGHTS, CONFIG = "sae.safetensors", "cfg.json"


def folder_name(about: About) -> str:
    """The hookpoint, which `load_many` looks up by folder name and `get_submodule` finds: layers.3, h.3.mlp …"""
    if about.module.name is None:
        raise ExportError(f"sparsify has no name for what was read: {about.module.why}.")
    return about.module.name


def write(folder: Path, sae: SAE, about: About) -> None:
    t = tensors_of(sae)
    n, d = t["W_enc"].shape
    weights = {
        "encoder.weight": t["W_enc"],
        "encoder.bias": t["b_enc"],
        "W_dec": t["W_dec"],
        "b_dec": t["b_dec"],
    }
    save_file(weights, folder / WEIGHTS)
    config = {
        "activation": "topk",
        "expansion_factor": max(n // d, 1),  # num_latents overrides it and need not be a multiple of d
        "normalize_decoder": True,
        "num_latents": n,
        "k": sae.k,
        "multi_topk": sae.config.multi_topk,
        "skip_connection": False,
        "transcode": False,
        "d_in": d,
        "saescale": about.note(),
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> SAE:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    for key, fits in (("activation", "topk"), ("skip_connection", False), ("transcode", False)):
        if config.get(key, fits) != fits:
            raise ExportError(f"{folder / CONFIG} has {key} = {config[key]!r}; only {fits!r} can be read.")
    t = load_file(folder / WEIGHTS)
    t["W_enc"], t["b_enc"] = t.pop("encoder.weight"), t.pop("encoder.bias")
    return sae_of("topk", config["k"], t)
