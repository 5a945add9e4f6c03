"""What a user of a sweep can get wrong, said in one sentence."""


class SweepError(ValueError):
    """A config, grid or study folder that cannot be used as it stands."""
