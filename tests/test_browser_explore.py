"""The results explorer in a real browser: what a user does with it, and what a hostile reply cannot do."""

import http.server
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import CONTRAST, HOSTILE, browser, chromium, until, watched
from made_up import MadeUpRun, made_up_artifact, made_up_run, write_run

from benchkit import explore, explore_server, places

pytestmark = pytest.mark.real

FAMILY = {"gguf:small": (1000.0, 0.9, 4.0), "gguf:large": (300.0, 0.4, 8.0), "gguf:other": (500.0, 0.6, 6.0)}
PATIENCE_MS = 20_000


@pytest.fixture(scope="module")
def chrome():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_run(made_up_run(FAMILY, n_prompts=40, trials=2), tmp_path_factory.mktemp("runs") / "mine")


@pytest.fixture(scope="module")
def server(folder):
    with explore_server.start([folder], 0) as running:
        running.explorer.wait()
        yield running


@pytest.fixture()
def page(chrome, server):
    """The explorer, ready; a complaint of the page fails the test."""
    with opened(chrome, server.url) as (shown, said):
        yield shown
        assert said == []


class opened:
    """A page in a fresh profile, and what it complained of."""

    def __init__(self, chrome, url: str, ready: bool = True, **settings) -> None:
        self.context = chrome.new_context(**{"viewport": {"width": 1440, "height": 900}, **settings})
        self.page, self.url, self.ready = self.context.new_page(), url, ready
        self.page.set_default_timeout(PATIENCE_MS)

    def __enter__(self):
        said = watched(self.page)
        self.page.goto(self.url)
        if self.ready:
            settled(self.page)
        return self.page, said

    def __exit__(self, *exc) -> None:
        self.context.close()


def settled(page) -> None:
    """Wait until table, summary and both charts are there and the summary is complete."""
    page.wait_for_selector("#table tbody tr")
    until(page, "document.querySelectorAll('.plot svg').length === 2 && !document.querySelector('.busy')")


def n_results(page) -> int:
    return int(page.inner_text("#results-title").split()[0].replace(",", ""))


def choose(page, label: str) -> None:
    before = page.inner_text("#results-title")
    page.locator("#filters label", has_text=label).first.locator("input").check()
    until(page, "text => document.getElementById('results-title').textContent !== text", before)
    settled(page)


# ---------------------------------------------------------------- looking around


def test_the_first_screen_shows_verdict_summary_and_charts(chrome):
    with (
        explore_server.start([places.OUTPUTS / "sample"], 0) as server,
        opened(chrome, server.url) as (page, said),
    ):
        assert "VALID" in page.inner_text("#verdicts")
        assert page.locator("#summary tbody tr").count() == 4
        assert page.locator("#tradeoff .point").count() == 4 and page.locator("#points .point").count() == 720
        for part in ("#verdicts", "#summary", "#tradeoff", "#points"):
            assert page.locator(part).bounding_box()["y"] < 900
        assert "gguf:pocket-m" in page.inner_text("#tradeoff-told") and said == []


def test_what_is_ticked_narrows_table_summary_and_charts_and_stands_in_the_address(page):
    assert n_results(page) == 258
    choose(page, "gguf:large")
    assert n_results(page) == 86 and page.locator("#summary tbody tr").count() == 1
    assert page.locator("#points .point").count() == 80 and page.locator("#tradeoff .point").count() == 1
    choose(page, "code")
    choose(page, "failed")
    assert 0 < n_results(page) < 8 and {*page.locator("#table td.bad").all_inner_texts()} == {"✗ failed 0/1"}
    assert "only failed" in page.inner_text("#summary")
    address, n = page.url, n_results(page)
    assert "model=gguf%3Alarge" in address and "category=code" in address and "outcome=failed" in address
    page.reload()
    settled(page)
    assert n_results(page) == n and page.locator("#filters input:checked").count() == 3
    page.go_back()
    until(page, "n => !document.getElementById('results-title').textContent.startsWith(n + ' ')", n)
    assert (
        page.locator("#filters input:checked").count() == 3 and "outcome" not in page.url
    )  # "any" is checked again
    page.click("#clear")
    until(page, "document.getElementById('results-title').textContent === '258 results'")
    assert "?" not in page.url


def test_a_filter_that_leaves_nothing_says_so(page):
    page.goto(page.url + "?model=nobody")
    settled(page)
    assert "No result is left" in page.inner_text("#table") and "nothing to draw" in page.text_content(
        "#points"
    )


def test_columns_sort_up_down_and_back(page):
    def latencies():
        return [float(text) for text in page.locator("#table td[data-name='latency (s)']").all_inner_texts()]

    page.click("#sort-latency_s")
    page.wait_for_selector("th[aria-sort=ascending]")
    assert (
        latencies() == sorted(latencies()) and page.evaluate("document.activeElement.id") == "sort-latency_s"
    )
    page.click("#sort-latency_s")
    page.wait_for_selector("th[aria-sort=descending]")
    assert latencies() == sorted(latencies(), reverse=True)
    page.click("#sort-latency_s")
    until(page, "!document.querySelector('th[aria-sort]')")


def test_pages_follow_each_other(page):
    assert page.inner_text("#page") == "page 1 of 3" and page.locator("#table tr.line").count() == 100
    page.click("#next")
    until(page, "document.getElementById('page').textContent === 'page 2 of 3'")
    assert page.locator("#open-100").count() == 1 and "page=2" in page.url


def test_a_row_unfolds_to_the_reply_its_checks_and_its_file_and_stays_open_after_a_reload(page, folder):
    page.click("#open-3")
    page.wait_for_selector(".whole .reply")
    shown = page.inner_text(".whole")
    assert "made up for" in shown and str(folder) in shown and "latency" in shown
    assert page.get_attribute("#open-3", "aria-expanded") == "true"
    page.reload()
    page.wait_for_selector(".whole .reply")
    page.click("#open-3")
    page.wait_for_selector(".whole", state="detached")


def test_a_point_leads_to_its_result_and_artifact_in_one_click(page, folder):
    told = page.locator("#points .point").last.get_attribute("aria-label")
    page.locator("#points .point").last.click()
    page.wait_for_selector("dialog h3:has-text('Artifact') ~ div pre")
    assert page.inner_text("#window-title").split(" · ")[0] == told.split(" · ")[0]
    assert '"schema": "benchkit/artifact/1"' in page.inner_text("dialog") and str(folder) in page.inner_text(
        "dialog"
    )
    page.reload()
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")
    assert "show=" not in page.url


def test_a_point_of_speed_against_quality_shows_only_its_model(page):
    page.locator("#tradeoff .point").first.click()
    until(page, "document.querySelectorAll('#summary tbody tr').length === 1")
    assert page.locator("#models input:checked").count() == 1
    page.locator("#tradeoff .point").focus()
    page.keyboard.press("Enter")
    settled(page)
    assert page.evaluate("document.activeElement.matches('#tradeoff .point')")  # though it was drawn anew


def test_two_replies_stand_side_by_side_with_their_differences(page):
    for row in (0, 40):
        page.click(f".picker[data-row='{row}']")
    page.click("#tray-show")
    page.wait_for_selector("dialog .two")
    assert page.locator("dialog .side").count() == 2
    assert page.locator("dialog del").count() > 0 or page.locator("dialog ins").count() > 0
    mark = page.evaluate("getComputedStyle(document.querySelector('dialog del'), '::before').content")
    assert mark == '"−"' and "a=0" in page.url and "b=40" in page.url
    page.click("#window-close")
    page.click("#tray-clear")
    assert not page.is_visible("#tray")


def test_the_same_prompts_reply_of_another_model_is_one_click_away(page):
    page.click("#open-3")
    page.wait_for_selector(".chips button")
    assert page.locator(".chips button").count() == 2
    page.locator(".chips button").first.click()
    page.wait_for_selector("dialog .two")
    assert "different prompts" not in page.inner_text("dialog")


@pytest.mark.parametrize(("link", "read"), [("#csv", pd.read_csv), ("#excel", pd.read_excel)])
def test_what_is_shown_is_what_is_downloaded(page, server, link, read):
    pytest.importorskip("openpyxl", reason="needs openpyxl")
    choose(page, "gguf:large")
    choose(page, "passed")
    page.click("#sort-ttft_ms")
    page.wait_for_selector("th[aria-sort=ascending]")
    until(page, "document.getElementById('csv').href.includes('sort=ttft_ms')")
    with page.expect_download() as waited:
        page.click(link)
    found = read(waited.value.path())
    loaded = server.explorer.loaded
    chosen = explore.Chosen(models=("gguf:large",), outcome="passed", sort="ttft_ms")
    assert list(found["artifact"]) == list(loaded.table.iloc[explore.find(loaded, chosen)]["artifact"])
    assert len(found) == n_results(page) and waited.value.suggested_filename.startswith("mine.")


# ---------------------------------------------------------------- for everybody


def test_everything_can_be_done_with_the_keyboard_alone(page):
    def tab_to(selector: str) -> None:
        for _ in range(150):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                outline = page.evaluate(
                    "(style => style.outlineStyle + style.stroke)(getComputedStyle(document.activeElement))"
                )
                assert outline != "nonenone", f"{selector}: the focus cannot be seen"
                return
        raise AssertionError(f"Tab does not reach {selector}")

    tab_to("#models input")
    page.keyboard.press("Space")
    until(page, "document.getElementById('results-title').textContent === '86 results'")
    settled(page)
    tab_to("#points .point")
    first = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") != first
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open] pre")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")
    assert page.evaluate("document.activeElement.matches('#points .point')")
    tab_to("#csv")
    tab_to("#sort-latency_s")
    page.keyboard.press("Enter")
    page.wait_for_selector("th[aria-sort=ascending]")
    tab_to(".opener")
    page.keyboard.press("Enter")
    page.wait_for_selector(".whole .reply")
    for _ in range(2):
        tab_to(".picker")
        page.keyboard.press("Space")
    page.keyboard.press("Enter")  # the focus went to "Side by side"
    page.wait_for_selector("dialog .two")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1440])
def test_it_is_legible_narrow_and_wide_light_and_dark(chrome, server, width, scheme):
    size = {"width": width, "height": 800}
    with opened(chrome, server.url, viewport=size, color_scheme=scheme) as (page, said):
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        page.click("#open-0")
        page.wait_for_selector(".whole .reply")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CONTRAST) == []
        page.locator(".chips button").first.click()
        page.wait_for_selector("dialog .two")
        assert page.evaluate(
            "document.querySelector('dialog').scrollWidth <= document.querySelector('dialog').clientWidth"
        )
        assert page.evaluate(CONTRAST) == [] and said == []


def test_every_control_has_a_name_and_every_chart_a_sentence(page):
    page.click("#open-0")
    page.wait_for_selector(".whole .reply")
    nameless = page.evaluate("""() => [...document.querySelectorAll('button, a, input, select, [role=button]')]
      .filter((one) => !(one.textContent.trim() || one.getAttribute('aria-label') || one.labels?.length))
      .map((one) => one.outerHTML)""")
    assert nameless == []
    for chart in ("tradeoff", "points"):
        told = page.get_attribute(f"#{chart}", "aria-describedby")
        assert len(page.inner_text(f"#{told}")) > 60
    assert page.evaluate(
        "(all => new Set(all.map(one => one.id)).size === all.length)([...document.querySelectorAll('[id]')])"
    )


# ---------------------------------------------------------------- growing, going, gone


def test_the_page_shows_how_far_the_reading_is(chrome, folder, monkeypatch):
    gate, count = threading.Event(), []
    usual = explore.runs.read_artifact

    def slow(path, run):
        count.append(1)
        if len(count) > 50:
            gate.wait(30)
        return usual(path, run)

    monkeypatch.setattr(explore.runs, "read_artifact", slow)
    with explore_server.start([folder], 0) as server, opened(chrome, server.url, ready=False) as (page, said):
        page.wait_for_selector("#progress:has-text('reading 51 of 258 results')")
        gate.set()
        settled(page)
        assert n_results(page) == 258 and not page.is_visible("#progress") and said == []


def test_reading_again_shows_new_results_under_the_same_filters(chrome, tmp_path):
    run = made_up_run(FAMILY, n_prompts=12)
    run.status = {"state": "running", "done": 30, "total": 54}
    later, run.rows[:] = run.rows[-20:], run.rows[:-20]
    folder = write_run(run, tmp_path / "growing")
    with (
        explore_server.start([folder], 0) as server,
        opened(chrome, server.url + "?model=gguf:other&open=2") as (page, said),
    ):
        n = n_results(page)
        assert "still being measured" in page.inner_text("#verdicts")
        run.rows, run.status = later, {"state": "complete"}
        write_run(run, folder)
        page.click("#read-again")
        until(page, "n => !document.getElementById('results-title').textContent.startsWith(n + ' ')", n)
        assert (
            n_results(page) > n
            and page.locator("#models input:checked").count() == 1
            and "open=" not in page.url
        )
        assert "still being" not in page.inner_text("#verdicts") and said == []


def test_a_folder_that_is_gone_and_a_server_that_has_ended_are_clear_lines(chrome, tmp_path):
    folder = write_run(made_up_run(FAMILY, n_prompts=6, speed=0), tmp_path / "mine")
    server = explore_server.start([folder], 0)
    with server:
        context = opened(chrome, server.url)
        page, _ = context.__enter__()
        folder.rename(tmp_path / "elsewhere")
        page.locator("#points .point").last.click()
        page.wait_for_selector("dialog:has-text('moved or deleted while this page was open')")
        page.keyboard.press("Escape")
        page.click("#read-again")
        page.wait_for_selector("#message:has-text('does not exist')")
        assert n_results(page) == 18
    page.click("#read-again")
    page.wait_for_selector("#message:has-text('The explorer has ended')")
    context.__exit__()


# ---------------------------------------------------------------- what replies and other pages cannot do


def evil_run(folder: Path) -> Path:
    """A run in which every text that a model, a prompt file or a plan gives is hostile."""
    rng, artifacts = np.random.default_rng(1), []
    for i, text in enumerate([*HOSTILE, "<b>" + "long " * 1_000_000]):
        name = text[:80]
        made = made_up_artifact(rng, name, 900.0 + i, 4.0, 3, i, 9, 20, i % 2 == 0, reply=text)
        made |= {"prompt": text[:200], "category": name, "prompt_id": name}
        made["checks"] = [{"check": name, "passed": i % 2 == 0, "reason": name}]
        artifacts.append(made)
    failed = made_up_artifact(rng, "broken", 900.0, 4.0, 3, 0, 9, 20, True, state="error")
    failed["recording"]["error"] = HOSTILE[0]
    (folder / "<img src=x onerror=window.pwned=1>").mkdir(parents=True)
    return write_run(MadeUpRun([*artifacts, failed], {}), folder / "<img src=x onerror=window.pwned=1>")


def test_hostile_replies_and_names_are_text_everywhere(chrome, tmp_path):
    folder = evil_run(tmp_path)
    (folder / "x_trial_<script>window.pwned=1<").mkdir()
    (folder / "<svg onload=window.pwned=1>_trial_0.json").write_text("half")
    with explore_server.start([folder], 0) as server, opened(chrome, server.url) as (page, said):
        n = n_results(page)
        assert n == len(HOSTILE) + 2
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert "<svg onload=window.pwned=1>_trial_0.json" in page.inner_text("#problems")
        for row in range(n):
            page.click(f"#open-{row}")
            page.wait_for_selector(f"tr:has(#open-{row}) + tr .reply")
        text = page.inner_text("#table")
        assert (
            "⟨NUL⟩" in text and "⟨U+202E⟩" in text and "⟨ESC⟩" in text and "javascript:window.pwned=1" in text
        )
        assert (
            HOSTILE[0] in page.locator(".whole pre").all_inner_texts()
            and "more characters are in the artifact" in text
        )
        for point in range(page.locator("#points .point").count()):
            page.locator("#points .point").nth(point).focus()
            page.keyboard.press("Enter")
            page.wait_for_selector("dialog h3:has-text('Artifact') ~ div pre")
            page.keyboard.press("Escape")
        for row in range(0, n - 1, 2):
            page.goto(
                f"{server.url}?a={row}&b={row + 1}&two=1&model={HOSTILE[1]}#<script>window.pwned=1</script>"
            )
            page.wait_for_selector("dialog .two")
        assert page.evaluate("window.pwned") is None and said == []
        assert (
            page.evaluate(
                "document.querySelectorAll('iframe, img, object, embed, base, a[href^=javascript]').length"
            )
            == 0
        )
        assert page.evaluate("document.scripts.length") == 1


def test_the_policy_stops_a_script_even_if_it_got_into_the_page(chrome, server):
    with opened(chrome, server.url) as (page, said):
        page.evaluate("""() => {
          const script = document.createElement('script');
          try { script.textContent = 'window.pwned = 1'; document.body.append(script); } catch { /* trusted types */ }
          try { document.body.innerHTML = '<img src=x onerror=window.pwned=1>'; } catch { /* trusted types */ }
        }""")
        page.wait_for_timeout(100)
        assert page.evaluate("window.pwned") is None and any(
            "Content Security Policy" in line or "Trusted" in line for line in said
        )


def test_a_name_that_means_this_computer_gets_nothing(chrome, server):
    rebound = ["--no-sandbox", "--host-resolver-rules=MAP evil.example 127.0.0.1"]
    started = chrome.browser_type.launch(executable_path=chromium(), args=rebound)
    shown = started.new_page()
    answer = shown.goto(server.url.replace("127.0.0.1", "evil.example"))
    assert answer.status == 403 and "this computer only" in shown.inner_text("body")
    started.close()


def test_another_web_page_can_neither_read_nor_frame_nor_start_anything(chrome, server, tmp_path):
    (tmp_path / "evil.html").write_text("<p>evil")
    handler = type(
        "Quiet",
        (http.server.SimpleHTTPRequestHandler,),
        {"log_message": lambda *_: None, "directory": str(tmp_path)},
    )
    other = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *args: handler(*args, directory=str(tmp_path))
    )
    threading.Thread(target=other.serve_forever, daemon=True).start()
    before = server.explorer.loaded.number
    with opened(chrome, f"http://127.0.0.1:{other.server_address[1]}/evil.html", ready=False) as (page, _):
        tried = page.evaluate(
            """async (url) => {
          const found = [];
          for (const mode of ['cors', 'no-cors']) {
            try { found.push(await (await fetch(url + 'api/about', { mode })).text()); } catch { found.push('refused'); }
          }
          const image = new Image();
          image.src = url + 'api/read';
          await new Promise((done) => { image.onload = image.onerror = done; });
          const frame = document.createElement('iframe');
          frame.src = url;
          document.body.append(frame);
          await new Promise((done) => { frame.onload = frame.onerror = done; setTimeout(done, 3000); });
          return found;
        }""",
            server.url,
        )
        assert tried[0] == "refused" and "gguf" not in tried[1]
        framed = page.frames[-1]
        assert framed.locator("#filters").count() == 0
    server.explorer.wait()
    assert server.explorer.loaded.number == before
    other.shutdown()
    other.server_close()
