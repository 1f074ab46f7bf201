"""Load runs compared and reported: real runs against servers whose faults and timing are known."""

import json
import re
import shlex
import shutil
import warnings

import pytest
from made_up import FAMILY, made_up_run, write_run
from test_load import REPLY, TinyServer
from test_report import Page

from benchkit import cli, load_figures, load_report, pages, report, runs, traffic, truth, weigh
from benchkit import load as load_module
from benchkit.errors import BenchkitError
from benchkit.load import load

EVIL = "<script>alert(1)</script>\u202e"
ERROR = b'{"error": "<img src=x onerror=alert(2)> &lt; </b>"}'


async def misbehave(number, writer):
    """Two refusals whose words are HTML, and one reply that breaks off."""
    if number in (7, 8):
        writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n" % len(ERROR) + ERROR)
        return True
    if number == 9:
        writer.write(REPLY[0] + REPLY[1])
        return False
    return None


def as_if_killed(whole, folder):
    """What a killed run leaves once it was put in order: no gauge, no summary, fewer requests."""
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns(".*", "gauge.json", "summary.json"))
    lines = (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "requests.jsonl").write_text("".join(lines[:9]), encoding="utf-8")
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("machine", "client", "health", "drift"):
        del manifest[name]
    (folder / "manifest.json").write_text(json.dumps({**manifest, "state": "running"}))


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A folder with five load runs: calm, all at once, failing, killed, and a sweep."""
    folder = tmp_path_factory.mktemp("load")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCHKIT_CACHE", str(folder / "cache"))  # where no weighing is kept
        with truth.running(ttft_ms=5, gap_ms=1, n_tokens=4, n_cached=0) as url:
            for profile, more in (("concurrent", {"concurrency": 4, "slo": {"ttft_ms": 60_000}}), ("throughput", {})):
                load("openai:truth", url + "/v1", profile, requests=36, out=folder / profile, progress=False, **more)
            load("openai:truth", url + "/v1", "sweep", requests=6, out=folder / "sweep", progress=False)
        with TinyServer(misbehave) as server:
            load(f"openai:{EVIL}", server.url, "constant", rate=200.0, requests=30, out=folder / "failing", progress=False)
        as_if_killed(folder / "concurrent", folder / "killed")
        yield folder


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory):
    one = dict(list(FAMILY.items())[:1])
    return write_run(made_up_run(one, n_prompts=2, speed=0), tmp_path_factory.mktemp("runs") / "ordinary")


@pytest.fixture(scope="module")
def htmls(measured):
    names = ("concurrent", "throughput", "failing", "killed", "sweep")
    return {name: load_report.report_html([measured / name]) for name in names}


def said(capsys, *words, code=0):
    assert cli.main([str(word) for word in words]) == code
    out, err = capsys.readouterr()
    return out if code == 0 else err


# ---------------------------------------------------------------- what a folder is


def test_a_folder_is_known_by_what_is_in_it(measured, ordinary, tmp_path):
    assert all(load_module.is_load_run(measured / name) for name in ("concurrent", "killed", "sweep"))
    assert not load_module.is_load_run(ordinary) and not load_module.is_load_run(tmp_path / "nowhere")


@pytest.mark.parametrize("command", ["compare", "report"])
def test_a_folder_that_is_neither_is_refused_as_before(command, measured, tmp_path, capsys):
    assert "is not a run folder: it has no manifest.json" in said(capsys, command, tmp_path, code=3)
    assert "is not a run folder" in said(capsys, command, tmp_path, measured / "concurrent", code=3)


def test_looking_at_a_run_changes_nothing_in_it(measured, capsys):
    before = {path: path.read_bytes() for path in sorted(measured.rglob("*")) if path.is_file()}
    said(capsys, "compare", *(measured / name for name in ("concurrent", "killed", "sweep")))
    assert {path: path.read_bytes() for path in sorted(measured.rglob("*")) if path.is_file()} == before


def test_a_run_that_goes_on_is_left_alone(measured, tmp_path, capsys):
    folder = tmp_path / "busy"
    shutil.copytree(measured / "concurrent", folder, ignore=shutil.ignore_patterns(".*"))
    (folder / "exchanges.jsonl").write_bytes(b"")
    with runs.lock(folder):
        assert "another process" in said(capsys, "compare", folder, code=3)
    assert (folder / "exchanges.jsonl").exists()


def test_a_run_of_which_nothing_was_sent_is_one_clear_message(measured, tmp_path, capsys):
    folder = tmp_path / "unsent"
    folder.mkdir()
    for name in ("manifest.json", "schedule.json"):
        shutil.copy(measured / "concurrent" / name, folder)
    assert "nothing was sent" in said(capsys, "report", folder, code=3)


def test_a_weighing_of_another_instrument_does_not_hold(measured, tmp_path, monkeypatch):
    row = {"created": "2026-01-01T00:00:00", "machine": {"cpu": "C"}, "n_streams": 4, "n_failed": 0, "cpu_ratio": None,
           "reply_error_ms": {"mean": 0.1, "p99": 0.2, "max": 0.3}}  # fmt: skip
    monkeypatch.setattr(weigh, "holding_weighing", lambda *_: row)
    assert load_module.read_summary(measured / "concurrent")["weighing"] == row
    text = Page(load_report.report_html([measured / "concurrent"])).text
    assert "a time to first token is read 0.100 ms too long on average" in text and "on C." in text
    folder = tmp_path / "from elsewhere"
    shutil.copytree(measured / "concurrent", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["instrument"]["machine"]["cpu"] = "another"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert load_module.read_summary(folder)["weighing"] is None


# ---------------------------------------------------------------- compare


def test_one_load_run_is_shown_as_load_shows_it(measured, capsys):
    out = said(capsys, "compare", measured / "concurrent")
    assert out.strip() == traffic.as_text(load_module.read_summary(measured / "concurrent")).strip()
    assert "No request was completed" not in out


def test_several_load_runs_begin_with_one_table(measured, capsys):
    names = ("concurrent", "failing", "sweep")
    out = said(capsys, "compare", *(measured / name for name in names))
    lines = out.splitlines()
    assert lines[0].split()[:4] == ["load", "run", "profile", "asked"] and "verdict" in lines[0]
    assert lines[1].split() == ["requests/s", "tokens/s", "ms", "ms", "s", "s", "mean", "requests"]
    concurrent, failing, sweep = lines[3:6]
    assert concurrent.startswith("concurrent") and "4 at a time" in concurrent and "0 of 36" in concurrent
    assert "200 requests/s" in failing and "3 of 30" in failing and " – " in failing and "INCONCLUSIVE" in failing
    assert sweep.startswith("sweep") and "knee: " in sweep
    assert all(f"{name}:" in lines for name in names) and "⟨U+202E⟩" in out and "\u202e" not in out


def test_loads_and_ordinary_runs_are_one_json_object(measured, ordinary, capsys):
    found = json.loads(said(capsys, "compare", ordinary, measured / "failing", measured / "sweep", "--json"))
    assert [row["run"] for row in found["runs"]] == [str(ordinary)] and found["summary"]
    assert [one["profile"] for one in found["loads"]] == ["constant", "sweep"]
    assert found["loads"][0]["errors"] == {"http_503": 2, "disconnected": 1}
    assert json.loads(said(capsys, "compare", ordinary, "--json"))["loads"] == []
    only = json.loads(said(capsys, "compare", measured / "killed", "--json"))
    assert only["runs"] == only["summary"] == only["cards"] == only["pairs"] == []
    text = said(capsys, "compare", ordinary, measured / "concurrent")
    assert "gguf:pocket-xs" in text and "openai:truth at" in text


def test_runs_of_one_name_are_told_apart():
    assert load_module.short_names(["a/x", "b/x"]) == ["a/x", "b/x"]


# ---------------------------------------------------------------- the page


@pytest.mark.parametrize("name", ["concurrent", "throughput", "failing", "killed", "sweep"])
def test_every_page_is_well_formed_and_asks_nobody_for_anything(htmls, name):
    page, html = Page(htmls[name]), htmls[name]
    assert page.problems == [] and page.open == []
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids)) and {a["href"] for a in page.of("a")} <= {f"#{id}" for id in ids}
    for _, attrs in page.tags:
        assert all(attrs.get(key, "#").startswith(("#", "data:image/png")) for key in ("src", "href"))
        assert not [key for key in attrs if key.startswith("on") or key == "style"]
        assert attrs.get("class") != "scroll" or (attrs["tabindex"], attrs["role"]) == ("0", "region")
    assert not page.of("script") and pages.policy(pages.template_text("report.css")) in page.of("meta")[1]["content"]
    assert all(len(picture["alt"]) > 60 and picture["alt"] in page.text for picture in page.of("img"))
    assert "Formulas and units" in page.text and "What was not measured" in page.text
    assert all(term.formula in page.text for term in load_report.TERMS)
    html.encode("utf-8")


def test_everything_a_reader_needs_is_there(htmls, measured):
    page, found = Page(htmls["concurrent"]), load_module.read_summary(measured / "concurrent")
    for words in ("openai:truth", found["host"], "concurrent: always the same number of requests in flight", "4 at a time",
                  "INCONCLUSIVE", "TTFT, from the send", "response time, from the schedule", "n too small", "completed",
                  "(4 asked for)", "Little's law", "goodput, share", "TTFT, from the send ≤ 60,000 ms", "None of 36 requests failed.",
                  "Scale not weighed: ", "benchkit weigh --streams 4", "logical_cores"):  # fmt: skip
        assert words in page.text, words
    assert all(reason in page.text for reason in found["reasons"] + found["notes"])
    assert len(page.of("img")) == 2 and "Requests in flight over time" in page.text


def test_untrusted_words_are_shown_and_never_obeyed(htmls):
    page, html = Page(htmls["failing"]), htmls["failing"]
    assert "<script>alert(1)</script>⟨U+202E⟩" in page.text and "<img src=x onerror=alert(2)> &lt; </b>" in page.text
    assert "<script" not in html and "<img src=x" not in html and "\u202e" not in html
    assert "3 of 30 requests failed, warm-up and cool-down included." in page.text
    assert "http_503" in page.text and "3 failed, marked with a cross" in page.text


def test_a_killed_run_says_so(htmls):
    page = Page(htmls["killed"])
    assert "the run was killed before its end" in page.text and "machine not recorded" in page.text
    assert "the gauge was not kept" in page.text and "could not be checked" in page.text


def test_a_sweep_has_its_points_and_its_knee(htmls, measured):
    page, found = Page(htmls["sweep"]), json.loads((measured / "sweep" / "sweep.json").read_text())
    assert len(found["points"]) == 7 and "synchronous" in page.text and "kept up" in page.text
    assert load_figures.knee_told(found) in page.text and len(page.of("img")) == 1


def test_several_runs_stand_on_one_page_after_one_table(measured):
    names = ["concurrent", "failing", "sweep"]
    page = Page(load_report.report_html([measured / name for name in names]))
    assert page.problems == [] and "Side by side" in page.text and "knee: " in page.text
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids)) and {"run-1", "run-2", "run-3"} <= set(ids)
    assert len(page.of("img")) == 5


def test_the_command_writes_it_beside_the_run_and_refuses_a_mixture(measured, ordinary, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(load_report, "_figures", lambda one: [])
    page = measured / "concurrent" / "report.html"
    assert said(capsys, "report", measured / "concurrent").strip() == str(page) and page.stat().st_size > 10_000
    assert said(capsys, "report", measured / "failing", "--out", tmp_path / "mine.html").strip() == str(tmp_path / "mine.html")
    page.unlink()
    refused = said(capsys, "report", ordinary, measured / "concurrent", code=3)
    assert "make two reports" in refused and len(refused.splitlines()) == 1 and not (ordinary / "report.html").exists()
    with pytest.raises(BenchkitError, match=r"\.html"):
        report.write_report(measured / "concurrent", measured / "concurrent" / "summary.json")


@pytest.mark.parametrize("name", ["concurrent", "throughput", "failing", "sweep"])
def test_the_command_that_measures_it_again_can_be_understood(measured, name):
    words = shlex.split(load_report.command(load_report.read(measured / name, name)))
    asked = cli.parse(words[1:])
    about = json.loads((next(measured.glob(f"{name}/**/manifest.json"))).read_text())
    assert (asked.model, asked.host, asked.profile) == (about["model"], about["host"], "constant" if name == "failing" else name)
    assert asked.requests == {"sweep": 6, "failing": 30}.get(name, 36) and asked.max_tokens == 128
    assert asked.rate == (200.0 if name == "failing" else None) and asked.concurrency == (4 if name == "concurrent" else None)
    assert asked.slo == (["ttft_ms=60000"] if name == "concurrent" else [])


# ---------------------------------------------------------------- figures


def draw_quietly(draw, *data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig, alt = draw(*data)
        fig.draw_without_rendering()
    return alt


def test_a_stall_is_seen_and_failures_are_counted(measured):
    one = load_report.read(measured / "failing", "failing")
    alt = draw_quietly(load_figures.waits_figure, one.requests, one.found, one.begin_ns)
    assert re.search(r"median \d\S* s from the schedule and \d\S* s from the send \(n = 27 requests\)", alt)
    assert "nothing to draw" in draw_quietly(load_figures.waits_figure, [], one.found, 0)
    failed = [request for request in one.requests if request.failure]
    assert "none of 3 requests was completed" in draw_quietly(load_figures.waits_figure, failed, one.found, one.begin_ns)
    assert "the window that counts is from" in draw_quietly(load_figures.in_flight_figure, one.gauge, one.found, one.begin_ns)
    assert "nothing to draw" in draw_quietly(load_figures.in_flight_figure, [], one.found, 0)


def test_a_sweep_is_drawn_whatever_it_found(measured):
    found = json.loads((measured / "sweep" / "sweep.json").read_text())
    rated = [p for p in found["points"] if p["rate"] is not None]
    for kept, knee in (([True] * 5, rated[4]["rate"]), ([True, True, False, False, False], rated[1]["rate"]), ([False] * 5, None)):
        points = [{**p, "kept_up": k} for p, k in zip(rated, kept)]
        alt = draw_quietly(load_figures.sweep_figure, {"points": points, "knee": traffic.knee(points)})
        assert alt.count("not kept up") == kept.count(False)
        assert ("did not keep up with the lowest" in alt) == (knee is None)
        assert load_figures.knee_point({"points": points, "knee": traffic.knee(points)}) == (
            None if knee is None else points[kept.count(True) - 1])  # fmt: skip
    assert "nothing to draw" in draw_quietly(load_figures.sweep_figure, {**found, "points": found["points"][:2]})
    none = {**found, "knee": {"requests_per_s": None, "not_at": 1.0}}
    assert load_report.comparison([none], ["x"])[3] == ("completed", "requests/s", "–")
