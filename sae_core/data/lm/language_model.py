"""A language model that stops after one of its blocks and returns activations, by forward hooks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sae_core.data.configs import Site
from sae_core.data.lm.model_files import ModelFiles, loading
from sae_core.errors import DataError


class _Stop(Exception):
    """Raised by the last hook: nothing after it, a head included, is computed."""


@dataclass
class LanguageModel:
    """A causal model, an encoder, or the encoder of an encoder-decoder. One forward pass reads every site."""

    model: Any  # a transformers PreTrainedModel without its head
    tokenizer: Any
    sites: Sequence[Site]
    compute: torch.dtype
    device: torch.device
    origin: str  # `ModelFiles.origin`
    blocks_name: str = field(init=False)
    widths: list[int] = field(init=False)  # of each site's activations

    def __post_init__(self) -> None:
        self.model.to(self.device).eval().requires_grad_(False)
        self.model.config.use_cache = False
        self.blocks_name, blocks = _blocks(self.model)
        self.n_layers = len(blocks)
        self._seen: dict[int, Tensor] = {}
        modules = [self._module(blocks, site) for site in self.sites]
        del blocks[max(1, *(site.layer for site in self.sites)) :]
        for index, (module, site) in enumerate(zip(modules, self.sites, strict=True)):
            if site.layer == 0:
                module.register_forward_pre_hook(partial(self._read_input, index), with_kwargs=True)
            else:
                module.register_forward_hook(partial(self._read, index))
        self.widths = [x.shape[-1] for x in self.activations(torch.zeros(1, 2, dtype=torch.long))]

    def activations(self, ids: Tensor) -> list[Tensor]:
        """From ids (contexts, length) to each site's activations, (contexts, length, width), float32, on the CPU.

        Matrix products run in `compute` by autocast; norms and the residual stream itself stay float32.
        """
        reduced = self.compute != torch.float32
        self._seen.clear()
        with torch.inference_mode(), torch.autocast(self.device.type, self.compute, enabled=reduced):
            try:
                self.model(input_ids=ids.to(self.device))
            except _Stop:
                return [self._checked(self._seen[index], ids) for index in range(len(self.sites))]
        missing = next(site for index, site in enumerate(self.sites) if index not in self._seen)
        raise DataError(
            f"{self.described(missing)} was never called by {type(self.model).__name__}; name another."
        )

    def described(self, site: Site) -> str:
        return f"{self.blocks_name}[{max(site.layer, 1) - 1}]{'.' + site.hook if site.hook else ''}"

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    def prefix_id(self, token: str | None) -> int:
        """Id of the token that begins a context; None takes BOS or CLS. Raises DataError if there is neither."""
        if token is not None:
            return self._token_id("prefix", token)
        for own in (self.tokenizer.bos_token_id, self.tokenizer.cls_token_id):
            if own is not None:
                return int(own)
        raise DataError(
            "the tokenizer has no BOS or CLS token; set `prefix` to the token that begins a text."
        )

    def suffix_id(self, token: str | None) -> int | None:
        """Id of the token that ends a context; None takes SEP if the tokenizer has CLS and SEP, else no token."""
        if token is not None:
            return self._token_id("suffix", token)
        if self.tokenizer.cls_token_id is None or self.tokenizer.sep_token_id is None:
            return None
        return int(self.tokenizer.sep_token_id)

    def _token_id(self, key: str, token: str) -> int:
        if token not in (vocabulary := self.tokenizer.get_vocab()):
            raise DataError(f"{key} is {token!r}, which is not a token of the tokenizer; give one that is.")
        return int(vocabulary[token])

    def _module(self, blocks: nn.ModuleList, site: Site) -> nn.Module:
        if not 0 <= site.layer <= len(blocks):
            raise DataError(
                f"layer is {site.layer}; this model has blocks 1 … {len(blocks)}, and 0 is before the first."
            )
        block = blocks[max(site.layer, 1) - 1]
        try:
            return block.get_submodule(site.hook or "")
        except AttributeError:
            names = ", ".join(name for name, _ in block.named_children())
            raise DataError(
                f"hook is {site.hook!r}, which is not a module of {type(block).__name__}; it has {names}."
            ) from None

    def _read(self, index: int, module: nn.Module, inputs: Any, output: Any) -> None:
        self._keep(index, output[0] if isinstance(output, tuple) else output)

    def _read_input(self, index: int, module: nn.Module, inputs: Any, named: Any) -> None:
        # A copy, since a block may add to its input in place.
        self._keep(index, (inputs[0] if inputs else named["hidden_states"]).clone())

    def _keep(self, index: int, x: Tensor) -> None:
        self._seen[index] = x
        if len(self._seen) == len(self.sites):
            raise _Stop

    def _checked(self, x: Tensor, ids: Tensor) -> Tensor:
        if x.ndim != 3 or x.shape[:2] != ids.shape:
            raise DataError(
                f"the hook read an output of shape {tuple(x.shape)}; it must be (contexts, length, d)."
            )
        return x.float().cpu()


def load_language_model(
    files: ModelFiles, sites: Sequence[Site], compute: str = "bfloat16", device: str | None = None
) -> LanguageModel:
    """Load a model. Raises DataError if it or transformers is missing, or it has no such layer or module.

    device: "cpu", "cuda", …; None takes the GPU if there is one.
    """
    with loading(files.model):
        from transformers import AutoModel, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(files.where, **files.options)
        with _without_load_report():
            model, keys = AutoModel.from_pretrained(
                files.where, dtype=torch.float32, output_loading_info=True, **files.options
            )
    if missing := sorted(key for key in keys["missing_keys"] if not key.startswith("pooler.")):
        raise DataError(
            f"the language model {files.model!r} lacks {len(missing)} weights, {missing[0]} the first; a random one "
            "would take their place."
        )
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return LanguageModel(model, tokenizer, sites, getattr(torch, compute), chosen, files.origin)


@contextmanager
def _without_load_report() -> Iterator[None]:
    """Silence transformers' load report, which would list the head as unused; it is left out on purpose."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _blocks(model: Any) -> tuple[str, nn.ModuleList]:
    """The first ModuleList with as many entries as the config has layers: `layers` in Llama, `h` in GPT-2."""
    count = model.config.get_text_config().num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return name, module
    raise DataError(f"{type(model).__name__} has no list of {count} blocks; it cannot be harvested.")
