"""What a user can get wrong, each said in one sentence: what it is, the value, what to do."""


class ConfigError(ValueError):
    """A run that cannot be trained as written."""


class DataError(ValueError):
    """Activations that are missing, torn, or not what the config says."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or belongs to another run."""
