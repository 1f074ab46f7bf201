"""Figures: every kind of data is drawn or refused in words, and the sentence carries the numbers."""

import io
import re
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from made_up import FAMILY, made_up_artifact, made_up_run
from PIL import Image

from benchkit import canvas, figures, stats, tables
from benchkit.recording import Chunk, Recording

OF_RESULTS = (figures.latency_figure, figures.ttft_figure, figures.ecdf_figure, figures.length_figure,
              figures.decode_figure, figures.quality_figure, figures.checks_figure, figures.memory_figure)  # fmt: skip
OF_SUMMARY = (figures.tradeoff_figure, figures.seconds_per_correct_figure)
ALL = [*((draw, False) for draw in OF_RESULTS), *((draw, True) for draw in OF_SUMMARY)]
IDS = [draw.__name__ for draw, _ in ALL]


def draw_quietly(draw, of_summary, table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph, an empty axis or a failed layout is a warning
        fig, alt = draw(tables.summarize(table) if of_summary else table)
        fig.draw_without_rendering()
    return fig, alt


@pytest.fixture(scope="module")
def table():
    return tables.results(made_up_run())


@pytest.fixture(scope="module")
def drawn(table):
    return {draw.__name__: draw_quietly(draw, of_summary, table) for draw, of_summary in ALL}


def texts(fig):
    return [text.get_text() for text in fig.findobj(mpl.text.Text) if text.get_text().strip()]


@pytest.mark.parametrize("name", IDS)
def test_every_figure_names_each_configuration_a_unit_and_n(drawn, name):
    fig, alt = drawn[name]
    for configuration in FAMILY:
        assert configuration in alt
        assert any(configuration in text.replace("\n", "") for text in texts(fig))
    assert re.search(r"n = \d|\d+/\d+|\d+ prompts", alt)
    axis_labels = [ax.get_xlabel() for ax in fig.axes]
    assert any(re.search(r"\((s|ms|tok/s|%|MiB|output tokens)", label) for label in axis_labels)


@pytest.mark.parametrize("name", IDS)
def test_the_sentence_is_one_and_the_same_for_the_same_data(drawn, table, name):
    draw, of_summary = dict(zip(IDS, ALL, strict=True))[name]
    if name in ("latency_figure", "tradeoff_figure"):  # the others share their code
        assert draw(tables.summarize(table) if of_summary else table)[1] == drawn[name][1]
    assert drawn[name][1].endswith(".") and "nan" not in drawn[name][1].lower()


def test_latency_says_the_median_and_its_interval(drawn, table):
    _, alt = drawn["latency_figure"]
    row = tables.summarize(table).iloc[0]
    low, high = canvas_number(row["latency_median_s_low"]), canvas_number(row["latency_median_s_high"])
    assert (
        f"median {canvas_number(row['latency_median_s'])} s (95 % interval {low} to {high}, n = 60 prompts"
        in alt
    )


def canvas_number(value):
    from benchkit.text import number

    return number(value)


def test_quality_and_tradeoff_agree_with_the_summary(drawn, table):
    for _, row in tables.summarize(table).iterrows():
        assert (
            f"{row['configuration']} {round(60 * row['pass_rate'])}/60 prompts" in drawn["quality_figure"][1]
        )
    points = {
        r["configuration"]: (r["decode_tokens_per_s"], r["pass_rate"])
        for _, r in tables.summarize(table).iterrows()
    }
    front = ", ".join(figures.pareto_front(points))
    assert f"On the Pareto front of these estimates: {front}" in drawn["tradeoff_figure"][1]


@pytest.mark.parametrize(("draw", "of_summary"), ALL, ids=IDS)
def test_no_data_is_said_not_drawn(draw, of_summary, table):
    fig, alt = draw_quietly(draw, of_summary, table.iloc[:0])
    assert "nothing to draw" in alt
    assert fig.get_size_inches()[1] < 2


@pytest.fixture(scope="module")
def all_errors():
    rng = np.random.default_rng(0)
    run = made_up_run({"gguf:broken": (100.0, 0.5, 1.0)}, n_prompts=3, speed=0)
    run.rows[:] = [
        made_up_artifact(rng, "gguf:broken", 100, 1, i, 0, 5, 9, False, state="timeout") for i in range(3)
    ]
    for row in run.rows:
        row["checks"], row["memory"] = [], {}
    return tables.results(run)


@pytest.mark.parametrize(("draw", "of_summary"), ALL, ids=IDS)
def test_a_run_of_errors_is_said_not_drawn(draw, of_summary, all_errors):
    assert "nothing to draw" in draw_quietly(draw, of_summary, all_errors)[1]


@pytest.fixture(scope="module")
def tiny():
    return tables.results(made_up_run({"gguf:pocket-xs": (900.0, 1.0, 2.0)}, n_prompts=1, speed=1))


@pytest.mark.parametrize(("draw", "of_summary"), ALL, ids=IDS)
def test_one_prompt_is_a_fixed_set_without_an_interval(draw, of_summary, tiny):
    fig, alt = draw_quietly(draw, of_summary, tiny)
    assert "95 % interval " not in alt
    if draw in (
        figures.latency_figure,
        figures.quality_figure,
        figures.decode_figure,
        figures.tradeoff_figure,
    ):
        assert "fixed set" in alt
        assert any("fixed set" in text.lower() for text in texts(fig))


@pytest.mark.parametrize("column", ["latency_s", "n_output_tokens", "decode_tokens_per_s", "peak_memory_mib"])
def test_missing_values_are_left_out(table, column):
    holes = table.copy()
    holes.loc[holes["configuration"] == "gguf:pocket-s", column] = pd.NA if column[0] == "n" else np.nan
    for draw, of_summary in ALL[:1] + ALL[3:5] + ALL[7:9]:
        assert "nan" not in draw_quietly(draw, of_summary, holes)[1].lower()


def test_a_configuration_without_checks_has_a_dash(table):
    some = table[~((table["configuration"] == "gguf:pocket-s") & (table["category"] == "code"))]
    fig, alt = draw_quietly(figures.quality_figure, False, some)
    assert "–" in texts(fig)
    assert "gguf:pocket-s 3" in alt


def test_never_is_a_word_not_an_infinite_bar(table):
    summary = tables.summarize(table).assign(seconds_per_correct=[np.inf, 0.1, 0.2, 90.0])
    fig, alt = figures.seconds_per_correct_figure(summary)
    fig.draw_without_rendering()
    assert "gguf:pocket-xs never" in alt
    assert "logarithmic" in fig.axes[0].get_xlabel()


def test_names_are_drawn_as_they_are_and_cannot_break_a_figure(table):
    evil = "$\\frac{1}$ \x00\u202e模型 <b>" + "x" * 80
    renamed = table.replace({"configuration": {"gguf:pocket-xs": evil}})
    for draw, of_summary in (ALL[0], ALL[5], ALL[8]):
        _, alt = draw_quietly(draw, of_summary, renamed)
        assert "⟨NUL⟩" in alt
        assert not set(alt) & set("\x00\u202e")
        alt.encode("utf-8")


def test_many_configurations_stay_legible():
    family = {f"hf:model-{i}:Q4_K_M n_ctx={512 * i}": (100.0 * i, 0.5, 2.0 * i) for i in range(1, 13)}
    table = tables.results(made_up_run(family, n_prompts=7, speed=1))
    for draw, of_summary in (ALL[0], ALL[5], ALL[6], ALL[8]):
        fig, _ = draw_quietly(draw, of_summary, table)
        assert fig.get_size_inches()[0] == canvas.WIDTH
    assert len({(look.colour, look.marker) for look in canvas.looks(family).values()}) == 12


def recording(words, state="ok"):
    chunks = tuple(
        Chunk(20_000_000 + 2_000_000 * i, "content", word, len(word)) for i, word in enumerate(words)
    )
    end = 21_000_000 + 2_000_000 * len(words)
    return Recording(0, end, state, chunks, chunks_are_tokens=True)


@pytest.mark.parametrize("words", [["One"], ["a", " b", "$x_1$", "\n", "\x1b[31m", "模"], ["w"] * 300])
def test_a_timeline_says_when_the_first_token_came(words):
    fig, alt = draw_quietly(figures.timeline_figure, False, recording(words))
    assert "the first token came after 20.0 ms (TTFT)" in alt
    assert f"the reply ended after {figures.number(21 + 2 * len(words))} ms (latency), state ok." in alt
    assert not any("\x1b" in text for text in texts(fig))


def test_a_timeline_without_text_says_so():
    assert "no text arrived" in draw_quietly(figures.timeline_figure, False, recording([], "timeout"))[1]


def test_the_png_carries_its_sentence_and_is_always_the_same(drawn):
    fig, alt = drawn["latency_figure"]
    data = canvas.png(fig, alt)
    assert Image.open(io.BytesIO(data)).info["Description"] == alt
    assert canvas.png(fig, alt) == data
    assert len(data) < 150_000


def test_drawing_leaves_matplotlib_as_it_was(table):
    before = dict(mpl.rcParams)
    figures.latency_figure(table)
    assert dict(mpl.rcParams) == before
    if "matplotlib.pyplot" in __import__("sys").modules:
        assert mpl.pyplot.get_fignums() == []


def test_outside_a_notebook_show_prints_the_sentence(drawn, capsys):
    canvas.show(*drawn["latency_figure"])
    assert capsys.readouterr().out == drawn["latency_figure"][1] + "\n"


def test_in_a_notebook_show_gives_picture_alternative_text_and_caption(drawn):
    fig, alt = drawn["latency_figure"]
    data, metadata = canvas.Picture(canvas.png(fig, alt), alt)._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG") and data["text/plain"] == alt
    assert metadata["image/png"]["alt"] == alt
    caption = canvas.Caption("a_b <script> *c*")._repr_mimebundle_()
    assert caption["text/markdown"] == "*a\\_b &lt;script&gt; \\*c\\**"


def test_save_writes_the_picture(drawn, tmp_path):
    assert figures.save(*drawn["ttft_figure"], tmp_path / "ttft.png").read_bytes().startswith(b"\x89PNG")


def test_every_colour_stands_out_from_white():
    for colour in canvas.COLOURS:
        assert contrast(mpl.colors.to_rgb(colour), (1, 1, 1)) >= 3  # WCAG 1.4.11, graphics


def contrast(a, b):
    lighter, darker = sorted(map(luminance, (a, b)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(rgb):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_front_keeps_equals_and_drops_what_is_beaten():
    points = {"a": (10, 50), "same as a": (10, 50), "b": (20, 50), "c": (5, 90)}
    assert figures.pareto_front(points) == ["b", "c"]
    assert figures.pareto_front({}) == []


def test_a_strip_shows_an_interval_only_where_there_is_one():
    assert figures._spread([1, 2, 3]).interval is None
    assert figures._spread(range(1, 8)).interval == stats.median_interval(range(1, 8))
