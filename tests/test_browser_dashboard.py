"""The dashboard as a web page, in a real browser: whom it shows what, and what a hostile reply cannot do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import requests
from browser import CONTRAST, HOSTILE, browser, until, watched
from made_up import made_up_run, write_run

from benchkit import places, runs

FAMILY = {"gguf:small": (1000.0, 0.9, 4.0), "gguf:large": (300.0, 0.4, 8.0)}
PATIENCE_S = 120.0
#: Voilà's own page asks for icons from another place, which its policy forbids: the browser says so.
EXPECTED = ("fontawesome", "shared singleton", "Federation Runtime", "No satisfying version", "WebSocket")


@pytest.fixture(scope="module")
def chrome():
    pytest.importorskip("voila", reason="needs voila")
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run whose replies, prompts and names mean harm, one of 5 MB among them."""
    folder = write_run(made_up_run(FAMILY, n_prompts=20, speed=3), tmp_path_factory.mktemp("runs") / "mine")
    paths = sorted(folder.glob("*_trial_*.json"))
    for path, text in zip(paths, [*HOSTILE, "long " * 1_000_000]):
        artifact = json.loads(path.read_text(encoding="utf-8"))
        harm = {"response": text, "prompt": text[:400], "prompt_id": text[:60], "category": text[:60]}
        harm["checks"] = [{"check": text[:40], "passed": False, "reason": text[:200]}]
        path.write_text(json.dumps({**artifact, **harm}), encoding="utf-8")
    say(folder, state="complete", done=46, total=46)
    return folder


def say(folder: Path, **status) -> None:
    (folder / "status.json").write_text(json.dumps({"pid": 1, "failed": {}, **status}), encoding="utf-8")


class Watch:
    """`benchkit watch FOLDER --no-browser` as a user starts it."""

    def __init__(self, folder: Path, *more: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(places.ROOT), *filter(None, sys.path)])}
        command = [sys.executable, "-m", "benchkit", "watch", str(folder), "--no-browser", *more]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)
        line = self.process.stderr.readline()
        self.url = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line)[0]
        self.base, _, self.token = self.url.partition("?token=")

    def kernels(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def watch(chrome, folder):
    found = Watch(folder)
    yield found
    found.end()


@pytest.fixture(scope="module")
def page(chrome, watch):
    """The page of the hostile run, ready."""
    with opened(chrome, watch.url) as (shown, said):
        yield shown
        assert [line for line in said if "error" in line and not any(word in line for word in EXPECTED)] == []


class opened:
    """A page in a fresh profile, shown to its end, and what it complained of."""

    def __init__(self, chrome, url: str, **settings) -> None:
        self.context = chrome.new_context(**{"viewport": {"width": 1440, "height": 900}, **settings})
        self.page, self.url = self.context.new_page(), url
        self.page.set_default_timeout(1000 * PATIENCE_S)

    def __enter__(self):
        said = watched(self.page)
        self.page.goto(self.url)
        self.page.wait_for_selector(".bk h1")
        until(self.page, "() => document.querySelectorAll('.bk details').length > 20", patience_s=PATIENCE_S)
        return self.page, said

    def __exit__(self, *exc) -> None:
        self.context.close()


# ---------------------------------------------------------------- what it shows


def test_the_page_shows_the_run(page):
    until(page, "() => document.querySelectorAll('.bk .card').length >= 4", patience_s=PATIENCE_S)
    text = page.inner_text(".bk")
    for words in ("complete", "46 of 46 replies", "Fastest", "Smallest", "Results", "of 46, the newest first"):
        assert words in text, words
    assert page.title() == "mine · benchkit"
    until(page, "() => document.querySelector('.bk img')?.alt.startsWith('Speed against quality')", patience_s=PATIENCE_S)
    assert "import" not in page.inner_text("body")  # no source is shown


def test_a_row_unfolds_with_the_keyboard(page):
    row = page.locator(".bk summary.row").first
    row.focus()
    page.keyboard.press("Enter")
    until(page, "() => document.querySelector('.bk details[open] .checks, .bk details[open] pre')")
    assert "Replied" in page.inner_text(".bk details[open]")
    outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")


def test_hostile_replies_are_text(page):
    seen = ""
    while True:
        page.evaluate("() => document.querySelectorAll('.bk details').forEach((one) => { one.open = true })")
        seen += page.inner_text(".bk")
        older = page.get_by_role("button", name="Older")
        if not older.is_visible():
            break
        before = page.inner_text(".bk-results h2")
        older.click()
        until(page, "(before) => document.querySelector('.bk-results h2').innerText !== before", before)
    for text in ("<script>window.pwned=1</script>", "<img src=x onerror=window.pwned=1>", "[x](javascript:window.pwned=1)"):
        assert text in seen, text
    assert "⟨ESC⟩" in seen and "⟨NUL⟩" in seen and "⟨U+202E⟩" in seen
    assert "its first 20,000 of 5,000,000 characters" in seen
    assert page.evaluate("() => window.pwned") is None
    assert page.evaluate("() => document.querySelectorAll('.bk script, .bk iframe, .bk svg, .bk a').length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_and_wide_light_and_dark(chrome, watch, scheme):
    with opened(chrome, watch.url, viewport={"width": 375, "height": 800}, color_scheme=scheme) as (page, _):
        for width in (375, 1440):
            page.set_viewport_size({"width": width, "height": 800})
            page.evaluate("() => document.querySelectorAll('.bk details').forEach((one) => { one.open = true })")
            wide = "() => Math.max(...[...document.querySelectorAll('.bk > *')].map((one) => one.getBoundingClientRect().right))"
            assert page.evaluate(wide) <= width
            assert [line for line in page.evaluate(CONTRAST) if "loading" not in line.lower()] == []


# ---------------------------------------------------------------- whom it shows it to


def test_only_who_has_the_token_sees_anything(watch):
    plain = requests.get(watch.base, allow_redirects=False, timeout=PATIENCE_S)
    wrong = requests.get(watch.base + "?token=wrong", allow_redirects=False, timeout=PATIENCE_S)
    assert plain.status_code == wrong.status_code == 302 and "login" in plain.headers["Location"]
    before = len(watch.kernels())
    assert requests.get(watch.base + "api/kernels", timeout=PATIENCE_S).status_code in (302, 403, 404, 200)
    assert len(watch.kernels()) == before


def test_a_page_of_another_name_is_refused(watch):
    """DNS rebinding: another name that leads to this computer."""
    found = requests.get(watch.url, headers={"Host": "evil.example"}, allow_redirects=False, timeout=PATIENCE_S)
    assert found.status_code == 403


@pytest.mark.parametrize("path", ["voila/files/01_first_tokens.ipynb", "voila/files/../pyproject.toml", "01_first_tokens.ipynb",
                                  "voila/render/01_first_tokens.ipynb", "voila/tree"])  # fmt: skip
def test_nothing_else_is_served(watch, path):
    found = requests.get(f"{watch.base}{path}?token={watch.token}", timeout=PATIENCE_S)
    assert found.status_code in (403, 404)


def test_nothing_listens_elsewhere(watch):
    listening = [c.laddr.ip for c in psutil.Process(watch.process.pid).net_connections("inet") if c.status == "LISTEN"]
    assert set(listening) == {"127.0.0.1"}


# ---------------------------------------------------------------- while it runs, and its end


def test_a_growing_run_is_followed_and_ctrl_c_ends_everything(chrome, tmp_path):
    folder = write_run(made_up_run(FAMILY, n_prompts=20, speed=0), tmp_path / "growing")
    say(folder, state="running", done=40, total=50, phase="measuring", configuration="gguf:small",
        prompt="greeting", prompt_text="Say hello.", trial=0, partial="Hel")  # fmt: skip
    found = Watch(folder)
    try:
        with runs.lock(folder), opened(chrome, found.url) as (page, _):  # as the run's process holds it
            until(page, "() => document.querySelector('.bk').innerText.includes('Hel')")
            say(folder, state="complete", done=40, total=40)
            until(page, "() => document.querySelector('.bk').innerText.includes('complete')", patience_s=PATIENCE_S)
            kernels = found.kernels()
            assert kernels
            folder.rename(tmp_path / "moved")
    finally:
        found.end()
    give_up = time.monotonic() + PATIENCE_S
    while any(kernel.is_running() and kernel.status() != psutil.STATUS_ZOMBIE for kernel in kernels):
        assert time.monotonic() < give_up
        time.sleep(0.1)
    assert found.process.returncode == 0
