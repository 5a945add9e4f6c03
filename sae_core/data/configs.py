"""The settings of each kind of data: harvested, imported, streamed, synthetic. This module does not import torch."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sae_core.errors import ConfigError, DataError, one_of

COMPUTE = ("bfloat16", "float16", "float32")  # dtypes of the matrix products, by their names in torch
_NOTES = ("name", "license", "source")  # these describe the rows and do not change them
_OF_ONE_STORE = ("layer", "site", "hook", "prepare", "dtype", "format", "drop_above", *_NOTES)
# Settings added after stores had been written without them. Left out of the identity where they stand at their default,
# which is what those stores did: an old store stays the finished store of its config, and a stream keeps its rows.
_ADDED = ("site",)
# Settings whose default is not what stores did before there was the setting, with what they did.
BEFORE: dict[str, Any] = {"duplicates": "keep", "near_duplicates": None, "special_tokens": "keep"}
# Tensors by their meaning in the stream. `*_out` is what is added to it, after a norm where there is one.
SITES = ("resid_pre", "resid_mid", "resid_post", "mlp_in", "mlp_out", "attn_out")


@dataclass(frozen=True)
class Site:
    """Where activations are read: at block `layer`, one of SITES, or the output of a module of the block by its path.

    Layer 0 is the input of the first block: the embeddings, with those of the positions where a model adds them there.
    """

    layer: int  # counted from 1, or 0
    name: str = "resid_post"


@dataclass(frozen=True)
class HarvestConfig:
    """The settings of a harvest. `model` and `text` may be `package:NAME/FOLDER` of an installed package."""

    name: str  # of the data, in tables and reports
    model: str  # folder or hub id of a causal model or an encoder
    layer: int  # blocks passed: the residual stream after block `layer`, counted from 1; 0: before the first block
    text: str  # folder of .txt files, one document a file
    tokens: int  # rows in total: training, held-out, and those dropped for their norm
    held_out: int  # how many of them are held out
    gguf_file: str | None = None  # a file in the model's folder, dequantised when loaded
    site: str = "resid_post"  # or resid_pre, resid_mid, mlp_in, mlp_out, attn_out, or a module path
    hook: str | None = None  # the older name of `site` for the path of a module: mlp, self_attn …
    context: int = 128  # tokens per context, including its prefix and suffix tokens
    prefix: str | None = None  # token at position 0; None: the tokenizer's BOS, or CLS
    suffix: str | None = (
        None  # token at the end, which gives no row; None: SEP if the tokenizer has CLS and SEP
    )
    drop_first: int = 1  # positions at the start of a context that give no row; 0 keeps the prefix token
    drop_above: float | None = None  # drop rows whose norm is above this many medians; None: keep all
    held_out_every: int = 10  # one document in this many is held out
    shard_rows: int = 65_536  # rows in a file of the store
    prepare: str = "mean_off_unit_norm"  # of each row, Gao et al. 2024, §2.1; none: the rows as they are
    dtype: str = "float16"  # of the rows on disk
    format: str = "safetensors"  # of the shards; npy: raw arrays
    compute: str = "bfloat16"  # of the matrix products; the residual stream stays float32
    batch_contexts: int = 32  # contexts that the model gets at once
    seed: int = 0  # of the choice of held-out documents and of the order of contexts
    duplicates: str = (
        "drop"  # of documents that differ in case, white space and Unicode form at most; keep: read them
    )
    near_duplicates: float | None = (
        None  # also drop those as similar as this to an earlier one, 0.8 say: MinHash of five words in a row
    )
    special_tokens: str = (
        "drop"  # those that the tokenizer finds inside the text, as a literal <bos>; keep: they stay
    )
    license: str = ""  # of the text and the model; kept in the store's manifest
    source: str = ""  # where they come from; kept there too

    @property
    def place(self) -> Site:
        return Site(self.layer, self.hook or self.site)

    def identity(self) -> dict[str, Any]:
        """The settings that determine the rows. A module's path stands under `hook`, as before there was `site`."""
        path = None if self.place.name in SITES else self.place.name
        settings = asdict(self) | {"hook": path, "site": self.site if path is None else HarvestConfig.site}
        standing = [key for key in _ADDED if settings[key] == getattr(HarvestConfig, key)]
        return {key: value for key, value in settings.items() if key not in (*_NOTES, *standing)}


@dataclass(frozen=True)
class ArrayConfig:
    """Activations in files. The last `held_out` rows are held out."""

    path: str  # .npy or .safetensors file of shape (rows, d), or a folder of such files
    held_out: int = 16_384  # this many rows, the last ones
    prepare: str = "none"  # mean_off_unit_norm: subtract the mean over d, then divide by the norm
    dtype: str = "float16"  # of the rows on disk
    format: str = "safetensors"  # of the shards; npy: raw arrays
    shard_rows: int = 65_536  # rows in a file of the store
    drop_above: float | None = None  # drop rows whose norm is above this many medians; null: keep all
    integers: bool = False  # take files of integers, which are refused otherwise


@dataclass(frozen=True)
class StreamingConfig:
    """How much of the stream is kept in memory. What is streamed is a `HarvestConfig`."""

    buffer_tokens: int = 262_144  # rows of a block, which are shuffled together; two blocks are kept
    sample_tokens: int = (
        32_768  # training rows for the mean and for b_pre, run through the model at every start
    )


@dataclass(frozen=True)
class SyntheticConfig:
    """x = Σ_{j=1..K} c_j f_{i_j} over unit features f, K ~ Poisson(l0), i ~ Zipf(zipf), c = ½ + Exp(mean ½).

    The defaults are those of `make demo`.
    """

    d_model: int = 128  # d, the width of x
    n_features: int = 65_536  # how many features f there are
    zipf: float = 1.2  # frequency of the i-th feature ∝ i^−zipf
    l0: float = 4.0  # features per token, on average
    tail: bool = True  # add the energy of the missing features i > n_features as isotropic noise
    held_out: int = 16_384  # tokens that are held out
    seed: int = 0  # of the feature directions

    def check(self) -> None:
        """Raise ConfigError for a value out of its range."""
        for name in ("d_model", "n_features", "held_out"):
            if getattr(self, name) < 1:
                raise ConfigError(f"data.synthetic.{name} is {getattr(self, name)}; it must be at least 1.")
        for name, number, ok in (
            ("l0", self.l0, 0 < self.l0 <= self.n_features),
            ("zipf", self.zipf, (1 if self.tail else -1) < self.zipf < 100),
            ("seed", self.seed, 0 <= self.seed < 2**32),
        ):
            if not ok:
                raise ConfigError(f"data.synthetic.{name} is {number}, which is out of range.")

    @property
    def fingerprint(self) -> str:
        """Hash of everything that determines the rows."""
        text = json.dumps({"synthetic": 1, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def check(cfg: HarvestConfig) -> None:
    """Raise DataError for values that are wrong for any model and text."""
    from sae_core.data.disk.prepare import PREPARATIONS
    from sae_core.data.disk.shards import DTYPES, FORMATS

    least = {"layer": 0, "context": 2, "held_out": 1, "held_out_every": 2, "shard_rows": 1}
    for key, low in (least | {"batch_contexts": 1, "drop_first": 0}).items():
        if getattr(cfg, key) < low:
            raise DataError(f"{key} is {getattr(cfg, key)}; it must be at least {low}.")
    if not cfg.site or cfg.hook == "":
        raise DataError(
            f"site is {cfg.site!r} and hook is {cfg.hook!r}: name one of {', '.join(SITES)}, or a module."
        )
    if cfg.hook is not None and (cfg.site != HarvestConfig.site or cfg.hook in SITES):
        raise DataError(
            f"hook is {cfg.hook!r} and site is {cfg.site!r}; hook is the older name of site for the path of a module: "
            "set site alone."
        )
    if cfg.layer == 0 and cfg.place.name != HarvestConfig.site:
        key = "site" if cfg.hook is None else "hook"
        raise DataError(
            f"{key} is {cfg.place.name!r} with layer = 0, the residual stream before the first block, which has no "
            f"modules; leave {key} out, or set layer to 1."
        )
    if cfg.tokens <= cfg.held_out:
        raise DataError(f"tokens is {cfg.tokens:,} with {cfg.held_out:,} held out; it must be larger.")
    if cfg.drop_above is not None and not cfg.drop_above > 1:
        raise DataError(f"drop_above is {cfg.drop_above}; it counts medians and must be above 1.")
    one_of("duplicates", cfg.duplicates, ("drop", "keep"))
    one_of("special_tokens", cfg.special_tokens, ("drop", "keep"))
    near = cfg.near_duplicates
    if near is not None and (cfg.duplicates == "keep" or not 0 < near < 1):
        raise DataError(
            f"near_duplicates is {near} with duplicates = {cfg.duplicates}; it is a similarity above 0 and below 1, "
            "and needs duplicates = drop."
        )
    one_of("prepare", cfg.prepare, PREPARATIONS)
    one_of("dtype", cfg.dtype, DTYPES)
    one_of("format", cfg.format, FORMATS)
    one_of("compute", cfg.compute, COMPUTE)


def check_one_pass(cfgs: Sequence[HarvestConfig]) -> None:
    """Raise DataError if one forward pass cannot fill the stores of all these configs."""
    for cfg in cfgs:
        check(cfg)
    tokens = [{key: value for key, value in asdict(cfg).items() if key not in _OF_ONE_STORE} for cfg in cfgs]
    for key in tokens[0]:
        if len(values := {str(each[key]) for each in tokens}) > 1:
            raise DataError(
                f"{key} is {' and '.join(sorted(values))} in layers harvested together; harvest them one by one."
            )
