"""Answers taken out of damaged notebooks: one that is intact is never lost."""

import json
import random
import time

import pytest
import tiny_exercise
from hypothesis import given, settings
from hypothesis import strategies as st

from benchkit import course
from benchkit.salvage import Found, mended, read_cells, sort_out, statements

NAMES = list(tiny_exercise.RIGHT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="module")
def exercise(folder):
    return course.read_exercise(tiny_exercise.write_source(folder))


@pytest.fixture(scope="module")
def right(folder):
    return tiny_exercise.notebook(tiny_exercise.blank(folder))


def works(exercise, data):
    """Which answers are found whole: their code, run by itself, gives what the right answer gives."""
    cells, _ = read_cells(data if isinstance(data, bytes) else json.dumps(data).encode())
    work = sort_out(exercise, cells)
    return {name for name in NAMES if any(right_one(name, parts) for parts in work.candidates[name])}


def right_one(name, parts):
    names = {}
    try:
        for part in parts:
            exec(part, names)
        tests = {"double": lambda f: f(4) == 8, "quadruple": lambda f: f(3) == 12, "best": lambda v: v == "pocket-s",
                 "summary": lambda f: f([1, 3]) == {"mean": 2, "max": 3}}  # fmt: skip
        return tests[name](names[name])
    except Exception:
        return False


def cell(notebook, name):
    return next(cell for cell in notebook["cells"] if cell["id"] == name)


def copied(notebook):
    return json.loads(json.dumps(notebook))


def test_an_undamaged_notebook_gives_each_answer_once(exercise, right):
    work = sort_out(exercise, read_cells(json.dumps(right).encode())[0])
    assert {name: len(found) for name, found in work.candidates.items()} == dict.fromkeys(NAMES, 1)
    assert work.notes == [] and work.extras == []


def test_a_blank_notebook_has_no_candidate_and_nothing_is_missing(exercise, folder):
    work = sort_out(exercise, read_cells(json.dumps(tiny_exercise.blank(folder)).encode())[0])
    assert not any(work.candidates.values()) and work.notes == []



def metadata_stripped(notebook):
    for cell in notebook["cells"]:
        cell["metadata"] = {}


def metadata_and_ids_stripped(notebook):
    for n, cell in enumerate(notebook["cells"]):
        cell["metadata"], cell["id"] = {}, f"x{n}"


def metadata_of_strange_types(notebook):
    for cell in notebook["cells"]:
        cell["metadata"], cell["id"] = {"nbgrader": ["?"], "tags": 5}, {"a": 1}


def everything_markdown(notebook):
    for cell in notebook["cells"]:
        cell["cell_type"] = "markdown"


def everything_raw_with_fences(notebook):
    metadata_and_ids_stripped(notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["cell_type"], cell["source"] = "raw", ["```python\n", *cell["source"], "\n```"]


def shuffled(notebook):
    random.Random(1).shuffle(notebook["cells"])


def every_cell_twice(notebook):
    notebook["cells"] = [cell for cell in notebook["cells"] for _ in range(2)]


def answers_beside_stubs(notebook):
    for n, one in reversed(list(enumerate(notebook["cells"]))):
        if one["id"] in NAMES:
            own = copied(one) | {"metadata": {}, "id": f"mine{n}"}
            one["source"] = ["# YOUR CODE HERE\n", "raise NotImplementedError()"]
            notebook["cells"].insert(n + 1, own)


def checks_deleted(notebook):
    notebook["cells"] = [cell for cell in notebook["cells"] if not cell["id"].startswith("check_")]


def merged_into_one(notebook):
    text = "\n\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    notebook["cells"] = [{"cell_type": "code", "id": "one", "metadata": {}, "source": text}]


def merged_with_a_syntax_error_between(notebook):
    merged_into_one(notebook)
    notebook["cells"][0]["source"] = notebook["cells"][0]["source"].replace(
        "def quadruple", "def broken(:\n    oops oops\n\ndef quadruple"
    )


def merged_with_magics(notebook):
    merged_into_one(notebook)
    notebook["cells"][0]["source"] = "%%time\n!pip list\n" + notebook["cells"][0]["source"] + "\n%timeit double(2)\ndouble?"


def split_in_two(notebook):
    for n, one in reversed(list(enumerate(notebook["cells"]))):
        if one["id"] in NAMES and len(one["source"]) > 1:
            rest = {"cell_type": "code", "id": f"rest{n}", "metadata": {}, "source": one["source"][1:]}
            one["source"] = one["source"][:1]
            notebook["cells"].insert(n + 1, rest)


def split_in_two_both_with_its_metadata(notebook):
    for n, one in reversed(list(enumerate(notebook["cells"]))):
        if one["id"] in NAMES and len(one["source"]) > 1:
            rest = copied(one) | {"source": one["source"][1:], "id": f"rest{n}"}
            one["source"] = one["source"][:1]
            notebook["cells"].insert(n + 1, rest)


def windows_line_ends(notebook):
    for cell in notebook["cells"]:
        cell["source"] = [line.replace("\n", "\r\n") for line in cell["source"]]


def sources_as_text(notebook):
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])


def strange_cells_between(notebook):
    strange = [None, 5, "text", {"cell_type": "code"}, {"source": None}, {"source": 7}, {"source": [1, None, {}]}, []]
    notebook["cells"] = [one for cell in notebook["cells"] for one in (*strange, cell)]


def nbformat_3(notebook):
    cells = [{k: v for k, v in cell.items() if k != "source"} | {"input": cell["source"]} for cell in notebook.pop("cells")]
    notebook |= {"nbformat": 3, "worksheets": [{"cells": cells, "metadata": {}}]}


DAMAGES = [metadata_stripped, metadata_and_ids_stripped, metadata_of_strange_types, everything_markdown,
           everything_raw_with_fences, shuffled, every_cell_twice, answers_beside_stubs, checks_deleted, merged_into_one,
           merged_with_a_syntax_error_between, merged_with_magics, split_in_two, split_in_two_both_with_its_metadata,
           windows_line_ends, sources_as_text, strange_cells_between, nbformat_3]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_no_answer_is_lost_by_a_damaged_notebook(exercise, right, damage):
    damaged = copied(right)
    damage(damaged)
    assert works(exercise, damaged) == set(NAMES)


@pytest.mark.parametrize("encode", [
    lambda text: text.encode("utf-8-sig"), lambda text: text.encode("utf-16"), lambda text: text.encode("utf-16-le"),
    lambda text: text.encode("latin-1"), lambda text: b"[" + text.encode() + b"]", lambda text: text.encode() + b"}}]",
    lambda text: text.replace("\n", "\r\n").encode(), lambda text: b"\n\n" + text.encode(),
    lambda text: text.replace('"cells": [', '"cells": [,', 1).encode(), lambda text: (text + text).encode(),
    lambda text: text.replace('"nbformat"', '"nbformat', 1).encode(), lambda text: text.encode() + b"\xff\xfe\x80",
], ids=["bom", "utf16", "utf16 without its mark", "latin1", "a list", "more behind", "crlf", "empty lines", "a comma too many",
        "twice", "a quote missing", "bytes that are no text"])  # fmt: skip
def test_no_answer_is_lost_by_a_damaged_file(exercise, right, encode):
    named = copied(right)
    cell(named, "double")["source"].insert(0, "# für Größe\n")
    assert works(exercise, encode(json.dumps(named, indent=1, ensure_ascii=False))) == set(NAMES)


def test_both_sides_of_a_merge_conflict_are_read(exercise, right):
    text = json.dumps(right, indent=1)
    line = next(line for line in text.split("\n") if "x + x" in line)
    conflict = f'<<<<<<< HEAD\n{line.replace("x + x", "0")}\n=======\n{line}\n>>>>>>> theirs'
    assert works(exercise, text.replace(line, conflict).encode()) == set(NAMES)


def test_a_file_that_breaks_off_keeps_what_came_before(exercise, right):
    text = json.dumps(right, indent=1)
    at = text.index("def summary")
    assert works(exercise, text[:at].encode()) == {"double", "quadruple", "best"}
    assert works(exercise, text[: text.index("max(values)}") + 12].encode()) >= {"double", "quadruple", "best"}


def test_a_script_is_read_too(exercise, right):
    code = ["# %%\n" + "".join(cell["source"]) for cell in right["cells"] if cell["cell_type"] == "code"]
    assert works(exercise, "\n\n".join(code).encode()) == set(NAMES)


@pytest.mark.parametrize("data", [b"", b"null", b"5", b"[]", b"{}", b'{"cells": 5}', b'{"cells": null}', b"\0" * 50,
                                  b"[" * 100_000, b'{"a":' * 50_000, b'{"source":' * 20_000, b"PK\x03\x04zip", b'"'])  # fmt: skip
def test_a_file_without_answers_says_so(exercise, data):
    cells, reason = read_cells(data)
    assert reason and not any(sort_out(exercise, cells).candidates.values())


def test_a_cell_that_lost_its_end_gives_back_those_that_it_swallowed(exercise, right):
    text = json.dumps(right, indent=1)
    end = '"## Double"\n   ]\n  }'
    assert text.count(end) == 1
    assert works(exercise, text.replace(end, '"## Double"').encode()) == set(NAMES)


@pytest.mark.parametrize("beside", ["print(double(4))\n{}", "{}\nwhile True: pass", "import time\n{}\ntime.sleep(60)"])
def test_what_fails_or_never_ends_beside_an_answer_costs_it_nothing(exercise, right, beside):
    cell = next(cell for cell in right["cells"] if "x + x" in "".join(cell["source"]))
    cell["source"] = beside.format("".join(cell["source"]))
    candidates = sort_out(exercise, read_cells(json.dumps(right).encode())[0]).candidates["double"]
    assert any("def double" in "".join(parts) and not any(word in "".join(parts) for word in ("print", "while", "sleep"))
               for parts in candidates)  # fmt: skip


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_damage_to_bytes_leaves_the_answers_that_it_did_not_hit(data):
    from pathlib import Path
    from tempfile import mkdtemp

    exercise, right = _made(Path(mkdtemp()))
    text = json.dumps(right, indent=1).encode()
    at = data.draw(st.integers(0, len(text) - 1))
    n = data.draw(st.integers(0, 30))
    noise = data.draw(st.binary(max_size=30).filter(lambda noise: b"\\" not in noise and b'"' not in noise))
    hit = {name for name in NAMES if _touches(text, name, at, n)}
    assert works(exercise, text[:at] + noise + text[at + n :]) >= set(NAMES) - hit


_cache = []


def _made(folder):
    if not _cache:
        _cache.extend([course.read_exercise(tiny_exercise.write_source(folder)),
                       tiny_exercise.notebook(tiny_exercise.blank(folder))])  # fmt: skip
    return _cache


def _touches(text, name, at, n):
    """Whether bytes were changed from the cell's beginning to its source's end."""
    where = text.index(f'"id": "{name}"'.encode())
    end = text.index(b"]", text.index(b'"source"', where))
    return at <= end + 4 and at + n >= where - 80


def test_commands_of_a_notebook_become_python():
    assert mended("%time x = 1") == "x = 1"
    assert mended("def f():\n    %timeit 1\n    return 2") == "def f():\n    pass\n    return 2"
    assert mended("files = !ls\nx = %timeit -o 1") == "files = None\nx = None"
    assert mended("text = ('%s'\n%name)") == "text = ('%s'\n%name)"
    assert mended('"""\n!not a command\n"""') == '"""\n!not a command\n"""'
    assert mended("def f(:\n    pass") == "def f(:\n    pass"


def test_statements_leave_out_what_only_shows_something():
    assert statements("import math\nprint(1)\nx = 1; y = 2\nfor i in range(3):\n    x += i") == [
        "import math", "x = 1", "y = 2", "for i in range(3):\n    x += i"]  # fmt: skip


def test_code_that_is_too_deep_or_too_large_does_no_harm(exercise):
    for code in ("x = " + "-" * 100_000 + "1", "double = " + "+".join(["1"] * 20_000), "double = " + "(" * 5_000, "\0def double(x): pass",
                 "double = '" + "x" * 5_000_000 + "'"):  # fmt: skip
        sort_out(exercise, [Found(code), Found(code, grade_id="double")])


def test_files_made_to_take_long_do_not():
    for data in (b'"source": [' + b" " * 1_000_000, b"<<<<<<< \n" * 20_000, b"{" + b'"source": ["a' * 20_000, b'{"id": ' * 50_000):
        started = time.monotonic()
        read_cells(data)
        assert time.monotonic() - started < 30
    for code in ("!\n" * 20_000, "?" * 100_000 + "x", "\n" * 500_000 + "x +", "x +\n" * 20_000):
        started = time.monotonic()
        statements(code)
        assert time.monotonic() - started < 30


def test_helpers_and_changed_cells_of_the_exercise_are_extras(exercise, right):
    changed = copied(right)
    changed["cells"][1]["source"].append("\nimport numpy as np")
    changed["cells"].insert(2, {"cell_type": "code", "id": "h", "metadata": {}, "source": "def helper():\n    return 1"})
    extras = sort_out(exercise, read_cells(json.dumps(changed).encode())[0]).extras
    assert [extra.parts[-1] for extra in extras] == ["import numpy as np", "def helper():\n    return 1"]


def test_an_essay_is_found_with_and_without_its_metadata(exercise, right):
    written = copied(right)
    cell(written, "memo")["source"] = ["I would choose ", "pocket-s."]
    for damage in (lambda notebook: None, metadata_stripped, metadata_and_ids_stripped):
        damage(written)
        work = sort_out(exercise, read_cells(json.dumps(written).encode())[0])
        assert work.essays == {"memo": "I would choose pocket-s."}
    assert sort_out(exercise, read_cells(json.dumps(right).encode())[0]).essays == {"memo": ""}
