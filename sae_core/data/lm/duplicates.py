"""Copies among the documents of a text: those of equal text up to case, white space and Unicode form, and near ones."""

import hashlib
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sae_core.data.lm.text import Document, read_text
from sae_core.errors import DataError

_SHINGLE = 5  # words that make one element of the set that a document is for MinHash
_PERMUTATIONS = (
    128  # an estimate of the Jaccard similarity J then has the standard error √(J(1−J)/128) ≤ 0.044
)
_SCRIPT_WITHOUT_SPACES = 20  # characters a word on average, above which shingles are of characters


@dataclass(frozen=True)
class Distinct:
    """documents: those to read, in their order. The counts are of documents that are copies of an earlier one."""

    documents: list[Document]
    found: int  # documents there
    exact: int  # byte for byte
    normalised: (
        int  # of equal text once case, white space and Unicode form are taken away, and not byte for byte
    )
    near: int | None  # nearly equal, and neither of those two; None: not looked for


def normalised(text: str) -> str:
    """NFKC with case folded, each run of white space one space, none at the ends, and no byte-order mark."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).replace("\ufeff", "").split())


def distinct(found: list[Document], duplicates: str, near: float | None) -> Distinct:
    """Count the copies among the documents, and leave all but the first of each text out, or keep them.

    Kept copies stay as they were in stores of earlier versions: only those byte for byte are sure to be on one side of
    the split.

    Parameters
    ----------
    found : the documents in their order.
    duplicates : drop or keep.
    near : also drop documents whose estimated Jaccard similarity, of sets of five words in a row, to an earlier one is
        at least this; None looks for none.

    Raises
    ------
    DataError
        For documents that are not text.
    """
    seen: set[str] = set()
    known: set[str] = set()
    every: list[Document] = []
    kept: list[Document] = []
    exact = same = nearly = 0
    index = None if near is None else _Index(near)
    for document, text in _texts(found):
        key = normalised(text)
        digest = hashlib.sha256(key.encode()).hexdigest()
        every.append(replace(document, normal=digest))
        if document.sha256 in seen:
            exact += 1
        elif digest in known:
            same += 1
        elif index is not None and index.has_near(key):
            nearly += 1
        else:
            kept.append(every[-1])
        seen.add(document.sha256)
        known.add(digest)
    chosen = every if duplicates == "keep" else kept
    return Distinct(chosen, len(found), exact, same, None if near is None else nearly)


def in_both(train: list[Document], held_out: list[Document]) -> int:
    """How many held-out documents have the text of a training document, up to case, white space and Unicode form."""
    texts = {document.normal for document in train}
    return sum(document.normal in texts for document in held_out)


def _texts(found: list[Document]) -> Iterator[tuple[Document, str]]:
    """The documents with their texts. DataError for those that are not text, with their number."""
    bad: list[DataError] = []
    for document in found:
        try:
            text = read_text(document.path)
        except DataError as error:
            bad.append(error)
            continue
        if not bad:
            yield document, text
    if bad:
        more = f" {len(bad):,} of {len(found):,} .txt files are not text." if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{more}")


class _Index:
    """Texts by their MinHash signatures. A text with no near one among those before is added."""

    def __init__(self, threshold: float) -> None:
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError:
            raise DataError(
                "near_duplicates needs datasketch, not installed here: pip install 'saescale[lm]'."
            ) from None
        self.threshold = threshold
        self._signature: Any = MinHash
        self._lsh = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
        self._signatures: list[Any] = []

    def has_near(self, text: str) -> bool:
        signature = self._signature(num_perm=_PERMUTATIONS, seed=1, hashfunc=zlib.crc32)
        signature.update_batch(_shingles(text))
        for number in self._lsh.query(signature):
            if self._signatures[number].jaccard(signature) >= self.threshold:
                return True
        self._lsh.insert(len(self._signatures), signature)
        self._signatures.append(signature)
        return False


def _shingles(text: str) -> list[bytes]:
    """The different runs of five words, or of five characters where words are not set apart by spaces."""
    words: Any = text.split(" ")
    glue = " "
    if len(text) > _SCRIPT_WITHOUT_SPACES * len(words):
        words, glue = text, ""
    runs = {glue.join(words[i : i + _SHINGLE]) for i in range(max(1, len(words) - _SHINGLE + 1))}
    return [run.encode() for run in sorted(runs)]
