"""Documents cut into token contexts of one length, with a count of what became of every token."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sae_core.data.lm.text import Document, read_text
from sae_core.data.shuffle import permuted

# Contexts are drawn from this many times the number wanted, or from this many tokens if that is more: a mix of many
# documents, in bounded memory.
_POOL = 8
_POOL_TOKENS = 4_000_000


@dataclass(frozen=True)
class Special:
    """Ids of the tokens that a tokenizer sets apart from text, as <bos>, and of the one for what it does not know."""

    ids: frozenset[int] = frozenset()
    unknown: int | None = None
    dropped: bool = True  # whether `contexts` drops those of `ids` that it meets in the text


@dataclass
class Tally:
    """What became of the tokens of the documents read.

    `tokens` is the sum of `special` if they are dropped, `short`, `tails`, and the tokens in contexts.
    """

    documents: int = 0
    short_documents: int = 0  # shorter than a context
    tokens: int = 0
    special: int = 0  # special tokens that stand inside the text
    unknown: int = 0  # tokens for what the tokenizer does not know; they stay
    short: int = 0  # tokens of short documents
    tails: int = 0  # tokens after the last whole context of a document


@dataclass(frozen=True)
class Contexts:
    """ids: (contexts, length) int32, in the order in which they are harvested."""

    ids: NDArray[np.int32]
    available: int  # contexts in the documents read
    tally: Tally = field(default_factory=Tally)

    @property
    def documents(self) -> int:
        """Documents read."""
        return self.tally.documents


def special_tokens(tokenizer: Any, mode: str) -> Special:
    """The special tokens of a tokenizer of transformers. Tokens for unknown words are none, unless they are BOS too."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    ids = {*tokenizer.all_special_ids, *(number for number, token in added.items() if token.special)}
    unknown = tokenizer.unk_token_id
    others = ("bos", "eos", "pad", "cls", "sep", "mask")
    if unknown in {getattr(tokenizer, f"{name}_token_id", None) for name in others}:
        unknown = None
    return Special(frozenset(ids - {unknown}), unknown, mode == "drop")


def contexts(
    found: Iterable[Document],
    encode: Callable[[str], list[int]],
    length: int,
    wanted: int,
    seed: int,
    special: Special = Special(),
) -> Contexts:
    """Up to `wanted` windows of `length` tokens, in a random order.

    None spans two documents, and what is left of a document after its last window is dropped and counted.

    Parameters
    ----------
    found : the documents, of which no more are read than give enough windows to choose from.
    encode : from a text to its tokens.
    length : tokens of a window.
    wanted : how many windows.
    seed : of their order.
    special : the special tokens, and whether those inside the text are dropped.
    """
    enough = max(_POOL * wanted, _POOL_TOKENS // length)
    tally = Tally()
    windows: list[NDArray[np.int32]] = []
    available = 0
    for document in found:
        if available >= enough:
            break
        ids = _tokens(encode(read_text(document.path)), special, tally)
        whole = len(ids) // length * length
        windows.append(ids[:whole].reshape(-1, length))
        tally.documents += 1
        tally.short_documents += not whole
        if whole:
            tally.tails += len(ids) - whole
        else:
            tally.short += len(ids)
        available += whole // length
    order = permuted(np.arange(min(wanted, available)), available, seed, epoch=0)
    pool = np.concatenate([np.empty((0, length), dtype=np.int32), *windows])
    return Contexts(pool[order], available, tally)


def _tokens(ids: Collection[int], special: Special, tally: Tally) -> NDArray[np.int32]:
    """The tokens that stay, counted."""
    found = np.array(ids, dtype=np.int32)
    inside = np.isin(found, sorted(special.ids))
    tally.tokens += len(found)
    tally.special += int(inside.sum())
    tally.unknown += int((found == special.unknown).sum()) if special.unknown is not None else 0
    return found[~inside] if special.dropped else found
