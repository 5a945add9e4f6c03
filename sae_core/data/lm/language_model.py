"""A language model that stops after one of its blocks and returns activations, by forward hooks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sae_core.data.configs import SITES, Site
from sae_core.data.lm.model_files import ModelFiles, loading
from sae_core.data.lm.sites import Block, Reading, named, resolved
from sae_core.data.lm.trace import Tap, Trace, by_token, first_argument, first_tensor, traced
from sae_core.data.names import Named
from sae_core.errors import DataError

_TRACED = (2, 8)  # contexts and tokens of the forward pass in which sites are found


class _Stop(Exception):
    """Raised by the last hook: nothing after it, a head included, is computed."""


@dataclass(frozen=True)
class Place:
    """A site that was found in a model."""

    site: Site
    block: str  # the path of the block in the model, as layers.3
    reading: Reading
    width: int
    form: str | None  # what was checked to hold for this block
    names: dict[str, Named]  # by the tool whose name for this tensor it is

    def about(self) -> dict[str, Any]:
        """For the manifest: the tensor, how it is read, what was checked, and what other tools call it."""
        return {
            "name": self.site.name
            if self.site.layer
            else "resid_pre",  # layer 0 is the input of the first block
            "arithmetic": self.reading.arithmetic(self.block),
            "checked": self.form,
            "names": {tool: named.name for tool, named in self.names.items()},
            "unnamed": {tool: named.why for tool, named in self.names.items() if named.name is None},
        }


@dataclass
class LanguageModel:
    """A causal model, an encoder, or the encoder of an encoder-decoder. One forward pass reads every site."""

    model: Any  # a transformers PreTrainedModel without its head
    tokenizer: Any
    sites: Sequence[Site]
    compute: torch.dtype
    device: torch.device
    origin: str  # `ModelFiles.origin`
    stack: str = ""  # path of `model` in the whole model, as `encoder`
    blocks_name: str = field(init=False)  # path of the blocks in the whole model
    places: list[Place] = field(init=False)  # of each site

    def __post_init__(self) -> None:
        self.model.eval().requires_grad_(False)
        self.model.config.use_cache = False
        name, blocks = _blocks(self.model)
        self.blocks_name = f"{self.stack}.{name}" if self.stack else name
        self.n_layers = len(blocks)
        for site in self.sites:
            if not 0 <= site.layer <= len(blocks):
                raise DataError(
                    f"layer is {site.layer}; this model has blocks 1 … {len(blocks)}, and 0 is before the first."
                )
        del blocks[max(1, *(site.layer for site in self.sites)) :]
        self.model.to(
            self.device
        )  # without the blocks above the last site, which would only take memory there
        self._seen: dict[tuple[int, Tap], Tensor] = {}
        self.places = self._found(blocks)
        self._wanted = {(_index(place.site), tap) for place in self.places for tap in place.reading.taps}
        for index, tap in self._wanted:
            module = blocks[index].get_submodule(tap.module)
            if tap.part == "input":
                module.register_forward_pre_hook(partial(self._read_input, (index, tap)), with_kwargs=True)
            else:
                module.register_forward_hook(partial(self._read, (index, tap)))

    @property
    def widths(self) -> list[int]:
        return [place.width for place in self.places]

    def activations(self, ids: Tensor) -> list[Tensor]:
        """From ids (contexts, length) to each site's activations, (contexts, length, width), float32, on the CPU.

        Matrix products run in `compute` by autocast; norms and the residual stream itself stay float32.
        """
        self._seen.clear()
        try:
            self._forward(ids)
        except _Stop:
            return [self._rows(place, ids) for place in self.places]
        missing = next(key for key in self._wanted if key not in self._seen)
        raise DataError(
            f"{missing[1].described(f'{self.blocks_name}[{missing[0]}]')} was never read in "
            f"{type(self.model).__name__}; name another site."
        )

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

    def _forward(self, ids: Tensor) -> None:
        reduced = self.compute != torch.float32
        with torch.inference_mode(), torch.autocast(self.device.type, self.compute, enabled=reduced):
            try:
                self.model(input_ids=ids.to(self.device))
            except (_Stop, torch.OutOfMemoryError):
                raise
            except (IndexError, RuntimeError, TypeError, ValueError) as error:
                raise DataError(self._cause(ids, error)) from error

    def _cause(self, ids: Tensor, error: Exception) -> str:
        """One sentence on why the forward pass over these ids failed."""
        table, longest = self.model.get_input_embeddings(), self._positions()
        if isinstance(table, nn.Embedding) and int(ids.max()) >= (rows := table.num_embeddings):
            return (
                f"the text has the token {int(ids.max()):,}, and the model's embedding has {rows:,} rows: the "
                "tokenizer is larger than the model; use the model's own tokenizer."
            )
        what = f"the model failed on contexts of {ids.shape[1]} tokens"
        if longest is not None and ids.shape[1] > longest - 8:
            used = f"{what}, and its table has {longest} positions, of which some models use the first for padding"
            return f"{used}: lower context."
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"{what}: {type(error).__name__}: {lines[0]}"

    def _positions(self) -> int | None:
        longest = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return longest if isinstance(longest, int) else None

    def _found(self, blocks: nn.ModuleList) -> list[Place]:
        """Every site, from a small forward pass. Raises DataError if a block does not have it."""
        indices = sorted({_index(site) for site in self.sites})
        contexts, length = _TRACED
        table = self.model.get_input_embeddings()
        size = table.num_embeddings if isinstance(table, nn.Embedding) else contexts * length
        ids = torch.arange(contexts * length).mul(7919).remainder(size).reshape(_TRACED)
        with traced(
            {index: blocks[index] for index in {*indices, *(i - 1 for i in indices if i)}}, ids
        ) as traces:
            self._forward(ids)
        constants = [x for x in self.model.config.to_dict().values() if isinstance(x, float)]
        found = {index: resolved(traces[index], constants) for index in indices}
        return [self._place(site, blocks[_index(site)], found[_index(site)], traces) for site in self.sites]

    def _place(self, site: Site, block: nn.Module, found: Block, traces: dict[int, Trace]) -> Place:
        index, path = _index(site), f"{self.blocks_name}.{_index(site)}"
        trace = traces[index]
        reading = _reading(site, block, found, trace)
        value = (trace.inputs if reading.tap.part == "input" else trace.outputs).get(reading.tap.module)
        if value is None:
            raise DataError(
                f"site is {site.name!r}, whose output is not one vector for each token; {_choices(block, found)}."
            )
        before = traces[index - 1].outputs.get("") if index else None
        same = before is not None and value.equals(before)
        names = named(reading, found, trace, path, f"{self.blocks_name}.{index - 1}" if same else None)
        if self.stack.endswith("encoder"):
            names["transformer_lens"] = Named(
                None, f"TransformerLens has no name for the blocks of {self.stack!r}"
            )
        return Place(site, path, reading, value.x.shape[1], found.form, names)

    def _read(self, key: tuple[int, Tap], module: nn.Module, inputs: Any, output: Any) -> None:
        self._keep(key, first_tensor(output))

    def _read_input(self, key: tuple[int, Tap], module: nn.Module, inputs: Any, others: Any) -> None:
        self._keep(key, first_argument(inputs, others))

    def _keep(self, key: tuple[int, Tap], x: Tensor | None) -> None:
        if x is None:
            return
        # A copy, since a block may add to a tensor in place after it was read.
        self._seen[key] = x.clone()
        if len(self._seen) == len(self._wanted):
            raise _Stop

    def _rows(self, place: Place, ids: Tensor) -> Tensor:
        index = _index(place.site)
        taken = {}
        for tap in place.reading.taps:
            read = self._seen[index, tap]
            x = by_token(read, tuple(ids.shape))
            if x is None:
                raise DataError(
                    f"{tap.described(place.block)} has the shape {tuple(read.shape)}; it must be (contexts, length, d)."
                )
            taken[tap] = x.float()
        return place.reading.rows(taken).cpu().reshape(*ids.shape, place.width)


def _index(site: Site) -> int:
    return max(site.layer, 1) - 1


def _reading(site: Site, block: nn.Module, found: Block, trace: Trace) -> Reading:
    """How the site is read. Raises DataError, with the sites that the block has, if it does not have this one."""
    if site.layer == 0:
        return Reading(Tap("", "input"))
    if site.name in SITES:
        if site.name in found.sites:
            return found.sites[site.name]
        why = found.lacking[site.name]
        raise DataError(
            f"site is {site.name!r}, which this model does not have: {why}; {_choices(block, found)}."
        )
    try:
        block.get_submodule(site.name)
    except AttributeError:
        raise DataError(
            f"site is {site.name!r}, which is not a module of {type(block).__name__}; {_choices(block, found)}."
        ) from None
    if (calls := trace.calls.get(site.name, 0)) != 1:
        times = f"{calls} times" if calls else "never"
        raise DataError(
            f"site is {site.name!r}, a module called {times} in a forward pass; {_choices(block, found)}."
        )
    return Reading(Tap(site.name))


def _choices(block: nn.Module, found: Block) -> str:
    sites = ", ".join(name for name in SITES if name in found.sites)
    modules = ", ".join(name for name, _ in block.named_children())
    return f"it has {sites or 'none of the named sites'}, and the modules {modules}"


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
    whole = model
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    elif model.config.get_text_config() is not model.config:  # of text and images: the stack that reads text
        model = model.get_decoder()
    stack = next(name for name, module in whole.named_modules() if module is model)
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return LanguageModel(model, tokenizer, sites, getattr(torch, compute), chosen, files.origin, stack)


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
