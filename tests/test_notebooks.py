"""The strict runner: what it refuses, what it says, and in which Python the cells run."""

from __future__ import annotations

import json
import sys

import nbformat
import pytest

pytest.importorskip("papermill")

from benchkit import notebooks
from benchkit.notebooks import NotebookError

PARAMETERS = '''models = ["gguf:pocket-s"]  # which models
trials = 3  # repeats of each prompt
temperature = 0.0
run_folder = "benchmark_outputs/sample"
plots = True
limit = None
streams = [1, 32]'''


@pytest.fixture
def notebook(tmp_path):
    """A small notebook with parameters that reports what it got and in which Python it ran."""
    cells = [
        nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}, id="settings"),
        nbformat.v4.new_code_cell("import json, sys", id="imports"),
        nbformat.v4.new_code_cell(
            "if trials > 7:\n    raise ValueError('too many trials')\n"
            "print(json.dumps([models, trials, temperature, run_folder, sys.executable]))",
            id="report",
        ),
    ]
    path = tmp_path / "small.ipynb"
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def run(notebook, tmp_path, **parameters):
    out = notebooks.execute(notebook, parameters, tmp_path / "out" / "done.ipynb", progress=False)
    cells = nbformat.read(out, as_version=4).cells
    return json.loads(next(c.outputs[0].text for c in cells if c.id == "report"))


@pytest.mark.notebooks
def test_parameters_reach_the_cells_and_a_whole_number_may_stand_for_a_number(notebook, tmp_path):
    got = run(notebook, tmp_path, trials=2, temperature=1, models=["gguf:pocket-m"])
    assert got[:4] == [["gguf:pocket-m"], 2, 1.0, "benchmark_outputs/sample"]


@pytest.mark.notebooks
def test_the_kernel_is_this_interpreter_even_where_another_is_installed_under_its_name(
    notebook, tmp_path, monkeypatch
):
    wrong = tmp_path / "jupyter" / "kernels" / "python3"
    wrong.mkdir(parents=True)
    spec = {"argv": ["/no/such/python", "{connection_file}"], "display_name": "wrong", "language": "python"}
    (wrong / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    assert run(notebook, tmp_path)[4] == sys.executable


@pytest.mark.parametrize(
    "parameters, says",
    [
        ({"trails": 5}, ["no parameter 'trails'", 'did you mean "trials"?', "repeats of each prompt"]),
        ({"zzz": 5}, ["no parameter 'zzz'", "temperature = 0.0"]),
        ({"trials": "5"}, ["'trials' got \"5\" (str)", "a whole number, such as 3"]),
        ({"trials": True}, ["'trials' got true (bool)"]),
        ({"trials": 2.5}, ["a whole number"]),
        ({"temperature": "hot"}, ["a number, such as 0.0"]),
        ({"models": "gguf:pocket-s"}, ['a list, such as ["gguf:pocket-s"]']),
        ({"models": [1]}, ["a list"]),
        ({"plots": 1}, ["true or false"]),
        ({"temperature": float("nan")}, ["a number, such as 0.0"]),
        ({"temperature": 10**400}, ["a number, such as 0.0"]),
        ({"limit": [float("inf")]}, ["'limit' got [Infinity]"]),
        ({"models": []}, ["a list, such as"]),
        ({"run_folder": ""}, ["text, such as"]),
    ],
)
def test_a_wrong_name_or_type_is_refused_before_anything_runs(notebook, tmp_path, parameters, says):
    with pytest.raises(NotebookError) as refusal:
        run(notebook, tmp_path, **parameters)
    assert all(part in str(refusal.value) for part in says), refusal.value
    assert not (tmp_path / "out" / "done.ipynb").exists()


@pytest.mark.notebooks
def test_a_failing_cell_is_named_and_the_notebook_up_to_it_is_kept(notebook, tmp_path):
    with pytest.raises(NotebookError, match="(?s)small stopped at cell 'report'.*too many trials") as failure:
        run(notebook, tmp_path, trials=8)
    kept = tmp_path / "out" / "done.ipynb"
    assert str(kept) in str(failure.value)
    assert any(o.output_type == "error" for c in nbformat.read(kept, 4).cells for o in c.get("outputs", []))


@pytest.mark.parametrize(
    "text, value",
    [
        ("models=gguf:pocket-xs, gguf:pocket-m", {"models": ["gguf:pocket-xs", "gguf:pocket-m"]}),
        ('models=["a,b"]', {"models": ["a,b"]}),
        ("trials=5", {"trials": 5}),
        ("temperature=1", {"temperature": 1.0}),
        ("run_folder=a=b", {"run_folder": "a=b"}),
        ("plots=False", {"plots": False}),
        ("limit=12", {"limit": 12}),
        ("streams=2, 16", {"streams": [2, 16]}),
    ],
)
def test_a_command_lines_text_is_read_as_the_notebooks_type(notebook, text, value):
    assert notebooks.parse_parameters(notebook, [text]) == value


@pytest.mark.parametrize("text", ["trials", "trials=many", "trials=", "trails=3", "plots=perhaps", "temperature=1e999",
                                  "streams=2,x", "streams=2,1.5"])
def test_text_that_does_not_fit_is_refused(notebook, text):
    with pytest.raises(NotebookError):
        notebooks.parse_parameters(notebook, [text])


def test_an_unknown_notebook_is_refused_with_the_list_of_lessons():
    with pytest.raises(NotebookError, match='did you mean "03_analyze_results"'):
        notebooks.find_notebook("03_analyse_results")


@pytest.mark.parametrize("name", ["03", "analyze_results", "03_analyze_results", "03_analyze_results.ipynb"])
def test_a_lesson_is_found_by_number_or_name(name):
    assert notebooks.find_notebook(name).name == "03_analyze_results.ipynb"


def test_a_parameter_given_twice_is_refused(notebook):
    with pytest.raises(NotebookError, match="'trials' is given twice"):
        notebooks.parse_parameters(notebook, ["trials=3", "trials=4"])


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"cells": 5, "nbformat": 4}', b"\xff\xfe"])
def test_a_file_that_is_no_notebook_is_refused_in_words(tmp_path, data):
    path = tmp_path / "broken.ipynb"
    path.write_bytes(data)
    with pytest.raises(NotebookError, match="is not a notebook"):
        notebooks.parameters_of(path)
