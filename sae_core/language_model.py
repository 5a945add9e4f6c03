"""A causal language model cut off after one decoder block: token ids in, residual stream out. Needs transformers."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sae_core.errors import DataError
from sae_core.shards import sha256_of
from sae_core.text import locate

COMPUTE = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


class _Stop(Exception):
    """Raised by the hook: nothing after the harvested block, the lm_head included, is computed."""


@dataclass
class LanguageModel:
    """`blocks[layer − 1]` is the block whose output is read."""

    model: Any  # a transformers PreTrainedModel without its head
    tokenizer: Any
    layer: int
    compute: torch.dtype
    device: torch.device
    origin: str  # checksum of the weights, or the hub's commit
    blocks_name: str = field(init=False)
    d_model: int = field(init=False)

    def __post_init__(self) -> None:
        self.model.to(self.device).eval().requires_grad_(False)
        self.d_model = int(self.model.config.get_text_config().hidden_size)
        self.blocks_name, blocks = _decoder_blocks(self.model)
        if not 1 <= self.layer <= len(blocks):
            raise DataError(f"layer is {self.layer}; this model has decoder blocks 1 … {len(blocks)}.")
        self.n_layers = len(blocks)
        del blocks[self.layer :]
        blocks[self.layer - 1].register_forward_hook(self._read)

    def residual(self, ids: Tensor) -> Tensor:
        """Residual stream after block `layer`: ids (contexts, length) to (contexts, length, d_model), float32, CPU.

        Matrix products run in `compute` by autocast; norms and the stream itself stay float32.
        """
        reduced = self.compute != torch.float32
        with torch.inference_mode(), torch.autocast(self.device.type, self.compute, enabled=reduced):
            try:
                self.model(input_ids=ids.to(self.device), use_cache=False)
            except _Stop:
                return self._seen.float().cpu()
        raise DataError(
            f"{self.blocks_name} was never called by {type(self.model).__name__}; it cannot be harvested."
        )

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    def token_id(self, token: str | None) -> int:
        """Id of a token; of the BOS for None. Raises DataError if there is none."""
        if token is None:
            if self.tokenizer.bos_token_id is None:
                raise DataError(
                    "the tokenizer has no BOS token; set `prefix` to the token that begins a text."
                )
            return int(self.tokenizer.bos_token_id)
        if token not in (vocabulary := self.tokenizer.get_vocab()):
            raise DataError(f"prefix is {token!r}, which is no token of the tokenizer; name one that is.")
        return int(vocabulary[token])

    def _read(self, block: nn.Module, inputs: Any, output: Any) -> None:
        self._seen: Tensor = output[0] if isinstance(output, tuple) else output
        raise _Stop


def load_language_model(
    model: str, gguf_file: str | None, layer: int, compute: str = "bfloat16", device: str | None = None
) -> LanguageModel:
    """Load `model` (folder, `package:NAME/FOLDER`, or hub id). Raises DataError if it or transformers is missing."""
    if compute not in COMPUTE:
        raise DataError(f"compute is {compute!r}; it must be one of {', '.join(COMPUTE)}.")
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError:
        raise DataError(
            "harvesting needs transformers, not installed here: pip install 'saescale[lm]'."
        ) from None
    folder = locate(model)
    local = model.startswith("package:") or folder.is_dir()
    where = str(folder) if local else model
    options: dict[str, Any] = {"local_files_only": local} | ({"gguf_file": gguf_file} if gguf_file else {})
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
        loaded = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, **options)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"the language model {model!r} could not be loaded: {reason}") from None
    origin = _weights_sha256(folder, gguf_file) if local else str(loaded.config._commit_hash)
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return LanguageModel(loaded.base_model, tokenizer, layer, COMPUTE[compute], chosen, origin)


def _decoder_blocks(model: Any) -> tuple[str, nn.ModuleList]:
    """The one ModuleList with as many entries as the config has layers: `layers` in Llama, `h` in GPT-2."""
    count = model.config.get_text_config().num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return name, module
    raise DataError(f"{type(model).__name__} has no list of {count} decoder blocks; it cannot be harvested.")


def _weights_sha256(folder: Path, gguf_file: str | None) -> str:
    """Checksum of the weight files of a folder, in the order of their names."""
    files = [folder / gguf_file] if gguf_file else sorted(folder.glob("*.safetensors"))
    return hashlib.sha256("".join(map(sha256_of, files)).encode()).hexdigest()
