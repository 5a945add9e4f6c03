"""A text cut into training and held-out contexts of a language model, and the activations of any of them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core.data.configs import HarvestConfig, Site
from sae_core.data.lm.contexts import Contexts, contexts, special_tokens
from sae_core.data.lm.duplicates import distinct, in_both
from sae_core.data.lm.language_model import LanguageModel, load_language_model
from sae_core.data.lm.model_files import ModelFiles
from sae_core.data.lm.text import Document, documents, fingerprint, other_files, split_documents
from sae_core.errors import DataError

_MEDIAN_CONTEXTS = 64  # 8,000 rows of 127-row contexts know the median norm within 0.3 % (SmolLM2, layer 15)


class Corpus:
    """Contexts are token ids without the prefix and suffix tokens; each gives `per_context` rows.

    Raises DataError for a text that is missing or too short, or a model that cannot be loaded or reads too few tokens.
    """

    def __init__(self, cfg: HarvestConfig, sites: Sequence[Site], device: str | None = None) -> None:
        self.cfg, self.sites = cfg, sites
        found = documents(cfg.text, cfg.seed)
        self.text_sha256 = fingerprint(found)
        self.distinct = distinct(found, cfg.duplicates, cfg.near_duplicates)
        train, held_out = split_documents(self.distinct.documents, cfg.held_out_every)
        self._leaked = in_both(train, held_out)
        self.model: LanguageModel = load_language_model(
            ModelFiles(cfg.model, cfg.gguf_file), sites, cfg.compute, device
        )
        self.prefix, self.suffix = self.model.prefix_id(cfg.prefix), self.model.suffix_id(cfg.suffix)
        self._words = cfg.context - 1 - (self.suffix is not None)
        self.per_context = self._words + 1 - cfg.drop_first
        self._special = special_tokens(self.model.tokenizer, cfg.special_tokens)
        self._check_context()
        self.held_out = self._cut("held_out", held_out, cfg.held_out)
        self.train = self._cut("train", train, cfg.tokens - cfg.held_out)

    def activations(
        self, ids: NDArray[np.int32], progress: Callable[[int], None] | None = None
    ) -> list[Tensor]:
        """Raw activations at each site: from ids (contexts, words) to (contexts·per_context, width), float32.

        The first batch begins with the first context, so equal ids give equal bits on the same hardware.
        """
        out = [torch.empty(len(ids) * self.per_context, width) for width in self.model.widths]
        for first in range(0, len(ids), self.cfg.batch_contexts):
            batch = self._framed(ids[first : first + self.cfg.batch_contexts])
            kept = slice(self.cfg.drop_first, self._words + 1)
            begin, end = first * self.per_context, (first + len(batch)) * self.per_context
            for rows, x in zip(out, self.model.activations(batch), strict=True):
                rows[begin:end] = x[:, kept].reshape(end - begin, -1)
            if progress:
                progress(end)
        return out

    def norm_limits(self, factors: Sequence[float | None]) -> list[float | None]:
        """For each site, factor × median norm of the first training contexts, to three digits; None stays None."""
        if all(factor is None for factor in factors):
            return [None] * len(factors)
        raw = self.activations(self.train.ids[:_MEDIAN_CONTEXTS])
        medians = [float(x.norm(dim=1).median()) for x in raw]
        return [
            None if factor is None else float(f"{factor * median:.3g}")
            for factor, median in zip(factors, medians, strict=True)
        ]

    def account(self) -> dict[str, Any]:
        """What became of the documents and of every token of those that were read, for the manifest."""
        wanted = {"held_out": self.cfg.held_out, "train": self.cfg.tokens - self.cfg.held_out}
        chosen = {"held_out": self.held_out, "train": self.train}
        return {
            "documents": self.distinct.found,
            "other_files": other_files(self.cfg.text),
            "exact_duplicates": self.distinct.exact,
            "normalised_duplicates": self.distinct.normalised,
            "near_duplicates": self.distinct.near,
            "duplicates": self.cfg.duplicates,
            "special_tokens": self.cfg.special_tokens,
            "held_out_also_in_training": self._leaked,
            "context_tokens": self._words,
            "splits": {
                split: vars(cut.tally)
                | {
                    "contexts": cut.available,
                    "contexts_left": cut.available - len(cut.ids),
                    "rows_beyond": len(cut.ids) * self.per_context - wanted[split],
                }
                for split, cut in chosen.items()
            },
        }

    def _framed(self, ids: NDArray[np.int32]) -> Tensor:
        """Contexts with their prefix and suffix tokens added: (contexts, cfg.context) int64."""
        words = torch.from_numpy(ids).long()
        ends = [
            torch.full((len(words), 1), token) for token in (self.prefix, self.suffix) if token is not None
        ]
        return torch.cat([ends[0], words, *ends[1:]], dim=1)

    def _check_context(self) -> None:
        if self._words < 1 or self.per_context < 1:
            raise DataError(
                f"context is {self.cfg.context} with drop_first = {self.cfg.drop_first}, which leaves no row; raise it."
            )
        longest = getattr(self.model.model.config.get_text_config(), "max_position_embeddings", None)
        if isinstance(longest, int) and 0 < longest < self.cfg.context:
            raise DataError(
                f"context is {self.cfg.context}; {self.cfg.model!r} reads {longest} tokens at most."
            )

    def _cut(self, split: str, found: list[Document], rows: int) -> Contexts:
        """As many contexts as give `rows` rows. Raises DataError if the text is too short."""
        wanted = -(-rows // self.per_context)
        cut = contexts(found, self.model.encode, self._words, wanted, self.cfg.seed, self._special)
        if len(cut.ids) * self.per_context < rows:
            has = f"{len(found)} {split} documents of {self.cfg.text!r} give {cut.available * self.per_context:,} rows"
            short = cut.tally.short_documents
            why = f" ({short:,} are shorter than a context of {self.cfg.context} tokens)" if short else ""
            raise DataError(
                f"{has}{why}, fewer than the {rows:,} asked for; lower tokens and held_out, or add text."
            )
        return cut
