"""The run folder: names, atomic writing, the lock, reading what is whole and reporting what is not."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fake_backend import connector
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchkit import bench, compare, report, runs
from benchkit.errors import BenchkitError
from benchkit.plan import make_plan, read_plan

# ---- names


@given(st.text(max_size=400))
@example("llama3.2:1b")
@example("liquid/lfm2-1.2b")
@example("../x")
@example("..\\..\\x")
@example("CON")
@example("nul.txt")
@example("com1.gguf")
@example("trailing. . .")
@example("a\0b")
@example("x" * 300)
@example("模型:七")
@example("")
def test_safe_name_is_safe_everywhere(name):
    safe = runs.safe_name(name)
    assert 1 <= len(safe) <= 61
    assert safe.isascii()
    assert not set(safe) & set('<>:"/\\|?*\0 ')
    assert safe not in (".", "..")
    assert ".." not in safe
    assert safe[-1] not in ". "
    assert safe[0] not in ".-"
    assert safe.split(".")[0].lower() not in runs.DEVICES


@settings(max_examples=50, deadline=None)
@given(
    names=st.lists(
        st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=40),
        min_size=2,
        unique=True,
    )
)
@example(names=["llama3.2:1b", "llama3.2/1b", "llama3.2_1b", "LLAMA3.2:1B"])
@example(names=["x" * 300, "x" * 299 + "y", "y" + "x" * 299])
def test_two_models_never_share_a_file(names, tmp_path_factory):
    prompts = tmp_path_factory.getbasetemp() / "names.txt"
    prompts.write_text("One.\nTwo.\n", encoding="utf-8")
    plan = read_plan(
        {"models": list(dict.fromkeys(n.strip() for n in names)), "prompts": str(prompts), "trials": 2}
    )
    files = [runs.artifact_name(test).lower() for test in plan.tests()]
    assert len(set(files)) == len(files)
    assert max(map(len, files)) < 140


def test_artifact_names_tell_model_prompt_and_trial(tmp_path):
    (tmp_path / "p.txt").write_text("One.\n", encoding="utf-8")
    test = make_plan("ollama:llama3.2:1b", str(tmp_path / "p.txt"), trials=1).tests()[0]
    assert runs.artifact_name(test) == f"ollama_llama3.2_1b_prompt_00_p_trial_0_{test.key[:8]}.json"


# ---- writing


def test_json_is_indented_utf8_with_real_characters(tmp_path):
    runs.write_json(tmp_path / "a.json", {"b": "é 模 😀", "a": [1]})
    text = (tmp_path / "a.json").read_bytes().decode("utf-8")
    assert '  "b": "é 模 😀"' in text
    assert os.listdir(tmp_path) == ["a.json"]


def test_what_json_cannot_hold_is_made_to_fit(tmp_path):
    runs.write_json(tmp_path / "a.json", {"x": float("nan"), "y": [float("inf")], "z": "half \ud83d"})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {
        "x": None,
        "y": [None],
        "z": "half \ud83d",
    }


def test_nothing_is_written_through_a_link(tmp_path):
    """A shared folder may hold links to what the user owns elsewhere."""
    treasure = tmp_path / "treasure"
    treasure.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    try:
        for name in ("run.log", f".{os.getpid()}-a.json.tmp"):
            (run / name).symlink_to(treasure)
    except OSError:
        pytest.skip("needs symbolic links")
    runs.write_json(run / "a.json", 1)
    assert runs.read_json(run / "a.json", kind=int) == 1
    if hasattr(os, "O_NOFOLLOW"):
        runs.log(run, "hello")
    assert treasure.read_text() == "mine"


def test_the_log_holds_no_escapes(tmp_path):
    runs.log(tmp_path, "model said \x1b[31mred")
    assert "model said ⟨ESC⟩[31mred\n" in (tmp_path / "run.log").read_text("utf-8")


def test_a_full_disk_leaves_the_old_file_and_says_what_to_do(tmp_path, monkeypatch):
    runs.write_json(tmp_path / "a.json", {"old": 1})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        runs.StorageError, match=r"disk is full.*safe.*free some space.*same command continues"
    ):
        runs.write_json(tmp_path / "a.json", {"new": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_replace_waits_for_a_reader_as_on_windows(tmp_path, monkeypatch):
    tries, real = [], os.replace

    def held(source, target):
        tries.append(1)
        if len(tries) < 4:
            raise PermissionError(13, "used by another process")
        real(source, target)

    monkeypatch.setattr(os, "replace", held)
    runs.write_json(tmp_path / "a.json", 1)
    assert len(tries) == 4


def test_replace_gives_up_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "REPLACE_PATIENCE_S", 0.05)

    def held(*_):
        raise PermissionError(13, "used by another process")

    monkeypatch.setattr(os, "replace", held)
    with pytest.raises(runs.StorageError, match="used by another process"):
        runs.write_json(tmp_path / "a.json", 1)


def test_a_reader_never_sees_half_a_file(tmp_path):
    path, stop, bad = tmp_path / "a.json", threading.Event(), []
    runs.write_json(path, ["x"] * 1000)

    def read():
        while not stop.is_set():
            if len(runs.read_json(path, [], kind=list)) != 1000:
                bad.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(60):
        runs.write_json(path, [str(i)] * 1000, durable=False)
    stop.set()
    reader.join()
    assert not bad


# ---- the lock

HOLD = "import sys; from pathlib import Path; from benchkit.runs import lock\nwith lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.readline()"


def test_a_second_process_is_told_who_measures(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True, env=environment)  # fmt: skip
    try:
        assert child.stdout.readline() == "held\n"
        runs.write_json(tmp_path / "run" / "status.json", {"pid": child.pid})
        with (
            pytest.raises(BenchkitError, match=rf"another process \(number {child.pid}\)"),
            runs.lock(tmp_path / "run"),
        ):
            pass
    finally:
        child.kill()  # the system frees the lock of a killed process
        child.communicate()
    with runs.lock(tmp_path / "run"):
        pass


def test_a_folder_that_cannot_be_made_is_one_clear_message(tmp_path):
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(runs.StorageError, match="cannot be used as a run folder"),
        runs.lock(tmp_path / "file" / "run"),
    ):
        pass


# ---- reading


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A finished run of two fake models on three prompts, twice, with a speed block."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "p.txt").write_text("One a.\nTwo b.\nThree c.\n", encoding="utf-8")
    plan = make_plan("fake:a,fake:b", str(folder / "p.txt"), trials=2, speed={"repeats": 2, "n_output": 40})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bench.backends, "connect", connector())
        return bench.run(plan, folder / "run", progress=False), plan


@pytest.fixture
def measured(template, tmp_path, monkeypatch):
    """A copy of that run, to be damaged and continued."""
    run, plan = template
    monkeypatch.setattr(bench.backends, "connect", connector())
    return runs.open_run(shutil.copytree(run.folder, tmp_path / "run")), plan


def test_summary_is_what_a_course_script_expects(measured):
    pandas = pytest.importorskip("pandas")
    run, _ = measured
    table = pandas.DataFrame(json.load(open(run.folder / "summary.json", encoding="utf-8")))
    assert len(table) == 2 * 3 * 2
    assert {"model", "prompt", "response", "latency_s"} <= set(table.columns)
    assert table.latency_s.gt(0).all()
    assert run.summary() == json.loads((run.folder / "summary.json").read_text("utf-8"))
    assert len(list(run.folder.glob("fake_a_prompt_00_*.json"))) == 2


def test_artifacts_hold_everything_the_tables_need(measured):
    run, plan = measured
    artifacts = run.artifacts()
    assert len(artifacts) == len(plan.tests()) == 16
    assert {a["key"] for a in artifacts} == {t.key for t in plan.tests()}
    forced = [a for a in artifacts if a["purpose"] == "speed"]
    assert all(a["file"].startswith("speed/") for a in forced)
    assert {a["recording"]["state"] for a in forced} == {"length"}
    needed = {"schema", "key", "model", "configuration", "load", "options", "prompt_set", "prompt_index", "prompt_id",
              "category", "prompt", "source", "trial", "purpose", "response", "latency_s", "recording", "checks",
              "memory", "block", "load_s"}  # fmt: skip
    assert all(needed <= set(a) for a in artifacts)


def test_manifest_tells_what_was_measured_on_what(measured):
    run, plan = measured
    manifest = run.manifest
    assert manifest["plan_sha256"] == plan.sha256
    assert manifest["prompt_sets"]["p"]["n_prompts"] == 3
    assert manifest["models"]["fake:a"]["digest"] == "d0"
    assert manifest["machine"]["logical_cores"] >= 1
    assert run.status["state"] == "complete"
    assert run.status["done"] == run.status["total"] == 16
    assert manifest["sessions"][0]["policy"] == "all models stay loaded"


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"schema": "benchkit/artifact/1"}', "\0" * 50])
def test_a_damaged_artifact_is_reported_and_measured_again(measured, damage):
    run, plan = measured
    victim = run.folder / run.artifacts()[0]["file"]
    victim.write_text(damage, encoding="utf-8")
    again = runs.open_run(run.folder)
    assert len(again.artifacts()) == 15
    assert len(again.problems) == 1
    assert victim.name in again.problems[0]
    healed = bench.run(plan, run.folder, progress=False)
    assert len(healed.artifacts()) == 16
    assert healed.problems == []
    assert "set aside" in (run.folder / "run.log").read_text("utf-8")


def test_an_artifact_of_another_run_is_set_aside(measured):
    run, plan = measured
    row = json.loads((run.folder / run.artifacts()[0]["file"]).read_text("utf-8"))
    row["key"] = "f" * 64
    runs.write_json(run.folder / "fake_a_prompt_00_p_trial_0_ffffffff.json", row)
    again = bench.run(plan, run.folder, progress=False)
    assert len(again.artifacts()) == 16
    assert len(list(run.folder.glob("*.aside"))) == 1


@pytest.mark.parametrize("copy", ["Copy of {}", "speed/{}", "speed/Copy of {}"])
def test_a_copied_artifact_counts_once(measured, copy):
    run, plan = measured
    original = run.folder / run.artifacts()[0]["file"]
    (run.folder / copy.format(original.name)).write_bytes(original.read_bytes())
    again = runs.open_run(run.folder)
    assert len(again.artifacts()) == len({a["key"] for a in again.artifacts()}) == 16
    assert len(again.problems) == 1 and f"belongs into {original.name}" in again.problems[0]
    healed = bench.run(plan, run.folder, progress=False)
    assert len(healed.artifacts()) == 16 and healed.problems == []
    assert len(list(run.folder.rglob("*.aside"))) == 1


def test_leftovers_of_a_killed_process_are_cleared(measured):
    run, plan = measured
    (run.folder / ".123-x.json.tmp").write_text("half")
    bench.run(plan, run.folder, progress=False)
    assert not list(run.folder.glob(".*.tmp"))


def test_another_plan_is_refused_with_the_difference(measured):
    run, plan = measured
    other = make_plan("fake:a,fake:c", plan.prompts[0], trials=3, speed={"repeats": 2, "n_output": 40})
    with pytest.raises(BenchkitError) as caught:
        bench.run(other, run.folder, progress=False)
    assert "trials was 2, is 3 now" in str(caught.value)
    assert 'models was ["fake:a", "fake:b"], is ["fake:a", "fake:c"] now' in str(caught.value)
    assert runs.open_run(run.folder).status["state"] == "complete"


def test_changed_prompts_are_another_plan(measured):
    run, plan = measured
    path = Path(plan.prompts[0])
    before = path.read_text(encoding="utf-8")
    path.write_text("Other.\n", encoding="utf-8")
    try:
        with pytest.raises(BenchkitError, match="another plan: prompts"):
            bench.run(plan, run.folder, progress=False)
    finally:
        path.write_text(before, encoding="utf-8")


def test_a_folder_with_other_things_is_refused(measured, tmp_path):
    _, plan = measured
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.docx").write_text("x")
    with pytest.raises(BenchkitError, match=r"not a run folder and is not empty.*thesis\.docx"):
        bench.run(plan, tmp_path / "documents", progress=False)


def test_a_damaged_manifest_is_repaired_by_the_same_command(measured):
    run, plan = measured
    (run.folder / "manifest.json").write_text("{")
    with pytest.raises(BenchkitError, match="damaged"):
        runs.open_run(run.folder)
    assert len(bench.run(plan, run.folder, progress=False).artifacts()) == 16
    assert runs.open_run(run.folder).manifest["plan_sha256"] == plan.sha256


def test_opening_what_is_no_run_tells_what_is_near(measured, tmp_path):
    run, _ = measured
    with pytest.raises(BenchkitError, match="Runs inside it: run"):
        runs.open_run(tmp_path)
    with pytest.raises(BenchkitError, match=r"does not exist\. Runs beside it: run"):
        runs.open_run(tmp_path / "rum")


def test_blocks_tell_their_health_once_each(measured):
    run, _ = measured
    blocks = run.blocks()
    assert len({block["id"] for block in blocks}) == len(blocks)
    assert all({"void", "reasons", "steal_share", "configuration"} <= set(block) for block in blocks)
    assert Path(run.folder).name == run.name


EDITED = {
    "configuration": lambda row: row.update(configuration=[]),
    "engine": lambda row: row.update(engine=["x"]),
    "checks": lambda row: row.update(checks="x"),
    "a check": lambda row: row.update(checks=["x"]),
    "a check without passed": lambda row: row.update(checks=[{"check": "number"}]),
    "block": lambda row: row.update(block=[1]),
    "block position": lambda row: row["block"].update(position="x"),
    "block span": lambda row: row["block"].update(span_s="x"),
    "memory": lambda row: row.update(memory=[1]),
    "memory peak": lambda row: row["memory"].update(process={"peak_mib": []}),
    "load": lambda row: row.update(load=["x"]),
    "n_ctx": lambda row: row["load"].update(n_ctx="x"),
    "options": lambda row: row.update(options=3),
    "seed": lambda row: row["options"].update(seed="x"),
    "latency": lambda row: row.update(latency_s="x"),
    "no latency": lambda row: row.pop("latency_s"),
    "trial": lambda row: row.update(trial=True),
    "end": lambda row: row["recording"].update(t_end_ns="x"),
    "no end": lambda row: row["recording"].update(t_end_ns=None),
    "chunk": lambda row: row["recording"]["chunks"]["t_ns"].__setitem__(0, "x"),
    "count": lambda row: row["recording"]["counts"]["output"].update(value="x"),
    "timings": lambda row: row["recording"].update(server_timings={"eval_ms": "x", "n_eval": 3}),
}


@pytest.mark.parametrize("edit", EDITED.values(), ids=EDITED.keys())
def test_an_artifact_edited_by_hand_is_damaged_not_a_traceback(measured, edit):
    run, plan = measured
    victim = run.folder / run.artifacts()[0]["file"]
    row = json.loads(victim.read_text("utf-8"))
    edit(row)
    victim.write_text(json.dumps(row), encoding="utf-8")
    again = runs.open_run(run.folder)
    assert len(again.problems) == 1 and victim.name in again.problems[0]
    assert again.artifacts() == [row for row in run.artifacts() if row["file"] != str(victim.relative_to(run.folder))]
    assert len(bench.run(plan, run.folder, progress=False).artifacts()) == 16


def test_a_run_with_a_damaged_artifact_is_compared_and_reported_without_it(measured):
    run, _ = measured
    (run.folder / run.artifacts()[0]["file"]).write_text('{"recording": []}', encoding="utf-8")
    again = runs.open_run(run.folder)
    assert "cannot be read" in compare.as_text(compare.side_by_side([run.folder]))
    assert "cannot be read" in report.report_html([again])


@pytest.mark.parametrize("edit", [
    {"models": {"fake:a": 5}}, {"models": {"fake:a": {"size_bytes": "x"}}},
    {"models": {"fake:a": {"loads": [5]}}}, {"models": []}, {"sessions": {"a": 1}},
    {"sessions": [5]}, {"sessions": [{"notes": [5]}]}, {"configurations": None}, {"machine": "x"},
])  # fmt: skip
def test_a_manifest_edited_by_hand_is_refused_with_what_is_wrong(measured, edit):
    run, plan = measured
    path = run.folder / "manifest.json"
    path.write_text(json.dumps({**run.manifest, **edit}), encoding="utf-8")
    with pytest.raises(BenchkitError, match="changed by hand"):
        compare.side_by_side([run.folder])
    with pytest.raises(BenchkitError, match="changed by hand"):
        bench.run(plan, run.folder, progress=False)
    path.write_text("")  # as the message says
    assert len(bench.run(plan, run.folder, progress=False).artifacts()) == 16


@pytest.mark.parametrize("status", ["[1]", "null", '"x"'])
def test_a_status_of_another_kind_counts_as_none(measured, status):
    run, _ = measured
    (run.folder / "status.json").write_text(status)
    assert "fake:a" in compare.as_text(compare.side_by_side([run.folder]))


STRANGERS = {
    "a web app's manifest": {"manifest.json": '{"name": "my app", "start_url": "/"}'},
    "a manifest that is a list": {"manifest.json": "[1]"},
    "a broken manifest": {"manifest.json": "{"},
    "a broken manifest and a status": {"manifest.json": "{", "status.json": '{"state": "up"}'},
    "a summary": {"summary.json": "[]"},
    "a report": {"report.html": "mine"},
    "notes": {".notes.tmp": "mine"},
    "hidden files": {".gitconfig": "mine"},
    "a folder called speed": {"speed/results.txt": "mine"},
}


@pytest.mark.parametrize("files", STRANGERS.values(), ids=STRANGERS.keys())
def test_a_strangers_folder_is_refused_and_left_as_it_is(measured, tmp_path, files):
    _, plan = measured
    folder = tmp_path / "stranger"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with pytest.raises(BenchkitError, match="empty or new folder"):
        bench.run(plan, folder, progress=False)
    found = {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}
    found.pop(".lock", None)
    assert found == files


def test_only_our_own_leftovers_are_cleared(measured):
    run, plan = measured
    (run.folder / ".notes.tmp").write_text("mine")
    (run.folder / ".1-folder.tmp").mkdir()
    bench.run(plan, run.folder, progress=False)
    assert (run.folder / ".notes.tmp").exists() and (run.folder / ".1-folder.tmp").exists()


def test_a_run_stopped_before_its_manifest_goes_on(measured, tmp_path):
    _, plan = measured
    folder = tmp_path / "begun"
    (folder / "speed").mkdir(parents=True)
    for name, text in {".lock": "", "run.log": "x", ".12-manifest.json.tmp": "{", "summary.json": "[]",
                       "status.json": '{"pid": 1, "done": 0}'}.items():  # fmt: skip
        (folder / name).write_text(text)
    assert len(bench.run(plan, folder, progress=False).artifacts()) == 16
