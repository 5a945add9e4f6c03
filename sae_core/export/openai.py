"""The layout of OpenAI's sparse_autoencoder: a state dict in autoencoder.pt, read by `Autoencoder.from_state_dict`."""

import json
from pathlib import Path

import torch

from sae_core.export.about import About, ExportError
from sae_core.export.canonical import sae_of, tensors_of
from sae_core.model import SAE

ACTIVATIONS = {"topk": "TopK", "relu": "ReLU"}
WEIGHTS, NOTE = "autoencoder.pt", "autoencoder.json"  # their loader refuses extra keys in the state dict


def write(folder: Path, sae: SAE, about: About) -> None:
    """The three statistics get the values of an untrained autoencoder, because a run's weights do not include them."""
    t = tensors_of(sae)
    n = len(t["W_enc"])
    state = {
        "pre_bias": t["b_dec"],
        "latent_bias": t["b_enc"],
        "encoder.weight": t["W_enc"],
        "decoder.weight": t["W_dec"].T.contiguous(),
        "stats_last_nonzero": torch.zeros(n, dtype=torch.long),
        "latents_activation_frequency": torch.ones(n),
        "latents_mean_square": torch.ones(n),
        "activation": ACTIVATIONS[sae.config.activation],
    }
    if sae.config.activation == "topk":
        state["activation_state_dict"] = {"k": sae.k, "postact_fn": "ReLU"}
    torch.save(state, folder / WEIGHTS)
    place = {"model": about.model, "layer": about.layer, "hook": about.hook.name}
    (folder / NOTE).write_text(json.dumps(place | about.note(), indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> SAE:
    state = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
    activations = {theirs: ours for ours, theirs in ACTIVATIONS.items()}
    inner = state.get("activation_state_dict") or {}
    if state["activation"] not in activations or inner.get("postact_fn", "ReLU") != "ReLU":
        raise ExportError(
            f"{folder / WEIGHTS} has activation = {state['activation']!r} {inner}; only {', '.join(activations)} "
            "with ReLU can be read."
        )
    tensors = {
        "W_enc": state["encoder.weight"],
        "b_enc": state["latent_bias"],
        "W_dec": state["decoder.weight"].T,
        "b_dec": state["pre_bias"],
    }
    return sae_of(activations[state["activation"]], inner.get("k"), tensors)
