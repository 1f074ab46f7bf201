"""How an exercise's check cells speak: a pass is one fixed line, a miss is one message with a hint.

    called("decode_speed", 11, 0.5, 2.5).gives(5.0, because="…", hints={5.5: "…"})
    stated("best").gives("pocket-s", because="…")
    passed("decode_speed")

A check names what the student wrote instead of holding it: so the same cell checks a name of the notebook it stands in,
and, in `benchkit grade`, an answer that runs in a process of its own.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchkit.errors import BenchkitError
from benchkit.text import one_line


class Miss(BenchkitError):
    """An answer is not right yet; a notebook shows the message alone, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class Passed(str):
    """The one line of an answer that passed; a notebook shows it without quotes."""

    __repr__ = str.__str__

    def _ipython_display_(self) -> None:
        """Shown as an output, not as the cell's result: nbgrader takes a result for a number of points."""
        from IPython.display import display

        display({"text/plain": str(self)}, raw=True)


def passed(name: str) -> Passed:
    """What the last line of a check cell returns.

    >>> passed("decode_speed")
    decode_speed: passed.
    """
    return Passed(f"{name}: passed.")


@dataclass(frozen=True)
class Outcome:
    """What came of a call: a value, or the exception that it ended with."""

    shown: str
    value: Any = None
    raised: BaseException | None = None

    def gives(
        self, expected: Any, because: str = "", hints: Mapping[Any, str] | Iterable[tuple[Any, str]] = (),
        hint: str = "", within: float = 1e-9,
    ) -> None:  # fmt: skip
        """Raise `Miss` unless the call returned `expected`; floats may differ by a share of `within`.

        `hints` are pairs of a value that a known mistake returns and the hint for it (a mapping where the values can
        be keys); `hint` is for every other wrong value.
        """
        self._must_return(hint)
        if same(self.value, expected, within):
            return
        pairs = hints.items() if isinstance(hints, Mapping) else hints
        meant = next((text for value, text in pairs if same(self.value, value, within)), hint)
        raise Miss(_message(f"{self.shown} returned {_brief(self.value)}, expected {_brief(expected)}", because, meant))

    def satisfies(self, test: Callable[[Any], Any], expected: str, because: str = "", hint: str = "") -> Any:
        """Raise `Miss` unless `test(value)` is true; `expected` says in words what is wanted. Returns the value."""
        self._must_return(hint)
        try:
            right = bool(test(self.value))
        except Exception:  # the value is not even of the kind that the test can look at
            right = False
        if not right:
            raise Miss(_message(f"{self.shown} returned {_brief(self.value)}, expected {expected}", because, hint))
        return self.value

    def raises(self, kind: type[Exception], because: str = "", hint: str = "") -> None:
        """Raise `Miss` unless the call raised an exception of this kind."""
        if self.raised is None:
            raise Miss(_message(f"{self.shown} returned {_brief(self.value)}, expected {kind.__name__}", because, hint))
        if kind.__name__ not in kinds_of(self.raised):
            found = _raised(self.raised)
            raise Miss(_message(f"{self.shown} raised {found}, expected {kind.__name__}", because, hint))

    def part(self, key: Any) -> Outcome:
        """One item of a dictionary or list that came back, to be checked by itself."""
        self._must_return("")
        try:
            return Outcome(f"{self.shown}[{key!r}]", _plain(self.value)[key])
        except (LookupError, TypeError):
            raise Miss(f"{self.shown} returned {_brief(self.value)}, in which there is no [{key!r}].") from None

    def _must_return(self, hint: str) -> None:
        if self.raised is None:
            return
        if "NotImplementedError" in kinds_of(self.raised):
            name = self.shown.partition("(")[0]
            raise Miss(f"{name} is not written yet: put your code in place of `raise NotImplementedError()`, run that "
                       "cell, then this one.")  # fmt: skip
        raise Miss(_message(f"{self.shown} raised {_raised(self.raised)}", "", hint))


def called(name: str, *arguments: Any, **named: Any) -> Outcome:
    """Call the function of this name in the notebook that asks, with copies of the arguments.

    Raises `Miss` where there is no such function yet.
    """
    function = _find(name, sys._getframe(1).f_globals)
    shown = f"{name}({', '.join([*map(_brief, arguments), *(f'{k}={_brief(v)}' for k, v in named.items())])})"
    if not callable(function):
        raise Miss(f"{name} should be a function; it is {_brief(function)}. Write it with `def {name}(…):`.")
    arguments, named = copy.deepcopy((arguments, named))
    try:
        return Outcome(shown, function(*arguments, **named))
    except (Exception, SystemExit) as error:
        return Outcome(shown, raised=error)


def stated(name: str) -> Outcome:
    """The value of a name that the student had to set, as an outcome to be checked with `gives` or `satisfies`."""
    value = _find(name, sys._getframe(1).f_globals)
    if value is ...:
        raise Miss(f"{name} is not set yet: put your answer in place of `...`, run that cell, then this one.")
    return Outcome(name, value)


#: Under this name `benchkit grade` gives a check the answers, apart from the names of the check itself.
ANSWERS = "__answers__"


def _find(name: str, names: Mapping[str, Any]) -> Any:
    names = names.get(ANSWERS, names)
    if name not in names:
        raise Miss(f"{name} is not written yet: put your answer in place of `raise NotImplementedError()`, run that "
                   "cell, then this one. After a restart, run all cells from the top.")  # fmt: skip
    return names[name]


def same(found: Any, expected: Any, within: float = 1e-9) -> bool:
    """Whether two plain values are equal: 3 equals 3.0, True is not 1, a list equals a tuple, NaN equals NaN.

    >>> same([0.1 + 0.2, "a"], (0.3, "a")), same(True, 1), same({"x": 1}, {"x": 1.0})
    (True, False, True)
    """
    found, expected = _plain(found), _plain(expected)
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, (int, float)) and isinstance(expected, (int, float)):
        if isinstance(found, float) and math.isnan(found):
            return isinstance(expected, float) and math.isnan(expected)
        return found == expected or _close(found, expected, within)
    if isinstance(found, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(found) == len(expected) and all(same(a, b, within) for a, b in zip(found, expected))
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key], within) for key in expected)
    return type(found) is type(expected) and found == expected


def _close(found: float, expected: float, within: float) -> bool:
    try:
        return math.isclose(found, expected, rel_tol=within, abs_tol=within)
    except OverflowError:  # a whole number too large for a float
        return False


def _plain(value: Any) -> Any:
    """NumPy's and pandas' numbers and arrays as Python's own."""
    if type(value).__module__.partition(".")[0] in ("numpy", "pandas") and hasattr(value, "tolist"):
        return value.tolist()
    return value


def kinds_of(error: BaseException) -> list[str]:
    """The names of an exception's class and of those it descends from."""
    return getattr(error, "kinds", None) or [kind.__name__ for kind in type(error).__mro__]


def _raised(error: BaseException) -> str:
    text = one_line(str(error), 200)
    return f"{kinds_of(error)[0]}: {text}" if text else kinds_of(error)[0]


def _brief(value: Any) -> str:
    try:
        return one_line(repr(_plain(value)), 120)
    except Exception:  # an object of the student's whose repr fails
        return f"an object of type {type(value).__name__}"


def _message(what: str, because: str, hint: str) -> str:
    reason = f": {because}" if because else ""
    end = "" if reason.endswith((".", "!", "?")) else "."
    return what + reason + end + (f"\nHint: {hint}" if hint else "")
