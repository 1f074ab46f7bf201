"""The lessons: each notebook is what its source says, reads well, and the main job runs headless."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import textwrap
from hashlib import sha256

import pytest

pytest.importorskip("jupytext")
pytest.importorskip("papermill")

import nbformat

from benchkit import notebooks, places, stats, tables
from benchkit.prompts import load_prompts
from benchkit.runs import open_run

spec = importlib.util.spec_from_file_location("lessons_build", places.ROOT / "lessons" / "build.py")
builder = importlib.util.module_from_spec(spec)
spec.loader.exec_module(builder)

LESSONS = builder.lessons()
FOLDERS = [r"/home/", r"/Users/", r"/root/", r"/tmp/", r"/opt/", r"\b[A-Z]:\\\\", re.escape(str(places.ROOT))]
MACHINE_PATHS = re.compile("|".join(FOLDERS))
MAX_PROSE_LINES, MAX_CODE_LINES = 6, 14

each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


def committed(lesson):
    return nbformat.read(builder.notebook_path(lesson), as_version=4)


def outputs(notebook):
    return [(cell, output) for cell in notebook.cells for output in cell.get("outputs", [])]


# ---------------------------------------------------------------- generated is current


@each_lesson
def test_the_notebook_is_what_its_source_says(lesson):
    assert builder.differences(lesson) == []


def test_no_notebook_is_without_a_source():
    assert {builder.notebook_path(lesson) for lesson in LESSONS} == set(builder.NOTEBOOKS.glob("*.ipynb"))


@each_lesson
@pytest.mark.parametrize("part", ["source", "id", "tags", "kernelspec", "count", "order"])
def test_any_difference_is_found(lesson, part, tmp_path, monkeypatch):
    """The check itself: change one thing in the committed notebook, and it must be reported."""
    notebook = committed(lesson)
    code = next(cell for cell in notebook.cells if cell.cell_type == "code")
    if part == "source":
        notebook.cells[0].source += " "
    elif part == "id":
        notebook.cells[3].id += "x"
    elif part == "tags":
        code.metadata["tags"] = ["nbval-skip"]
    elif part == "kernelspec":
        notebook.metadata.kernelspec.name = "other"
    elif part == "count":
        code.execution_count = None
    else:
        notebook.cells[1], notebook.cells[2] = notebook.cells[2], notebook.cells[1]
    monkeypatch.setattr(builder, "NOTEBOOKS", tmp_path)
    nbformat.write(notebook, builder.notebook_path(lesson))
    assert builder.differences(lesson)


SOURCE = """\
# %% [markdown]
# # A title
#
# Prose.

# %%
x = 1

# %% [markdown]
# ## Second part

# %% tags=["parameters"]
y = 2

# %%
print(x + y)
"""


def small_lesson(tmp_path, monkeypatch, text=SOURCE):
    path = tmp_path / "01_small.py"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(builder, "NOTEBOOKS", tmp_path)
    return path


def test_ids_come_from_headings_and_an_edit_changes_no_other_id(tmp_path, monkeypatch):
    lesson = small_lesson(tmp_path, monkeypatch)
    before = [cell.id for cell in builder.generate(lesson).cells]
    assert before == ["a-title", "a-title-1", "second-part", "second-part-1", "second-part-2"]
    lesson.write_text(SOURCE.replace("x = 1", "x = 1\nz = 3\n\n# %%\nz"), encoding="utf-8")
    after = [cell.id for cell in builder.generate(lesson).cells]
    assert after == [*before[:2], "a-title-2", *before[2:]]


@pytest.mark.notebooks
def test_a_rebuild_changes_no_byte_and_prose_alone_is_not_executed_again(tmp_path, monkeypatch):
    lesson = small_lesson(tmp_path, monkeypatch)
    builder.build(lesson, again=False)
    first = builder.notebook_path(lesson).read_bytes()
    assert b'"3\\n"' in first and not builder.differences(lesson)

    monkeypatch.setattr(builder, "run", lambda notebook: pytest.fail("executed again"))
    builder.build(lesson, again=False)
    assert builder.notebook_path(lesson).read_bytes() == first
    lesson.write_text(SOURCE.replace("Prose.", "Better prose."), encoding="utf-8")
    builder.build(lesson, again=False)
    assert b'"3\\n"' in builder.notebook_path(lesson).read_bytes() and not builder.differences(lesson)


@pytest.mark.notebooks
def test_changed_code_is_executed_again(tmp_path, monkeypatch):
    lesson = small_lesson(tmp_path, monkeypatch)
    builder.build(lesson, again=False)
    lesson.write_text(SOURCE.replace("y = 2", "y = 5"), encoding="utf-8")
    builder.build(lesson, again=False)
    assert b'"6\\n"' in builder.notebook_path(lesson).read_bytes()


@pytest.mark.notebooks
def test_noise_of_one_machine_stays_out_of_outputs(tmp_path, monkeypatch):
    code = f"import sys\nprint('a warning', file=sys.stderr)\nprint({str(places.ROOT / 'models')!r})"
    lesson = small_lesson(tmp_path, monkeypatch, f"# %% [markdown]\n# # A\n\n# %%\n{code}\n")
    builder.build(lesson, again=False)
    (output,) = committed(lesson).cells[1].outputs
    assert (output.name, output.text) == ("stdout", "models\n")
    assert "version" not in committed(lesson).metadata.language_info


# ---------------------------------------------------------------- what a reader sees


@each_lesson
def test_it_begins_with_a_title_what_is_learned_and_how_long_it_takes(lesson):
    first, *_, last = [cell.source for cell in builder.generate(lesson).cells if cell.cell_type == "markdown"]
    assert re.match(rf"# {lesson.name[:2]} · [A-Z]", first)
    assert "**You will learn**" in first and re.search(r"\*\*About \d+ minutes", first)
    assert last.startswith("## Questions to try")


@each_lesson
def test_cells_are_short_enough_to_be_read(lesson):
    for cell in builder.generate(lesson).cells:
        lines = cell.source.splitlines()
        if cell.cell_type == "code" and "import" not in cell.source:
            assert len(lines) <= MAX_CODE_LINES, cell.id
        for paragraph in cell.source.split("\n\n") if cell.cell_type == "markdown" else ():
            listing = paragraph.lstrip().startswith(("1.", "|"))
            assert listing or len(paragraph.splitlines()) <= MAX_PROSE_LINES, cell.id


@each_lesson
def test_every_link_to_another_lesson_exists(lesson):
    links = re.findall(r"\]\(([^)]+\.ipynb)\)", lesson.read_text(encoding="utf-8"))
    assert all((builder.NOTEBOOKS / link).exists() for link in links)


@each_lesson
def test_no_path_of_a_machine_and_no_widget_state_is_committed(lesson):
    notebook = committed(lesson)
    text = json.dumps([output for _, output in outputs(notebook) if "image/png" not in output.get("data", {})])
    assert not MACHINE_PATHS.search(text), MACHINE_PATHS.search(text)
    assert "widgets" not in notebook.metadata and "widget" not in text


@each_lesson
def test_nothing_failed_and_nothing_was_written_to_standard_error(lesson):
    for cell, output in outputs(committed(lesson)):
        assert output.output_type != "error" and output.get("name") != "stderr", cell.id


@each_lesson
def test_every_figure_has_an_alternative_text_and_says_it_below(lesson):
    figures = [(cell, o) for cell, o in outputs(committed(lesson)) if "image/png" in o.get("data", {})]
    for cell, figure in figures:
        alt = figure.metadata["image/png"]["alt"]
        assert len(alt) > 20 and figure.data["text/plain"] == alt, cell.id
        assert any(alt == o.data.get("text/plain") and "text/markdown" in o.data for o in cell.outputs if "data" in o)
    if lesson.name[:2] in ("00", "03", "04", "05", "07"):
        assert figures


@each_lesson
def test_the_parameters_cell_has_plain_values_each_with_a_comment(lesson):
    parameters = notebooks.parameters_of(builder.notebook_path(lesson))
    assert parameters
    assert all(p.type in (str, int, float, list, bool) and p.help for p in parameters.values()), parameters


def test_lessons_that_show_timings_are_compared_by_nbval(lesson_names=("03", "04", "05")):
    """Only the cells with versions and files may be ignored where the committed sample is read."""
    for lesson in LESSONS:
        if lesson.name[:2] in lesson_names:
            cells = [c for c in builder.generate(lesson).cells if c.cell_type == "code"]
            ignored = [c for c in cells if "nbval-ignore-output" in c.metadata.get("tags", [])]
            assert len(ignored) <= 2 and len(cells) - len(ignored) >= 10


# ---------------------------------------------------------------- the sample run


@pytest.fixture(scope="module")
def sample():
    return open_run(places.OUTPUTS / "sample")


@pytest.fixture(scope="module")
def results(sample):
    return tables.results(sample)


def test_the_sample_run_is_of_the_shipped_models_and_prompts(sample):
    digests = {f"gguf:{path.stem}": sha256(path.read_bytes()).hexdigest() for path in places.MODELS.glob("*.gguf")}
    measured = {name: model["digest"] for name, model in sample.manifest["models"].items() if name in digests}
    assert measured == digests and len(sample.manifest["models"]) > len(digests)
    assert sample.manifest["prompt_sets"]["categories"]["sha256"] == load_prompts("categories").sha256


def test_the_sample_run_is_complete_small_and_names_no_folder_of_a_machine(sample):
    files = [path for path in sample.folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 5 * 2**20
    assert sample.status["state"] == "complete" and not sample.failed and not sample.problems
    texts = {path.name: path.read_text(encoding="utf-8") for path in files if path.suffix != ".png"}
    assert not [name for name, text in texts.items() if MACHINE_PATHS.search(text)]


def test_the_sample_run_was_not_disturbed(sample):
    assert tables.verdict(sample).state == "VALID", tables.verdict(sample).reasons


def test_what_the_lessons_say_of_the_sample_is_true(results):
    for name in results["configuration"].unique():
        natural = results[(results["configuration"] == name) & (results["purpose"] == "quality")]
        per_prompt = natural.groupby("prompt_id")["latency_s"].median()
        honest, too_sure = stats.median_interval(per_prompt), stats.median_interval(natural["latency_s"])
        assert too_sure.high - too_sure.low < honest.high - honest.low, name  # 03: narrower, and wrong
        assert stats.percentile(per_prompt, 95).value and not stats.percentile(per_prompt, 99).value
        slowest = natural.groupby("prompt_id")["n_output_tokens"].median()[per_prompt.nlargest(6).index]
        assert slowest.median() > natural["n_output_tokens"].median(), name  # 03: slow because long
    verdicts = set(tables.compare(results)["verdict"])
    assert "not distinguishable" in verdicts and len(verdicts) > 1  # 05: both kinds of answer occur
    rates = tables.pass_rates(results, by=["category"]).pivot(
        index="category", columns="configuration", values="pass_rate"
    )
    assert (rates.max(axis=1) - rates.min(axis=1)).max() >= 0.5  # 04: a category that tells models apart


# ---------------------------------------------------------------- the main job, headless


@pytest.mark.notebooks
def test_run_analyze_compare_headless_on_one_folder(tmp_path):
    run_folder = str(tmp_path / "run")
    small = {"models": ["gguf:pocket-xs", "gguf:pocket-s"], "trials": 1, "max_tokens": 24}
    for name, parameters in (
        ("02", {**small, "output_folder": run_folder}),
        ("03", {"run_folder": run_folder}),
        ("04", {"run_folder": run_folder}),
        ("05", {"run_folders": [run_folder]}),
    ):
        out = notebooks.execute(name, parameters, tmp_path / f"{name}.ipynb", progress=False, timeout_s=300)
        code = [cell for cell in nbformat.read(out, as_version=4).cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in code), name
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.notebooks
def test_nbval_fails_on_a_wrong_number_in_a_notebook(tmp_path):
    """The comparison is not vacuous: one digit changed in one output, and that cell alone fails."""
    lesson = next(path for path in LESSONS if path.name.startswith("04"))
    notebook = committed(lesson)
    cell = next(c for c in notebook.cells if any("plausible" in o.get("text", "") for o in c.get("outputs", [])))
    cell.outputs[0].text = cell.outputs[0].text.replace("240", "241")
    copy = tmp_path / "wrong.ipynb"
    nbformat.write(notebook, copy)
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider",
               "--rootdir", str(tmp_path), str(copy)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1 and "1 failed" in done.stdout, textwrap.shorten(done.stdout, 2000)
