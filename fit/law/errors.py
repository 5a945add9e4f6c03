"""The error that the fit raises for bad input; its message is a sentence for the user."""


class FitError(ValueError):
    """What was wrong, the value, and what to do; a command prints it and ends with exit code 1."""
