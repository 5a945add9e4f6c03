"""A language model's files: their location and checksum, and the model's width without loading its weights."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sae_core.data.disk.shards import sha256_of
from sae_core.data.lm.text import locate
from sae_core.errors import DataError

# The rows depend on the weights, the config and the tokenizer.
_DECIDING = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model", "*.jinja")


@dataclass(frozen=True)
class ModelFiles:
    """`model` is a folder, `package:NAME/FOLDER` of an installed package, or a hub id. Needs transformers."""

    model: str
    gguf_file: str | None = None

    @property
    def where(self) -> str:
        """The folder or hub id to give to transformers."""
        return str(self._folder) if self.local else self.model

    @cached_property
    def local(self) -> bool:
        return self.model.startswith("package:") or self._folder.is_dir()

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for every `from_pretrained`."""
        return {"local_files_only": self.local} | ({"gguf_file": self.gguf_file} if self.gguf_file else {})

    @cached_property
    def origin(self) -> str:
        """Checksum of the files in the folder, or the commit of a hub id."""
        if self.local:
            return hashlib.sha256("".join(map(sha256_of, self._deciding())).encode()).hexdigest()
        with loading(self.model):
            from transformers.utils import cached_file, extract_commit_hash

            found = cached_file(self.model, self.gguf_file or "config.json")
            return str(extract_commit_hash(found, None))

    @cached_property
    def d_model(self) -> int:
        """Width of the residual stream, from the config."""
        with loading(self.model):
            from transformers import AutoConfig

            config = AutoConfig.from_pretrained(self.where, **self.options)
            return int(config.get_text_config().hidden_size)

    @property
    def _folder(self) -> Path:
        return locate(self.model)

    def _deciding(self) -> list[Path]:
        patterns = [self.gguf_file] if self.gguf_file else _DECIDING
        files = sorted({path for pattern in patterns for path in self._folder.glob(pattern)})
        if not files:
            wanted = self.gguf_file or "model's weights"
            raise DataError(f"model is {self.model!r}: no {wanted} in {self._folder}; give its folder.")
        return files


@contextmanager
def loading(model: str) -> Iterator[None]:
    """Inside, errors of transformers about this model become a DataError of one sentence."""
    try:
        yield
    except DataError:
        raise
    except ImportError as error:
        if (error.name or "").split(".")[0] == "transformers":
            raise DataError(
                "harvesting needs transformers, not installed here: pip install 'saescale[lm]'."
            ) from None
        raise _not_loaded(model, error) from None
    except (OSError, ValueError) as error:
        raise _not_loaded(model, error) from None


def _not_loaded(model: str, error: Exception) -> DataError:
    if "gated repo" in str(error):
        return DataError(
            f"the language model {model!r} is gated: accept its terms on its page of the hub, and set HF_TOKEN to a "
            "token of that account."
        )
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return DataError(f"the language model {model!r} could not be loaded: {lines[0]}")
