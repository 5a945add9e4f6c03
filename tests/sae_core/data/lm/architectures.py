"""Tiny random models of many architectures, and by hand which module of each returns what a block adds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from sae_core.data.configs import Site
from sae_core.data.lm.language_model import LanguageModel

LAYERS, LAYER = 3, 2  # blocks, and the one that is read, counted from 1
_SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {"num_key_value_heads": 2, "head_dim": 8}


@dataclass(frozen=True)
class Architecture:
    blocks: str  # path of the blocks in the model without its head
    attention: str  # module of a block that returns what attention adds to the stream
    mlp: str
    mid: str | None  # module that reads the stream between the two; None: they are added at once
    options: dict[str, Any] = field(default_factory=dict)
    factor: float = 1.0  # of what the two modules return


def _like(other: Architecture, **options: Any) -> Architecture:
    return Architecture(other.blocks, other.attention, other.mlp, other.mid, other.options | options)


_LLAMA = Architecture("layers", "self_attn", "mlp", "post_attention_layernorm", _GROUPED)
_GEMMA2 = Architecture(
    "layers", "post_attention_layernorm", "post_feedforward_layernorm", "pre_feedforward_layernorm", _GROUPED
)
_GPT2 = Architecture("h", "attn", "mlp", "ln_2")
_LOCAL = {"num_layers": LAYERS, "num_heads": 4, "attention_types": [[["global", "local", "global"], 1]]}

ARCHITECTURES = {
    "gpt2": _like(_GPT2, n_head=4, n_layer=LAYERS, n_embd=32, n_positions=64),
    "gpt_neo": _like(_GPT2, **_LOCAL),
    "gpt_neox": Architecture("layers", "attention", "mlp", None),
    "gptj": Architecture("h", "attn", "mlp", None, {"rotary_dim": 4, "n_positions": 64}),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "granite": Architecture(
        "layers",
        "self_attn",
        "mlp",
        _LLAMA.mid,
        {"num_key_value_heads": 2, "residual_multiplier": 0.22},
        0.22,
    ),
    "gemma2": _GEMMA2,
    "gemma3_text": _GEMMA2,
    "olmo2": Architecture(
        "layers",
        "post_attention_layernorm",
        "post_feedforward_layernorm",
        "mlp",
        {"num_key_value_heads": 2},
    ),
    "phi": Architecture("layers", "self_attn", "mlp", None),
    "bloom": Architecture("h", "self_attention.dense", "mlp.dense_4h_to_h", "post_attention_layernorm"),
    "opt": Architecture(
        "decoder.layers",
        "self_attn",
        "fc2",
        "final_layer_norm",
        {"ffn_dim": 48, "word_embed_proj_dim": 32},
    ),
}


def config(kind: str) -> Any:
    """A small config of this type of model."""
    from transformers import AutoConfig

    return AutoConfig.for_model(kind, **_SIZES | ARCHITECTURES[kind].options)


def model(kind: str, auto: str = "AutoModel", **options: Any) -> Any:
    """A model with random weights, of which norms and biases are far from those that a model begins with."""
    import transformers

    built = getattr(transformers, auto).from_config(config(kind), **options).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in built.base_model.named_parameters():
            centre = float(name.endswith("weight") and ("norm" in name or "ln_" in name))
            spread = 0.3 if weight.ndim == 1 else 0.15
            weight.copy_(centre + spread * torch.randn(weight.shape, generator=generator))
    return built


def tokens(contexts: int = 2, length: int = 10) -> torch.Tensor:
    return torch.randint(3, 64, (contexts, length), generator=torch.Generator().manual_seed(1))


def language_model(kind: str, sites: Sequence[Site], **options: Any) -> LanguageModel:
    """The same model, stopped after the last of these sites."""
    built = model(kind, attn_implementation="eager", **options)
    return LanguageModel(built, None, sites, torch.float32, torch.device("cpu"), "")
