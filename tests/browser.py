"""A real browser for the tests of pages: Debian's chromium, through Playwright."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

#: Replies and names that would do harm where a page took them for more than text: set `window.pwned`, or hide.
HOSTILE = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "[x](javascript:window.pwned=1)",
    '"><svg onload=window.pwned=1>',
    "</script><script>window.pwned=1</script>",
    "</pre></td></table><iframe srcdoc='<script>parent.pwned=1</script>'>",
    "red: \x1b[31m \x1b]0;title\x07",
    "reversed: \u202eabc\u2066",
    "NUL: \0 end",
    "{{ 7*7 }} ${7*7} &lt;b&gt;",
)


def chromium() -> str:
    """Where the browser is; the test is skipped where it or Playwright is missing."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        import playwright  # noqa: F401
    except ImportError:
        path = None
    if path is None:
        pytest.skip("needs chromium and playwright")
    return path


@contextmanager
def browser() -> Iterator[Any]:
    """A browser that has been started, as Playwright's object."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


def watched(page: Any) -> list[str]:
    """The complaints of a page, filled as they come: errors of its scripts, and everything on its console."""
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    return said


def until(page: Any, condition: str, given: Any = None, patience_s: float = 20.0) -> None:
    """Wait until a condition holds in the page. (Playwright's own way needs eval, which our pages forbid.)"""
    give_up = time.monotonic() + patience_s
    while not page.evaluate(condition, given):
        assert time.monotonic() < give_up, f"never true: {condition} {given or ''}"
        page.wait_for_timeout(30)


#: Lists the elements whose text has less contrast with what is behind it than 4.5 : 1 (3 : 1 where it is large).
CONTRAST = """() => {
  const known = new Map();
  const colour = (text) => known.get(text) ?? known.set(text, drawn(text)).get(text);
  const drawn = (text) => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const pen = canvas.getContext("2d");
    pen.fillStyle = text; pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (rgba) => rgba.slice(0, 3).map((v) => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const found = colour(getComputedStyle(one).backgroundColor);
      if (found[3] === 255) return found;
    }
    return colour(matchMedia("(prefers-color-scheme: dark)").matches ? "#000" : "#fff");
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const seen = element.checkVisibility({ visibilityProperty: true });
    if (!own || !seen || element.matches(":disabled, option, noscript")) continue;
    const style = getComputedStyle(element);
    const ink = colour(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.6 && style.fontWeight >= 700) ? 3 : 4.5;
    const words = element.textContent.trim().slice(0, 30);
    if (ratio < least) poor.push(`${element.tagName} "${words}" ${ratio.toFixed(2)}`);
  }
  return poor;
}"""
