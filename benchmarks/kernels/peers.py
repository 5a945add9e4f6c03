"""The peers' kernels, imported from their packages: those of eai-sparsify, and OpenAI's from llamascopium."""

import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Container
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kernels.case import Inputs, Shape
from benchmarks.kernels.works import OURS, ROWS, Work, compact, relative_error
from benchmarks.train.case import device
from kernels import reference
from kernels.gather_sum import gather_sum

ROOT = Path(__file__).parents[2]
SPARSIFY, OPENAI = "eai-sparsify", "llamascopium (OpenAI's)"
Decode = Callable[[Tensor, Tensor, Tensor], Tensor]  # idx (B, k) int64, values (B, k), W (n, d) → (B, d)


def folder() -> Path | None:
    """The folder where `make .venv/peers/ready` installs the peers; None if they are not installed."""
    return next((ROOT / ".venv" / "peers" / "lib").glob("python3*/site-packages"), None)


def missing(where: Path | None) -> dict[str, str]:
    """The reason for each peer that cannot be measured. where: a folder of packages, which is searched last."""
    if where is not None and str(where) not in sys.path:
        sys.path.append(str(where))
    why = {}
    for name, load in ((SPARSIFY, _sparsify), (OPENAI, _openai)):
        try:
            load()
        except Exception as error:  # any error of a peer's import is printed, and the benchmark goes on
            why[name] = f"{type(error).__name__}: {error}"
    return why


def decodes(shape: Shape, dtype: torch.dtype, absent: Container[str]) -> list[Work]:
    """Each contender's decoder with its gradients in values and W, by autograd."""
    M, e = shape.entries, dtype.itemsize
    rows = M * shape.d * e
    # W is read once more, by latent, for the gradient of the values; the gradient of W is written in W's dtype.
    moved = {"table": rows, "batch": rows, "copy": 20 * M + (shape.B + 2 * shape.n) * shape.d * e}
    everyone: dict[str, Decode] = {OURS: gather_sum, "F.embedding_bag": _embedding_bag}
    everyone |= {SPARSIFY: sparsify_decode, OPENAI: openai_decode}
    return [
        Work("decode, backward", name, _Backward(decode), moved, _Error(decode))
        for name, decode in everyone.items()
        if name not in absent
    ]


class _Backward:
    def __init__(self, decode: Decode) -> None:
        self.decode = decode

    def __call__(self, i: Inputs) -> None:
        values, W = (x.detach().requires_grad_() for x in (i.coef.to(i.W.dtype), i.W))
        self.decode(i.long, values, W).backward(i.X)


class _Error:
    """The error of the decoder's result."""

    def __init__(self, decode: Decode) -> None:
        self.decode = decode

    def __call__(self, i: Inputs) -> float:
        values, (idx, W) = i.coef.to(i.W.dtype), compact(i)
        exact = reference.gather_sum(idx, values[:ROWS].double(), W)
        return relative_error(self.decode(i.long, values, i.W)[:ROWS], exact)


def _embedding_bag(idx: Tensor, values: Tensor, W: Tensor) -> Tensor:
    return F.embedding_bag(idx, W, per_sample_weights=values, mode="sum")


def sparsify_decode(idx: Tensor, values: Tensor, W: Tensor) -> Tensor:
    if device() == "cuda":
        return _sparsify().xformers_embedding_bag(idx, W, values)
    return _sparsify().decoder_impl(idx, values, W.mT)


def sparsify_encode(x: Tensor, W: Tensor, b: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and indices, (B, k) each, with a sparse gradient."""
    values, idx, _ = _sparsify("fused_encoder").fused_encoder(x, W, b, k, "topk")
    return values, idx


def openai_decode(idx: Tensor, values: Tensor, W: Tensor) -> Tensor:
    return _openai().TritonDecoderAutogradTopK.apply(idx, values, W.T)


def openai_segment_sum(idx: Tensor, values: Tensor, X: Tensor, n: int) -> Tensor:
    """Σ values[b, j] X[b] for each of n latents, as OpenAI's encoder and decoder form their weights' gradients."""
    return _openai().triton_sparse_transpose_dense_matmul(idx, values.contiguous(), X, N=n)


def _sparsify(module: str | None = None) -> types.ModuleType:
    """The named module, or else the decoder's: on CUDA not `utils`, which needs transformers and accelerate."""
    if device() == "cpu":
        os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    return _module(f"sparsify.{module or ('xformers' if device() == 'cuda' else 'utils')}")


def _openai() -> types.ModuleType:
    if device() == "cpu":
        raise RuntimeError("its Triton kernels need a GPU")
    return _module("llamascopium.kernels.kernels")


@cache
def _module(name: str) -> types.ModuleType:
    """Import a module without running its parent packages, which import language models, a database and more."""
    package, *inner = name.split(".")[:-1]
    if package not in sys.modules:
        spec = importlib.util.find_spec(package)
        if spec is None:
            raise ModuleNotFoundError(f"no module named {package}")
        _bare(package, list(spec.submodule_search_locations or []))
    for part in inner:
        folders = [f"{folder}/{part}" for folder in sys.modules[package].__path__]
        package = f"{package}.{part}"
        _bare(package, folders)
    return importlib.import_module(name)


def _bare(package: str, folders: list[str]) -> None:
    made = types.ModuleType(package)
    made.__path__ = folders
    sys.modules.setdefault(package, made)
