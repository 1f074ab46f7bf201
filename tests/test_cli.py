"""The command line as a user meets it: real processes, the smallest model, exit codes and messages."""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from benchkit import cli, places
from benchkit.errors import BenchkitError

pytestmark = pytest.mark.real

XS = "gguf:pocket-xs"
ONE_THREAD = ["--threads", "1"]  # a busy machine must not make the tests slow


def start(*words, cwd=None, **settings):
    search = os.pathsep.join(filter(None, [str(places.ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "benchkit", *map(str, words)],
        stdout=settings.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE, stdin=subprocess.PIPE, cwd=cwd,
        env=os.environ | {"PYTHONPATH": search} | settings.pop("env", {}), **settings,
    )  # fmt: skip


def benchkit(*words, stdin="", **settings):
    process = start(*words, **settings)
    out, err = process.communicate(stdin.encode(), timeout=300)
    return process.returncode, out.decode(), err.decode()


def refused(code, words, *said):
    """The command ends with this code, says these words on standard error, and shows no traceback."""
    got, out, err = benchkit(*words)
    assert (got, out) == (code, ""), (got, out, err)
    assert "Traceback" not in err and err.count("\n") < 12
    for text in said:
        assert text in err, err


# ---- asking ---------------------------------------------------------------------------------------


def test_ask_streams_the_reply_then_one_line():
    code, out, err = benchkit("ask", XS, "Say hello.", "--max-tokens", 8, *ONE_THREAD)
    reply, line = out.rstrip("\n").rsplit("\n", 1)
    assert code == 0 and reply and "unrecorded" in err
    assert all(word in line for word in ("tokens", "TTFT", "ms", "decode", "tokens/s", "latency", " s"))


def test_ask_json_is_exactly_one_object_in_the_words_of_the_metrics():
    words = ("ask", XS, "Tell me about caching.", "--max-tokens", 12, "--ignore-eos", "--json", *ONE_THREAD)
    code, out, err = benchkit(*words)
    answer = json.loads(out)
    assert code == 0 and err
    keys = {"reply", "state", "n_output_tokens", "ttft_ms", "tpot_ms", "decode_tokens_per_s", "latency_s"}
    assert keys <= set(answer)
    assert (answer["state"], answer["n_output_tokens"], answer["model"]) == ("length", 12, XS)
    assert 0 < answer["ttft_ms"] <= 1000 * answer["latency_s"]
    assert answer["decode_tokens_per_s"] == pytest.approx(1000 / answer["tpot_ms"])


def test_ask_reads_the_prompt_from_standard_input_and_any_characters():
    code, out, err = benchkit(
        "ask", XS, "-", "--max-tokens", 2, "--json", *ONE_THREAD, stdin="Grüße, 世界 🌍"
    )
    assert code == 0 and json.loads(out)["prompt"] == "Grüße, 世界 🌍"


def test_the_options_of_ask_reach_the_model(capsys):
    words = ["ask", XS, "Tell me about rain.", "--json", *ONE_THREAD, "--context", "64", "--temperature", "1"]

    def ask(*more, code=0):
        assert cli.main([*words, "--ignore-eos", *more]) == code
        return json.loads(capsys.readouterr().out)

    first, again = (ask("--max-tokens", "8", "--seed", "7") for _ in range(2))
    assert first["reply"] == again["reply"] and first["n_output_tokens"] == 8
    too_long = ask("--max-tokens", "100", code=4)
    assert too_long["state"] == "error" and "64" in too_long["error"] and too_long["ttft_ms"] is None


def test_terminal_codes_in_a_reply_are_shown_not_obeyed(monkeypatch, capsys):
    def hostile(model, prompt, on_text=None, **options):
        on_text("\x1b]0;owned\x07 \x1b[2J\x9b31m\rgone\u202e")
        return {"n_output_tokens": 1, "ttft_ms": 1.0, "decode_tokens_per_s": None, "latency_s": 0.1,
                "state": "error", "error": "\x1b[31mred"}  # fmt: skip

    monkeypatch.setattr("benchkit.ask.ask", hostile)
    assert cli.main(["ask", XS, "hello"]) == 4
    out = capsys.readouterr().out
    assert not set("\x1b\x07\x9b\r\u202e") & set(out) and "⟨ESC⟩[2J" in out


# ---- refusals -------------------------------------------------------------------------------------


def test_help_lists_every_command_and_exit_code():
    code, out, _ = benchkit("--help")
    assert code == 0
    for word in (*cli.make_parser()[1], "130", "exits 0 whatever its verdict"):
        assert word in out


@pytest.mark.parametrize("command", list(cli.make_parser()[1]))
def test_each_command_explains_itself(command, capsys):
    assert cli.main([command, "--help"]) == 0
    assert f"usage: benchkit {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, said",
    [
        (["comapre", "x"], 'did you mean "compare"?'),
        ([], "which command?"),
        (["ask", XS, "hi", "--max-token", "3"], 'did you mean "--max-tokens"?'),
        (["ask", XS], "required: prompt"),
        (["ask", XS, "hi", "--max-tokens", "many"], "invalid int value: 'many'"),
        (["run"], "what is to be run?"),
        (["run", "a.yaml", "--models", XS], "what is to be run?"),
        (["run", "--models", XS, "--trials", "two"], "argument --trials: a whole number or auto"),
        (["run", "a.yaml", "--trials", "10"], "--trials belongs to --models; in a plan write trials: 10"),
        (["run", "a.yaml", "b.yaml", "--max-tokens", "7"], "in a plan write sampling: {max_tokens: 7}"),
        (["run", "a.yaml", "--seed", "1234"], "--seed belongs to --models"),
        (["run", "a.yaml", "--run-code"], "in a plan write run_code: true"),
        (["export", "here"], "to which file?"),
        (["export", "here", "--csv", "x.xlsx"], "ends in .csv"),
    ],
)
def test_a_wrong_command_line_exits_2(words, said, capsys):
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and "Traceback" not in err


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["ask", "gguf:pocket-sx", "hi"], 4, "did you mean"),
        (["ask", "gguf:/no/such.gguf", "hi"], 4, "there is no file"),
        (["ask", "pocket", "hi"], 4, "gguf:pocket-s"),
        (["ask", XS, "hi", "--max-tokens", "0"], 3, "max_tokens"),
        (["ask", XS, "hi", "--temperature", "nan"], 3, "temperature"),
        (["ask", "gguf:~nosuchuser/x.gguf", "hi"], 4, "there is no file"),
        (["run", "--models", "x" * 300, "--prompts", "y" * 300 + ".txt"], 3, "there is no such file"),
        (["run", "--models", "gguf:" + "x" * 300], 4, "no shipped model"),
        (["run", "x" * 300], 3, "Ready plans"),
        (["run", "--models", XS, "--prompts", "course,course-v1"], 3, "the same file; name it once"),
        (["prompts", "from-file", "none.csv", "out.jsonl", "--limit", "0"], 3, "from 1, found 0"),
        (["run", "no-such-plan.yaml"], 3, "Ready plans"),
        (["run", "--models", XS, "--prompts", "cuorse"], 3, "course"),
        (["run", "--models", XS, "--max-tokens", "-5"], 3, "max_tokens"),
        (["compare", "no-such-run"], 3, "no-such-run does not exist"),
        (["report", "."], 3, "is not a run folder"),
        (["export", "no-such-run", "--csv", "x.csv"], 3, "no-such-run"),
        (["notebook", "9_nothing"], 3, "There is no notebook"),
        (["notebook", "02", "-p", "trails=5"], 3, 'did you mean "trials"'),
        (["notebook", "02", "-p", "trials=many"], 3, "whole number"),
        (["prompts", "from-file", "none.csv", "out.jsonl"], 3, "none.csv"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_message(words, code, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == code
    out, err = capsys.readouterr()
    assert out == "" and said in err and "Traceback" not in err
    assert not list(tmp_path.glob("**/manifest.json"))


@pytest.mark.parametrize("kind", ["empty", "a web page", "cut short", "noise"])
def test_a_damaged_model_file_is_one_clear_message(kind, tmp_path, capsys):
    whole = (places.MODELS / "pocket-xs.gguf").read_bytes()
    contents = {"empty": b"", "a web page": b"<html>Not found</html>", "cut short": whole[: len(whole) // 2],
                "noise": whole[:24] + os.urandom(5000)}  # fmt: skip
    path = tmp_path / "model.gguf"
    path.write_bytes(contents[kind])
    assert cli.main(["ask", f"gguf:{path}", "hi"]) == 4
    out, err = capsys.readouterr()
    assert out == "" and "model.gguf" in err and "Traceback" not in err


def test_a_bad_plan_names_file_and_field(tmp_path):  # a process: no traceback either
    path = tmp_path / "plan.yaml"
    path.write_text("models: [gguf:pocket-xs]\nprompts: [course]\nsampling: {temperature: -1}\n")
    refused(3, ["run", path], "plan.yaml", "temperature", "-1")


def test_a_bad_prompt_file_names_file_and_line(tmp_path, capsys):
    path = tmp_path / "mine.txt"
    path.write_bytes(b"good\n\nbad")
    assert cli.main(["run", "--models", XS, "--prompts", str(path), "--out", str(tmp_path / "run")]) == 3
    err = capsys.readouterr().err
    assert "mine.txt" in err and "line 2" in err


def test_an_operating_system_error_exits_5(monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device", "artifact.json")

    monkeypatch.setattr("benchkit.machine.doctor", full)
    assert cli.main(["doctor"]) == 5
    assert "the disk is full (artifact.json)" in capsys.readouterr().err


def test_an_error_of_our_own_shows_its_message_and_code(monkeypatch, capsys):
    def fail(*_):
        raise BenchkitError("what was found, what to do")

    monkeypatch.setattr("benchkit.machine.doctor", fail)
    assert cli.main(["doctor"]) == 3
    assert capsys.readouterr().err == "benchkit: what was found, what to do\n"


# ---- pipes and Ctrl-C -----------------------------------------------------------------------------


def test_a_reader_that_goes_away_is_no_traceback():
    process = start("models", stdout=subprocess.PIPE)
    process.stdout.close()  # before anything was written
    err = process.stderr.read()
    assert process.wait(60) == 141 and err == b""


@pytest.mark.skipif(os.name == "nt", reason="POSIX shell")
def test_ask_piped_to_head():
    command = (
        f"{shlex.quote(sys.executable)} -m benchkit ask {XS} Hello --max-tokens 40 --ignore-eos --threads 1 | head -c 1"
    )
    env = os.environ | {"PYTHONPATH": str(places.ROOT)}
    done = subprocess.run(command, shell=True, capture_output=True, env=env, timeout=300, check=False)
    assert done.returncode == 0 and len(done.stdout) == 1 and b"Traceback" not in done.stderr


def test_output_is_utf8_whatever_the_locale_says():
    words = ("ask", XS, "-", "--max-tokens", 1, "--json", *ONE_THREAD)
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    code, out, err = benchkit(*words, stdin="é 世", env=ascii_only)
    assert code == 0 and json.loads(out)["prompt"] == "é 世" and "…" in err


def test_standard_input_that_is_no_text_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9")))
    assert cli.main(["ask", XS, "-"]) == 3
    assert "byte 3" in capsys.readouterr().err


PLAN = """
name: small
models: [gguf:pocket-xs]
prompts: [course]
load: {n_threads: 1}
sampling: {max_tokens: 12}
trials: %d
"""


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to one process on Windows")
def test_ctrl_c_ends_a_run_with_130_and_the_same_command_continues(tmp_path):
    import psutil

    plan, out = tmp_path / "plan.yaml", tmp_path / "run"
    plan.write_text(PLAN % 40)
    process = start("run", plan, "--out", out)
    give_up = time.monotonic() + 120
    while len(list(out.glob("*_trial_*.json"))) < 5:
        assert time.monotonic() < give_up and process.poll() is None
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in err and b"continues" in err
    psutil.wait_procs(children, timeout=10)
    assert not [child for child in children if child.is_running() and child.status() != "zombie"]

    measured = {path: path.stat().st_mtime_ns for path in out.glob("*_trial_*.json")}
    assert 5 <= len(measured) < 120
    code, _, err = benchkit("run", plan, "--out", out)
    assert code == 0, err
    assert len(list(out.glob("*_trial_*.json"))) == 120
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in measured.items())


# ---- the main job ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("main job")  # a space in the path
    plan = folder / "plan.yaml"
    plan.write_text((PLAN % 2).replace("[gguf:pocket-xs]", "[gguf:pocket-xs, gguf:pocket-s]"))
    code, out, err = benchkit("run", plan, "--out", folder / "run")
    assert code == 0, err
    return folder / "run", out


def test_run_shows_the_table_and_what_comes_next(finished):
    folder, out = finished
    assert "gguf:pocket-xs" in out and "gguf:pocket-s" in out and f'benchkit report "{folder}"' in out


def test_run_again_measures_nothing_and_says_the_same_as_json(finished):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*_trial_*.json")}
    code, out, _ = benchkit("run", folder.parent / "plan.yaml", "--out", folder, "--json")
    assert code == 0 and {p: p.stat().st_mtime_ns for p in folder.glob("*_trial_*.json")} == before
    said = json.loads(out)
    assert [row["configuration"] for row in said["summary"]] == ["gguf:pocket-xs", "gguf:pocket-s"]
    assert said["runs"][0]["state"] in ("VALID", "INCONCLUSIVE") and len(said["cards"]) == 4


def test_compare_in_words_and_as_json(finished):
    folder, _ = finished
    code, out, _ = benchkit("compare", folder)
    assert code == 0 and "gguf:pocket-xs against gguf:pocket-s" in out and "fixed set" in out
    code, out, _ = benchkit("compare", folder, "--pair", "gguf:pocket-s", "gguf:pocket-xs", "--json")
    assert code == 0 and {row["metric"] for row in json.loads(out)["pairs"]} >= {"latency_s", "ttft_ms"}
    refused(3, ["compare", folder, "--pair", "gguf:pocket-s", "gguf:pocket-q"], "gguf:pocket-q")


def test_report_says_where_it_is(finished, tmp_path):
    folder, _ = finished
    code, out, _ = benchkit("report", folder)
    assert code == 0 and out.strip() == str(folder / "report.html")
    assert (folder / "report.html").read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html")
    code, out, _ = benchkit("report", folder, "--out", tmp_path / "mine.html")
    assert code == 0 and (tmp_path / "mine.html").exists()


def test_export_to_all_three(finished, tmp_path):
    import pandas as pd

    folder, _ = finished
    csv, excel, parquet = (tmp_path / f"x.{ending}" for ending in ("csv", "xlsx", "parquet"))
    code, out, _ = benchkit("export", folder, "--csv", csv, "--excel", excel, "--parquet", parquet)
    assert code == 0 and out.split() == [str(csv), str(excel), str(parquet)]
    tables = pd.read_csv(csv), pd.read_excel(excel), pd.read_parquet(parquet)
    assert [len(table) for table in tables] == [12, 12, 12]
    assert all(table["latency_s"].gt(0).all() for table in tables)


def test_models_and_doctor_as_text_and_json(capsys):
    def said(*words):
        assert cli.main(words) == 0
        return capsys.readouterr().out

    assert all(name in said("models") for name in (XS, "gguf:pocket-s", "gguf:pocket-m"))
    assert {"name", "path", "size_mib"} <= set(json.loads(said("models", "--json"))["models"][0])
    assert {"name", "ok", "found", "advice"} == set(json.loads(said("doctor", "--json"))["findings"][0])
    assert "Quiet machine" in said("doctor")


def test_convert_prompts(tmp_path, capsys):
    (tmp_path / "data.csv").write_text("question,answer\nWhat is 2 + 2?,4\n", encoding="utf-8")
    files = [str(tmp_path / "data.csv"), str(tmp_path / "mine.jsonl")]
    assert cli.main(["prompts", "from-file", *files, "--prompt", "question", "--expected", "answer"]) == 0
    assert "1 prompt" in capsys.readouterr().out
    assert json.loads((tmp_path / "mine.jsonl").read_text(encoding="utf-8"))["prompt"] == "What is 2 + 2?"


def test_a_run_of_models_has_the_defaults_that_its_help_names(capsys):
    plan = cli._plan(cli.parse(["run", "--models", XS]))
    assert (plan.prompts, plan.trials, plan.sampling["max_tokens"]) == (("course",), 3, (128,))
    assert cli.main(["run", "--help"]) == 0
    assert "SUPPRESS" not in capsys.readouterr().out


def test_ask_refuses_an_option_before_it_says_that_it_loads(capsys):
    assert cli.main(["ask", XS, "hi", "--max-tokens", "0"]) == 3
    assert "loading" not in capsys.readouterr().err


def test_terminal_codes_in_messages_and_listings_are_shown_not_obeyed(tmp_path, monkeypatch, capsys):
    (tmp_path / "bad.jsonl").write_text('{"set": "s", "\\u001b[31mred": 1}\n', encoding="utf-8")
    assert cli.main(["run", "--models", XS, "--prompts", str(tmp_path / "bad.jsonl")]) == 3
    folder = tmp_path / "x\x1b[31m"
    folder.mkdir()
    (folder / "m.gguf").write_bytes(b"GGUF")
    monkeypatch.setenv("BENCHKIT_MODELS", str(folder))
    assert cli.main(["models"]) == 0
    said = capsys.readouterr()
    assert "⟨ESC⟩" in said.err and "⟨ESC⟩" in said.out and "\x1b" not in said.out + said.err


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell closes the streams")
@pytest.mark.parametrize(
    ("words", "code", "out"),
    [
        ("models >&-", 0, ""),
        ("models >/dev/full", 5, ""),
        ("run no-such-plan 2>&-", 3, ""),
        ("run no-such-plan 2>/dev/full", 3, ""),
        ("ask none:x - <&-", 4, ""),
    ],
)
def test_closed_or_full_standard_streams(words, code, out):
    command = f"{shlex.quote(sys.executable)} -m benchkit {words}"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, cwd=places.ROOT, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (code, out), done
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_ctrl_c_while_modules_are_read_ends_quietly(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nclass Stop:\n    def find_spec(self, name, *_):\n"
        "        if name == 'benchkit.cli': raise KeyboardInterrupt\nsys.meta_path.insert(0, Stop())\n"
    )
    search = os.pathsep.join([str(tmp_path), str(places.ROOT)])
    code, out, err = benchkit("models", env={"PYTHONPATH": search})
    assert (code, out) == (130, "") and "Traceback" not in err


# ---- quantising -----------------------------------------------------------------------------------


def test_quantize_makes_variants_and_says_where_and_how_large(tmp_path):
    words = ("quantize", XS, "q8_0", "Q4_K_M", "--out", tmp_path / "new")
    code, out, err = benchkit(*words)
    assert code == 0 and "tensor" in err and "Traceback" not in err
    assert [line.split()[0] for line in out.splitlines()] == [
        str(tmp_path / "new" / f"pocket-xs-{type}.gguf") for type in ("Q8_0", "Q4_K_M")
    ]
    assert all("MiB" in line and "bits per weight" in line for line in out.splitlines())
    assert benchkit("ask", f"gguf:{tmp_path / 'new' / 'pocket-xs-Q4_K_M.gguf'}", "Hi", "--max-tokens", 2, *ONE_THREAD)[0] == 0
    refused(3, words, "There already", "--overwrite")
    code, again, _ = benchkit(*words, "--overwrite")
    assert (code, again) == (0, out)


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["quantize", XS], 2, "TYPE"),
        (["quantize", XS, "Q4_KM"], 4, 'did you mean "Q4_K_M"'),
        (["quantize", "ollama:llama3.2", "Q4_K_M"], 4, "on a server"),
        (["quantize", "gguf:/no/where.gguf", "Q4_K_M"], 4, "no file /no/where.gguf"),
        (["quantize", "pocket-xs", "Q4_K_M"], 4, "gguf:pocket-xs"),
    ],
)
def test_quantize_refuses(words, code, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == code
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())
