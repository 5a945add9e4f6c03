"""The one error of this package: bad input, told in a sentence."""


class FitError(ValueError):
    """What was wrong, the value, and what to do; a command prints it and ends with exit code 1."""
