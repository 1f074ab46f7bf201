"""The exercises: what the student opens, what a check says, and that right answers pass and wrong ones do not."""

from __future__ import annotations

import importlib.util
import re
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("jupytext")

import nbformat

from benchkit import cli, course, places

pytestmark = pytest.mark.real


def load(path):
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


builder = load(places.ROOT / "lessons" / "build.py")

SOURCES = course.sources()
MAX_ANSWER_LINES, MAX_PROSE_LINES = 15, 6
NOT_WRITTEN = re.compile(r"^\w+ is not (written|set) yet: .*", re.DOTALL)

each_exercise = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def solutions(exercise):
    return {name: cell.solution for name, cell in exercise.answers.items()}


def data_of(source):
    return load(places.ROOT / "tests" / "exercises" / source.name)


def lines_between(source, markers):
    """The lines between the markers of every cell of an exercise."""
    found, inside = [], False
    for line in source.read_text(encoding="utf-8").split("\n"):
        if line.strip() in markers:
            inside = line.strip() == markers[0]
        elif inside:
            found.append(line.strip())
    return found


# ---------------------------------------------------------------- what the student opens


@each_exercise
def test_the_blank_notebook_is_what_its_source_says(source):
    assert builder.exercise_differences(source) == []


def test_no_blank_notebook_is_without_a_source():
    notebooks = set((builder.NOTEBOOKS / "exercises").glob("*.ipynb"))
    assert notebooks == {builder.exercise_path(source) for source in SOURCES}


@pytest.mark.parametrize("part", ["source", "id", "points", "output", "count", "missing"])
def test_any_difference_is_found(part, tmp_path, monkeypatch):
    """The comparison itself: change one thing in a committed notebook, and it must be reported."""
    source = SOURCES[0]
    notebook = course.blank(course.read_exercise(source))
    check = next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade"))
    if part == "source":
        check.source += " "
    elif part == "id":
        check.id += "x"
    elif part == "points":
        check.metadata.nbgrader.points += 1
    elif part == "output":
        check.outputs = [nbformat.v4.new_output("stream", text="passed")]
    elif part == "count":
        check.execution_count = 1
    monkeypatch.setattr(builder, "NOTEBOOKS", tmp_path)
    path = builder.exercise_path(source)
    path.parent.mkdir()
    if part != "missing":
        path.write_bytes(course.notebook_bytes(notebook))
    assert builder.exercise_differences(source)


@each_exercise
def test_nothing_of_the_solution_and_no_hidden_test_is_in_the_blank_notebook(source):
    text = builder.exercise_path(source).read_text(encoding="utf-8")
    shown = "\n".join(cell.source for cell in nbformat.reads(text, as_version=4).cells)
    assert not [marker for marker in (*course.SOLUTION, *course.HIDDEN) if marker in text]
    hidden_calls = [line for line in lines_between(source, course.HIDDEN) if re.match(r"(called|stated)\(", line)]
    solved = [line for line in lines_between(source, course.SOLUTION) if line.startswith("return") or len(line) > 45]
    secret = [line for line in hidden_calls + solved if len(line) > 20]
    assert secret and not [line for line in secret if line in shown]


@each_exercise
def test_it_says_how_long_it_takes_and_reads_well(source):
    exercise = course.read_exercise(source)
    assert 5 <= exercise.minutes <= 180
    for cell in exercise.cells:
        for paragraph in cell.source.split("\n\n") if cell.role == "text" else ():
            listing = paragraph.lstrip().startswith(("1.", "|", "-"))
            assert listing or len(paragraph.splitlines()) <= MAX_PROSE_LINES, cell.id


@each_exercise
def test_every_link_leads_somewhere(source):
    for link in re.findall(r"\]\(([^)#:]+)\)", source.read_text(encoding="utf-8")):
        assert (builder.exercise_path(source).parent / link).exists(), link


@each_exercise
def test_an_answer_is_short(source):
    for name, cell in course.read_exercise(source).answers.items():
        begin, end = (cell.source.index(marker) for marker in course.SOLUTION)
        lines = [line for line in cell.source[begin:end].split("\n")[1:] if line.strip()]
        assert len(lines) <= MAX_ANSWER_LINES, name


def executed(notebook):
    pytest.importorskip("nbclient")
    from nbclient import NotebookClient

    from benchkit.notebooks import kernel_manager_class

    folder = {"metadata": {"path": str(builder.NOTEBOOKS / "exercises")}}
    return NotebookClient(
        notebook, timeout=120, kernel_name="python3", allow_errors=True, resources=folder,
        kernel_manager_class=kernel_manager_class(),
    ).execute()  # fmt: skip


@pytest.mark.notebooks
def test_a_check_that_passes_shows_one_line():
    exercise = course.read_exercise(course.find_exercise("ex02"))
    notebook = course.blank(exercise)
    for cell in notebook.cells:
        cell.source = exercise.answers[cell.id].solution if cell.id in exercise.answers else cell.source
    outputs = {cell.id: cell.outputs for cell in executed(notebook).cells if cell.id in exercise.checks}
    for check, (output,) in outputs.items():
        assert output.data == {"text/plain": f"{check.removeprefix('check_')}: passed."}


@pytest.mark.notebooks
@each_exercise
def test_a_blank_notebook_only_says_that_nothing_is_written_yet(source):
    """In a real kernel, from top to bottom: no traceback, no warning, nothing else that fails."""
    exercise = course.read_exercise(source)
    notebook = executed(nbformat.read(builder.exercise_path(source), as_version=4))
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        if cell.id in exercise.checks:
            (output,) = outputs
            assert output.ename == "Miss" and output.traceback == [output.evalue], cell.id
            assert NOT_WRITTEN.match(output.evalue), output.evalue
        elif cell.id in exercise.answers:  # the stub of a value, not in a function, is itself the error
            assert all(o.output_type == "error" and o.ename == "NotImplementedError" for o in outputs), cell.id
        else:
            assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"], cell.id


# ---------------------------------------------------------------- what the checks say


@each_exercise
@pytest.mark.parametrize("hidden", [False, True], ids=["public", "hidden"])
def test_the_solution_passes_every_check_every_time(source, hidden):
    exercise = course.read_exercise(source)
    for _ in range(2):
        for check in exercise.checks:
            assert course.run_check(exercise, solutions(exercise), check, hidden) is None, check


@each_exercise
def test_a_blank_passes_no_check_and_learns_why(source):
    exercise = course.read_exercise(source)
    for check in exercise.checks:
        assert NOT_WRITTEN.match(course.run_check(exercise, {}, check, hidden=False)), check


@each_exercise
def test_other_solutions_pass(source):
    exercise, others = course.read_exercise(source), data_of(source).OTHER_SOLUTIONS
    assert sum(map(len, others.values())) >= 2 and others.keys() <= exercise.answers.keys()
    for name, codes in others.items():
        for code in codes:
            answers = solutions(exercise) | {name: code}
            assert course.run_check(exercise, answers, f"check_{name}") is None, f"{name}:\n{code}"


@each_exercise
def test_a_typical_mistake_gets_the_hint_meant_for_it_from_the_public_check(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # one of the mistakes is to write a file
    exercise, mistakes = course.read_exercise(source), data_of(source).MISCONCEPTIONS
    assert len(mistakes) >= 3
    for name, code, hint in mistakes:
        answers = solutions(exercise) | {name: code}
        for _ in range(3):  # where a check looks at times, a busy machine can make a hasty answer look right
            says = course.run_check(exercise, answers, f"check_{name}", hidden=False)
            if says and hint in says:
                break
        assert says and hint in says, f"{name}:\n{code}\n-> {says}\nexpected: {hint}"
        assert not re.search(r"0x[0-9a-f]{6}", says), "an address differs from run to run"


@each_exercise
def test_only_what_is_right_passes(source):
    """Answers that could fool a careless check: leaving early, nothing, a value that equals everything."""
    exercise = course.read_exercise(source)
    for name in exercise.answers:
        for code in ("raise SystemExit(0)", f"def {name}(*a, **k):\n    raise SystemExit(0)",
                     f"def {name}(*a, **k):\n    pass", "class Any:\n    __eq__ = lambda self, other: True\n"
                     f"{name} = lambda *a, **k: Any()"):  # fmt: skip
            assert course.run_check(exercise, solutions(exercise) | {name: code}, f"check_{name}"), f"{name}:\n{code}"


# ---------------------------------------------------------------- the reader of the sources


TEXT = '''\
# %% [markdown]
# # Exercise 9 · A title
#
# **About 10 minutes.** Prose.

# %%
from benchkit.exercises import called, passed

# %% nbgrader={"grade": false, "grade_id": "double", "locked": false, "schema_version": 3, "solution": true, "task": false}
def double(x):
    if x:
        ### BEGIN SOLUTION
        return 2 * x
        ### END SOLUTION
    return 0

# %% nbgrader={"grade": true, "grade_id": "check_double", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("double", 3).gives(6, because="3 + 3", hints={9: "this is the square"})
### BEGIN HIDDEN TESTS
called("double", 4).gives(8, because="4 + 4")
### END HIDDEN TESTS
passed("double")

# %% [markdown] nbgrader={"grade": true, "grade_id": "memo", "locked": false, "points": 5, "schema_version": 3, "solution": true, "task": false}
# My own words.
'''  # noqa: E501


def small(tmp_path, text=TEXT):
    path = tmp_path / "ex09_small.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_source_is_read(tmp_path):
    exercise = course.read_exercise(small(tmp_path))
    assert (exercise.name, exercise.title, exercise.minutes, exercise.points) == (
        "ex09_small", "Exercise 9 · A title", 10, 2)  # fmt: skip
    assert [cell.role for cell in exercise.cells] == ["text", "setup", "answer", "check", "essay"]
    assert list(exercise.essays) == ["memo"] and exercise.essays["memo"].blank == "YOUR ANSWER HERE"
    assert exercise.answers["double"].blank == (
        "def double(x):\n    if x:\n        # YOUR CODE HERE\n        raise NotImplementedError()\n    return 0")
    assert exercise.answers["double"].solution == "def double(x):\n    if x:\n        return 2 * x\n    return 0"


def test_a_check_says_the_same_as_in_a_notebook(tmp_path):
    exercise = course.read_exercise(small(tmp_path))

    def says(code, hidden=True):
        return course.run_check(exercise, {"double": code}, "check_double", hidden)

    assert says("def double(x): return 2 * x") is None
    assert says("def double(x): return x * x") == (
        "double(3) returned 9, expected 6: 3 + 3.\nHint: this is the square")
    assert says("def double(x): return 6", hidden=False) is None and "double(4) returned 6" in says("def double(x): return 6")
    assert "raised ZeroDivisionError: division by zero" in says("def double(x): return x / 0")
    assert says("def double(x: return") and says("double = 3").startswith("double should be a function; it is 3")
    with pytest.raises(course.CourseError, match="no check 'check_triple'. Checks: check_double"):
        course.run_check(exercise, {}, "check_triple")


@pytest.mark.parametrize(
    "old, new, says",
    [
        ("**About 10 minutes.**", "", "the first cell must say"),
        ('"grade_id": "check_double"', '"grade_id": "check_other"', "but missing: check_double"),
        ('"points": 2', '"points": 0', "without points: check_double"),
        ("        ### BEGIN SOLUTION\n", "", "without a solution"),
        ("        ### END SOLUTION\n", "", "a marker without its partner"),
        ("### END HIDDEN TESTS\n", "", "a marker without its partner"),
        ("### BEGIN HIDDEN TESTS\n", "", "a marker without its partner"),
        ('"grade_id": "memo"', '"grade_id": "double"', "twice: double"),
        ('"solution": false, "task"', '"solution": true, "task"', "neither an answer nor a check"),
    ],
)
def test_a_source_that_is_not_as_it_should_be_is_refused_in_words(tmp_path, old, new, says):
    assert old in TEXT
    with pytest.raises(course.CourseError, match=re.escape(says)):
        course.read_exercise(small(tmp_path, TEXT.replace(old, new)))


@pytest.mark.parametrize("name", ["ex02_speed", "ex02", "2"])
def test_an_exercise_is_found_by_name_or_number(name):
    assert course.find_exercise(name).stem == "ex02_speed"


def test_an_unknown_exercise_is_refused_with_the_list():
    with pytest.raises(course.CourseError, match='did you mean "ex02_speed"'):
        course.find_exercise("ex02_sped")


def test_the_command_lists_the_exercises(capsys):
    assert cli.main(["exercises"]) == 0
    out = capsys.readouterr().out
    assert all(source.stem in out for source in SOURCES) and "minutes" in out


def test_the_command_writes_the_tree_for_nbgrader_and_keeps_a_configuration(tmp_path, capsys):
    (tmp_path / "nbgrader_config.py").write_text("# mine\n")
    assert cli.main(["exercises", "--nbgrader", str(tmp_path)]) == 0
    assert (tmp_path / "nbgrader_config.py").read_text() == "# mine\n"
    for source in SOURCES:
        notebook = nbformat.read(tmp_path / "source" / source.stem / f"{source.stem}.ipynb", as_version=4)
        exercise = course.read_exercise(source)
        assert [cell.source for cell in notebook.cells] == [cell.source for cell in exercise.cells]


# ---------------------------------------------------------------- changes of the solutions


@pytest.fixture
def mutate():
    if sys.platform == "win32":
        pytest.skip("each change runs in a forked process, which Windows does not have")
    return load(places.ROOT / "scripts" / "mutate_exercises.py")


def test_a_check_that_looks_at_too_little_is_found_out(mutate, tmp_path, monkeypatch):
    listed = {"double": ["return 2 * x → return x * 2: the same", "return 0 → return 1: nobody asks for double(0)"]}
    monkeypatch.setattr(mutate, "test_data", lambda name: SimpleNamespace(EQUIVALENT_MUTANTS=listed))
    found = mutate.score(small(tmp_path), jobs=1)
    assert "return 0 → return -1" in {mutant.shown for mutant in found.survivors}
    assert found.unknown == ("double: return 2 * x → return x * 2: the same",) and found.harmless == 1
    assert 0 < found.public < found.n


@pytest.mark.slow
@each_exercise
def test_small_changes_of_a_solution_are_noticed(mutate, source, capsys):
    found = mutate.score(source)
    with capsys.disabled():
        print(f"\n{found}")
    assert not found.survivors and not found.unknown
    assert found.public_share >= mutate.PUBLIC_SHARE and found.n > 20
