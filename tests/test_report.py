"""The report: complete, the same every time, asks nobody for anything, and shows untrusted text as text."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from made_up import FAMILY, MadeUpRun, made_up_artifact, made_up_run, write_run

from benchkit import compare, pages, report, tables
from benchkit.errors import BenchkitError
from benchkit.judge import Card

EVIL = ("<script>alert(1)</script><img src=x onerror=alert(2)> [x](javascript:alert(3)) </pre></details>"
        "\x00 \x1b[31mred\x1b[0m \u202eevil\u2066 \ud800 {{ 7*7 }} &lt;b&gt;")  # fmt: skip
TWO = dict(list(FAMILY.items())[:2])


class Page(HTMLParser):
    """The elements of a page, their attributes, and its text."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.said, self.problems = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)

    def handle_data(self, data):
        self.said.append(data)

    def of(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.said).split())


def evil_run():
    run = made_up_run(TWO, n_prompts=6, trials=2, speed=1)
    rng = np.random.default_rng(3)
    run.rows[0]["response"] = EVIL
    for row in run.rows:
        if row["purpose"] == "quality" and row["prompt_index"] == 0:
            row["prompt"] = EVIL
    run.rows[0]["checks"][0]["reason"] = EVIL
    run.rows[2]["response"] = "long " * 1_000_000
    broken = made_up_artifact(rng, "gguf:pocket-xs", 500, 3, 4, 0, 9, 20, False, state="timeout")
    run.rows[8] = {
        **run.rows[8],
        "recording": {**broken["recording"], "error": EVIL},
        "response": "",
        "checks": [],
    }
    named = EVIL.replace("\ud800", "")  # names come from UTF-8 files, which hold no half of a surrogate pair
    run.rows[3]["prompt_id"] = run.rows[3]["category"] = named
    run.manifest["machine"]["cpu"] = run.manifest["name"] = run.manifest["plan"]["name"] = named
    return run


@pytest.fixture(scope="module")
def html():
    return report.report_html([evil_run()])


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_it_is_a_well_formed_page(page):
    assert page.problems == [] and page.open == []
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"] for attrs in page.of("a")} <= {f"#{name}" for name in ids}
    assert [tag for tag, _ in page.tags if tag in ("h1", "main", "title")] == ["title", "h1", "main"]
    assert page.of("html") == [{"lang": "en"}]


def test_it_asks_nobody_for_anything(page, html):
    for _, attrs in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert attrs.get(name, "#").startswith(("#", "data:image/png;base64,"))
        assert not [name for name in attrs if name.startswith("on") or name == "style"]
    assert not page.of("script") and not page.of("link") and not page.of("iframe")
    style = re.search(r"<style>(.*?)</style>", html, re.S).group(1)
    assert "url(" not in style and "@import" not in style


def test_its_policy_allows_its_own_style_and_nothing_else(page, html):
    policy = next(
        attrs["content"] for attrs in page.of("meta") if "content-security-policy" in str(attrs).lower()
    )
    style = re.search(r"<style>(.*?)</style>", html, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == ("default-src 'none'; img-src data:; "
                      f"style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")  # fmt: skip


def test_untrusted_text_is_shown_and_never_obeyed(page, html):
    assert page.text.count("<script>alert(1)</script>") >= 5  # prompt, reply, reason, error, names
    assert "<script" not in html and "onerror=alert(2)>" not in html
    assert "{{ 7*7 }}" in page.text and "&lt;b&gt;" in page.text
    assert (
        "⟨NUL⟩" in html and "⟨ESC⟩[31mred" in html and "⟨U+202E⟩evil⟨U+2066⟩" in html and "⟨U+D800⟩" in html
    )
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", html)
    html.encode("utf-8")


def test_a_long_reply_is_cut_with_a_notice(page, html):
    assert "4,980,000 more characters are in gguf_pocket-xs_prompt_01" in page.text
    assert len(html) < 3_000_000


def test_pictures_have_the_sentence_as_alternative_text_and_caption(page):
    pictures = page.of("img")
    assert len(pictures) >= 8
    for attrs in pictures:
        assert len(attrs["alt"]) > 60 and attrs["alt"] in page.text
        assert base64.b64decode(attrs["src"].partition(",")[2]).startswith(b"\x89PNG")
        assert int(attrs["width"]) > 600 and int(attrs["height"]) > 100


def test_everything_a_reader_needs_is_there(page):
    heads = ("In short", "Summary", "Compared, prompt by prompt", "Figures", "Quality", "By category", "By check",
             "Prompts and replies", "Errors", "Limitations", "What was not measured", "Machine and settings",
             "How to reproduce it", "Formulas and units")  # fmt: skip
    for head in heads:
        assert head in page.text
    for name in TWO:
        assert name in page.text
    for said in ("INCONCLUSIVE", "Fewest seconds per correct answer", "n = 6 prompts", "Perplexity.",
                 "P95 of the latency: it needs 59 prompts, and there are 6.", "GPU memory and energy.",
                 "benchkit run plan.json", "t_end − t_sent", "logical_cores"):  # fmt: skip
        assert said in page.text
    for term in (*report.TERMS, *report.OTHER_TERMS):
        assert term.formula in page.text


def test_failures_are_listed(page):
    assert "1 request of 26 failed." in page.text
    assert "timeout" in page.text


def test_identical_replies_of_several_trials_are_shown_once(page):
    assert "trials 0, 1, identical replies; medians:" in page.text


def test_every_scrolling_part_can_be_reached_by_keyboard(page):
    for _, attrs in page.tags:
        if attrs.get("class") == "scroll":
            assert attrs["tabindex"] == "0" and attrs["role"] == "region" and attrs["aria-label"]


@pytest.fixture
def no_figures(monkeypatch):
    """For tests of everything else: figures take most of a report's time."""
    monkeypatch.setattr(report, "draw_all", lambda results, summary: [])


def test_the_same_run_gives_the_same_report(no_figures):
    run = made_up_run(TWO, n_prompts=2, speed=0)
    assert report.report_html([run]) == report.report_html([made_up_run(TWO, n_prompts=2, speed=0)])


@pytest.mark.parametrize("rows", [slice(0, 0), slice(0, 1)])
def test_an_empty_and_a_tiny_run_have_a_report(rows, no_figures):
    run = made_up_run(TWO, n_prompts=1, speed=0)
    page = Page(report.report_html([MadeUpRun(run.rows[rows], {"name": "small"})]))
    assert page.problems == []
    assert ("INVALID" in page.text) == (rows.stop == 0)
    assert "a fixed set" in page.text


def test_it_is_written_beside_the_run_and_replaced_whole(tmp_path, no_figures):
    folder = write_run(made_up_run(TWO, n_prompts=2, speed=0), tmp_path / "a run")
    (folder / "report.html").write_text("old")
    assert report.write_report(folder) == folder / "report.html"
    assert "a run" in (folder / "report.html").read_text(encoding="utf-8")
    other = report.write_report([folder], tmp_path / "deep" / "er.html")
    assert other.read_bytes() == (folder / "report.html").read_bytes()
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("name", ["manifest.json", "report", "notes.txt"])
def test_it_is_not_written_over_something_else(tmp_path, no_figures, name):
    folder = write_run(made_up_run(TWO, n_prompts=1, speed=0), tmp_path / "a run")
    before = sorted((p.name, p.read_bytes()) for p in folder.iterdir() if p.is_file())
    with pytest.raises(BenchkitError, match=r"\.html"):
        report.write_report(folder, folder / name)
    assert sorted((p.name, p.read_bytes()) for p in folder.iterdir() if p.is_file()) == before


def test_two_runs_stand_in_one_report(tmp_path, no_figures):
    runs = [write_run(made_up_run(TWO, n_prompts=2, speed=0, seed=s), tmp_path / f"run-{s}") for s in (1, 2)]
    text = Page(report.write_report(runs, tmp_path / "both.html").read_text(encoding="utf-8")).text
    for name in ("gguf:pocket-xs [run-1]", "gguf:pocket-xs [run-2]", "VALID – run-1", "VALID – run-2"):
        assert name in text


# ---------------------------------------------------------------- for a terminal


@pytest.fixture(scope="module")
def summary():
    return tables.summarize(tables.results(made_up_run(n_prompts=60, speed=6)))


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_table_for_a_terminal_fits_and_is_aligned(summary, width):
    lines = report.format_table(summary, width).splitlines()
    assert max(map(len, lines)) <= width
    assert len({len(line) for line in lines[2:3] + lines[3:7]}) == 1
    for word in ("configuration", "latency", "decode", "correct"):
        assert word in lines[0]
    assert "tok/s" in lines[1] and "s, median" in lines[1]
    assert all(name in line for name, line in zip(FAMILY, lines[3:7], strict=True))


def test_a_wide_terminal_sees_more(summary):
    assert len(report.format_table(summary, 200).splitlines()[0].split()) > len(
        report.format_table(summary, 80).splitlines()[0].split())  # fmt: skip


def test_an_empty_table_is_a_sentence(summary):
    assert "nothing to compare" in report.format_table(summary.iloc[:0])


def test_names_cannot_command_a_terminal(summary):
    text = report.format_table(summary.assign(configuration=["\x1b[2J\nx", "模型" * 30, "c", "d"]), 100)
    assert "\x1b" not in text and "⟨ESC⟩[2J" in text


def test_a_fixed_set_is_named(summary):
    assert "Fixed set" in report.format_table(summary.assign(n_prompts=5), 100)


def test_cards_say_when_nothing_can_be_told():
    cards = [Card("fastest", "a", "winner", "a", "900 tok/s", 60, "told apart"),
             Card("best quality", None, "not distinguishable", "b", "61 %", 60, "b leads, but not told apart from a"),
             Card("smallest", None, "not measured", None, "–", 0, "no file size was recorded")]  # fmt: skip
    assert report.format_cards(cards).splitlines() == [
        "Fastest: a, 900 tok/s",
        "    told apart",
        "Best quality: not distinguishable, b: 61 %",
        "    b leads, but not told apart from a",
        "Smallest: not measured",
        "    no file size was recorded",
    ]


@pytest.mark.parametrize("outcome", ["only one", "disturbed", "no interval"])
def test_only_a_winner_is_shown_as_decided(outcome):
    shown = pages.card(Card("fastest", None, outcome, "a", "900 tok/s", 60, "because"))
    assert (shown["winner"], shown["decided"], shown["value"]) == (outcome, False, "a: 900 tok/s")
    assert pages.card(Card("fastest", "a", "winner", "a", "900 tok/s", 60, "so"))["decided"]


def test_a_pair_for_a_terminal_has_its_notes_below_it():
    rows = tables.compare(tables.results(made_up_run(TWO, n_prompts=6, speed=6)))
    lines = compare.format_pair(*TWO, rows).splitlines()
    assert len(lines) == 1 + 5 + 2  # head, questions, notes: latency and TTFT share one
    assert lines[-2].startswith("  forced length: replies of 128 and 128 tokens")
    assert lines[-1].startswith("  natural length: replies of ")


def test_a_report_of_natural_lengths_says_that_speeds_are_not_compared(no_figures):
    page = Page(report.report_html([made_up_run(TWO, n_prompts=6, speed=0)]))
    assert "natural lengths: not compared" in page.text


def test_the_share_of_identical_replies_stands_beside_its_n(no_figures):
    run = made_up_run(TWO, n_prompts=6, trials=2, speed=0)
    run.rows[0]["response"] = "something else"
    (row, _) = (row for _, row in tables.summarize(tables.results(run)).iterrows())
    assert report.cell("identical_share", row) == {"value": "83", "range": "of 6 prompts"}


# ---------------------------------------------------------------- the style sheet


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_contrasts_with_its_ground_in_light_and_dark(scheme):
    css = pages.template_text("report.css")
    blocks = re.findall(r":root \{(.*?)\}", css, re.S)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", blocks[scheme]))
    for name in ("ink", "soft", "link", "good", "bad", "unsure"):
        for ground in ("page", "panel"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
