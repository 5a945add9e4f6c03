"""The layout of dictionary_learning and SAEBench: ae.pt and config.json in a folder trainer_i (`load_dictionary`)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae_core.export.about import About, ExportError
from sae_core.export.canonical import sae_of, tensors_of
from sae_core.model import SAE

# Our activation -> their trainer class, which SAEBench reads, and their dictionary class, which the loader reads.
CLASSES = {
    "topk": ("TopKTrainer", "AutoEncoderTopK"),
    "batchtopk": ("BatchTopKTrainer", "BatchTopKSAE"),
    "relu": ("StandardTrainer", "AutoEncoder"),
    "jumprelu": ("JumpReluTrainer", "JumpReluAutoEncoder"),
    "gated": ("GatedSAETrainer", "GatedAutoEncoder"),
}
WEIGHTS, CONFIG = "ae.pt", "config.json"
_UNSET = -1.0  # written as `threshold` of a TopK dictionary without one


def write(folder: Path, sae: SAE, about: About) -> None:
    t = tensors_of(sae)
    state = _LAYOUTS[sae.config.activation][0](t, sae.config.k)
    torch.save({name: tensor.contiguous() for name, tensor in state.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(_config(sae, about), indent=1) + "\n", encoding="utf-8")


def _config(sae: SAE, about: About) -> dict[str, Any]:
    trainer_class, dict_class = CLASSES[sae.config.activation]
    n, d = sae.W_dec.shape
    place = None if about.layer is None else f"{about.site}_layer_{about.layer}"
    trainer = {
        "trainer_class": trainer_class,
        "dict_class": dict_class,
        "activation_dim": d,
        "dict_size": n,
        "layer": about.layer,
        "lm_name": about.model,
        "submodule_name": place,
    }
    if sae.config.k is not None:
        trainer["k"] = sae.config.k  # the loader refuses a value that differs from the tensor `k`
    return {"trainer": trainer, "buffer": {"ctx_len": about.context}, "saescale": about.note()}


def read(folder: Path) -> SAE:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["trainer"]
    activations = {dict_class: ours for ours, (_, dict_class) in CLASSES.items()}
    if config["dict_class"] not in activations:
        raise ExportError(
            f"{folder / CONFIG} has dict_class = {config['dict_class']!r}; only {', '.join(activations)} can be read."
        )
    activation = activations[config["dict_class"]]
    state = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
    k = int(state["k"]) if "k" in state else None
    return sae_of(activation, k, _LAYOUTS[activation][1](state))


def _linear(t: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"encoder.weight": t["W_enc"], "encoder.bias": t["b_enc"], "decoder.weight": t["W_dec"].T}


def _from_linear(s: dict[str, Tensor], b_dec: str) -> dict[str, Tensor]:
    return {
        "W_enc": s["encoder.weight"],
        "b_enc": s["encoder.bias"],
        "W_dec": s["decoder.weight"].T,
        "b_dec": s[b_dec],
    }


def _topk(t: dict[str, Tensor], k: int | None) -> dict[str, Tensor]:
    threshold = t.get("threshold", torch.tensor(_UNSET))
    return _linear(t) | {
        "b_dec": t["b_dec"],
        "k": torch.tensor(k, dtype=torch.int32),
        "threshold": threshold.float(),
    }


def _from_topk(s: dict[str, Tensor]) -> dict[str, Tensor]:
    return _from_linear(s, "b_dec")


def _from_batchtopk(s: dict[str, Tensor]) -> dict[str, Tensor]:
    return _from_linear(s, "b_dec") | {"threshold": s["threshold"]}


def _standard(t: dict[str, Tensor], k: int | None) -> dict[str, Tensor]:
    return _linear(t) | {"bias": t["b_dec"]}


def _from_standard(s: dict[str, Tensor]) -> dict[str, Tensor]:
    return _from_linear(s, "bias")


def _jumprelu(t: dict[str, Tensor], k: int | None) -> dict[str, Tensor]:
    """Their JumpReLU does not subtract b_dec from x: W_enc (x − b_dec) + b_enc = W_enc x + (b_enc − W_enc b_dec)."""
    folded = t["b_enc"].double() - t["W_enc"].double() @ t["b_dec"].double()
    return {
        "W_enc": t["W_enc"].T,
        "b_enc": folded.float(),
        "W_dec": t["W_dec"],
        "b_dec": t["b_dec"],
        "threshold": t["threshold"],
    }


def _from_jumprelu(s: dict[str, Tensor]) -> dict[str, Tensor]:
    unfolded = s["b_enc"].double() + s["W_enc"].double().T @ s["b_dec"].double()
    return s | {"W_enc": s["W_enc"].T, "b_enc": unfolded}


def _gated(t: dict[str, Tensor], k: int | None) -> dict[str, Tensor]:
    return {
        "decoder_bias": t["b_dec"],
        "encoder.weight": t["W_enc"],
        "decoder.weight": t["W_dec"].T,
        "r_mag": t["r_mag"],
        "gate_bias": t["b_enc"],
        "mag_bias": t["b_mag"],
    }


def _from_gated(s: dict[str, Tensor]) -> dict[str, Tensor]:
    named = _from_linear(s | {"encoder.bias": s["gate_bias"]}, "decoder_bias")
    return named | {"r_mag": s["r_mag"], "b_mag": s["mag_bias"]}


_Write = Callable[[dict[str, Tensor], int | None], dict[str, Tensor]]
_Read = Callable[[dict[str, Tensor]], dict[str, Tensor]]
_LAYOUTS: dict[str, tuple[_Write, _Read]] = {
    "topk": (_topk, _from_topk),
    "batchtopk": (_topk, _from_batchtopk),
    "relu": (_standard, _from_standard),
    "jumprelu": (_jumprelu, _from_jumprelu),
    "gated": (_gated, _from_gated),
}
