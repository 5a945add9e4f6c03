"""What a user of a sweep can get wrong, said in one sentence."""

from sae_core.errors import UserError


class SweepError(UserError):
    """A config, grid or study folder that cannot be used as it stands."""


def ended(error: object) -> str:
    """The text of an error with the full stop that it lacks inside a sentence."""
    text = str(error)
    return text if text.endswith((".", "?")) else f"{text}."
