"""The one exception a user should ever see: its message is the lesson."""

import difflib
from collections.abc import Iterable


class BenchkitError(Exception):
    """Something was asked that cannot be done; the message says what was found and what to do next."""

    exit_code = 3


class ModelError(BenchkitError):
    """A model could not be found, loaded or spoken to."""

    exit_code = 4


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A hint for a mistyped word, to follow it in a message; nothing if no known word is near.

    >>> did_you_mean("cuorse", ["course", "five_tests"])
    ' (did you mean "course"?)'
    """
    near = difflib.get_close_matches(str(word)[:100], list(known), n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""
