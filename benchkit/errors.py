"""The one exception a user should ever see: its message is the lesson."""


class BenchkitError(Exception):
    """Something was asked that cannot be done; the message says what was found and what to do next."""

    exit_code = 3


class ModelError(BenchkitError):
    """A model could not be found, loaded or spoken to."""

    exit_code = 4
