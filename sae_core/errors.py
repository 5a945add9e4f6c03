"""What a user can get wrong, each said in one sentence: what it is, the value, what to do."""

from collections.abc import Collection


class UserError(ValueError):
    """A sentence; for a value that is not among the known ones also these, of which a verb then names the near ones."""

    def __init__(self, sentence: str = "", value: object = None, known: Collection[str] = ()) -> None:
        super().__init__(sentence)
        self.value, self.known = value, tuple(known)


class ConfigError(UserError):
    """A run that cannot be trained as written."""


class DataError(UserError):
    """Activations that are missing, torn, or not what the config says."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or belongs to another run."""


def one_of(key: str, value: str, allowed: Collection[str]) -> None:
    """Raise DataError for a value of a data config that is none of those allowed."""
    if value not in allowed:
        known = sorted(allowed)
        raise DataError(f"{key} is {value!r}; it must be one of {', '.join(known)}.", value, known)
