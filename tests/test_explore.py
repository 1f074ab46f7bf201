"""The results explorer: what is chosen, what is answered, who may ask."""

import http.client
import io
import json
import re
import shutil
import threading
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest
from browser import HOSTILE
from made_up import MadeUpRun, made_up_artifact, made_up_run, write_run

from benchkit import cli, explore, explore_server, places, rows, tables
from benchkit.errors import BenchkitError
from benchkit.explore import Chosen
from benchkit.runs import file_name

TEMPLATES = Path(explore.__file__).parent / "templates"
FAMILY = {"A": (1000.0, 0.9, 4.0), "B": (500.0, 0.2, 8.0)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    run = made_up_run(FAMILY, n_prompts=30, trials=2)
    run.manifest["configurations"] = {name: {} for name in FAMILY}
    return write_run(run, tmp_path_factory.mktemp("runs") / "mine")


@pytest.fixture(scope="module")
def loaded(folder) -> explore.Loaded:
    return explore.read([folder])


@pytest.fixture(scope="module")
def server(folder):
    with explore_server.start([folder], 0) as running:
        running.explorer.wait()
        yield running


def table_of(loaded, **chosen) -> pd.DataFrame:
    return loaded.table.iloc[explore.find(loaded, Chosen(**chosen))]


class Instantly(explore.Slowly):
    """Waits for as long as it takes."""

    def ask(self, works, wait_s=60.0):
        return super().ask(works, wait_s)


# ---------------------------------------------------------------- reading


def test_reading_gives_the_same_table_as_everywhere_in_the_plans_order(folder, loaded):
    usual = tables.results(folder)
    pd.testing.assert_frame_equal(loaded.table[list(usual.columns)], usual)


def test_reading_tells_how_far_it_is(folder, loaded):
    told = []
    explore.read([folder], lambda: told.append(1))
    assert len(told) == len(loaded.table) == 2 * (60 + 6)


def test_damaged_and_old_artifacts_are_counted_named_and_left_out(folder, loaded, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    half, old, *_ = sorted(copy.glob("A_prompt_*"))
    half.write_text(half.read_text()[:100])
    old.write_text(old.read_text().replace("benchkit/artifact/1", "benchkit/artifact/0"))
    found = explore.read([copy])
    assert len(found.table) == len(loaded.table) - 2
    problems = explore.about(found)["problems"]
    assert problems["n"] == 2 and half.name in problems["listed"][0] and "schema" in problems["listed"][1]
    assert found.runs[0]["verdict"]["state"] == "INCONCLUSIVE"


def test_several_runs_stand_beside_each_other_each_with_its_verdict(folder, tmp_path):
    other = write_run(made_up_run(FAMILY, n_prompts=6, speed=0), tmp_path / "other")
    found = explore.read([folder, other])
    assert [run["run"] for run in found.runs] == ["mine", "other"] and [run["n"] for run in found.runs] == [
        132,
        12,
    ]
    assert [one["name"] for one in explore.about(found)["models"]] == [
        "A [mine]",
        "A [other]",
        "B [mine]",
        "B [other]",
    ]
    row = int(np.flatnonzero(found.table["run"] == "other")[0])
    assert explore.artifact(found, row)["path"].startswith(str(other))


def test_a_run_without_results_is_shown_as_one(tmp_path):
    growing = MadeUpRun([], {"name": "nothing"}, status={"state": "running", "done": 0, "total": 5})
    found = explore.read([write_run(growing, tmp_path)])
    assert found.runs[0]["verdict"]["state"] == "INVALID" and found.runs[0]["growing"]
    assert explore.results_page(found, Chosen())["rows"] == [] == explore.about(found)["models"]
    assert "none of these results" in explore.points(found, Chosen())["told"]
    assert explore.summary(found, Chosen(), Instantly())["rows"] == []


def test_a_load_run_and_a_folder_that_is_none_are_refused_with_a_way_on(tmp_path):
    (tmp_path / "manifest.json").write_text('{"schema": "benchkit/load/1"}')
    with pytest.raises(BenchkitError, match="benchkit report"):
        explore.check_folder(tmp_path)
    with pytest.raises(BenchkitError, match="does not exist"):
        explore.check_folder(tmp_path / "nowhere")


# ---------------------------------------------------------------- choosing


def test_models_categories_and_outcomes_narrow_the_results(loaded):
    every = loaded.table
    assert len(table_of(loaded)) == len(every)
    assert set(table_of(loaded, models=("A",))["configuration"]) == {"A"}
    code = table_of(loaded, models=("A",), categories=("code", "summary"))
    assert set(code["category"]) == {"code", "summary"} and set(code["configuration"]) == {"A"}
    failed, passed = (table_of(loaded, outcome=outcome) for outcome in ("failed", "passed"))
    assert not failed["correct"].any() and passed["correct"].all()
    assert len(failed) + len(passed) == every["correct"].notna().sum()
    assert len(table_of(loaded, models=("nobody",))) == 0


def test_a_check_narrows_to_the_results_that_it_judged(loaded):
    def went(row, name):
        return [check["passed"] for check in row if check["check"] == name]

    asked = table_of(loaded, checks=("max_words",))
    assert set(asked["category"]) == {"summary"}
    failed = table_of(loaded, checks=("max_words",), outcome="failed")
    passed = table_of(loaded, checks=("max_words",), outcome="passed")
    assert all(went(row, "max_words") == [False] for row in failed["checks"]) and len(failed)
    assert all(went(row, "max_words") == [True] for row in passed["checks"]) and len(passed)
    assert len(failed) + len(passed) == len(asked)
    both = table_of(loaded, checks=("max_words", "key_facts"), outcome="passed")
    assert all(row[0]["passed"] and row[1]["passed"] for row in both["checks"])


def test_a_check_that_a_prompt_has_twice_is_passed_if_both_are():
    artifact = made_up_artifact(np.random.default_rng(1), "A", 900.0, 4.0, 3, 0, 9, 20, True)
    for second in (True, False):
        twice = [
            {"check": "contains", "passed": True, "reason": ""},
            {"check": "contains", "passed": second, "reason": ""},
        ]
        table = tables.results(MadeUpRun([{**artifact, "checks": twice}], {}))
        assert explore._checks(table)["contains"].tolist() == [int(second)]


@pytest.mark.parametrize(
    "name", ["model", "prompt", "category", "trial", "correct", "latency_s", "n_output_tokens"]
)
def test_results_are_sorted_up_and_down_with_missing_values_last(loaded, name):
    for sort, sign in ((name, 1), (f"-{name}", -1)):
        values = loaded.sorts[name][explore.find(loaded, Chosen(sort=sort))]
        known = values[~np.isnan(values)]
        assert (np.diff(sign * known) >= 0).all() and np.isnan(values[len(known) :]).all()


def test_an_address_that_asks_for_what_there_is_not_is_told_what_there_is(loaded):
    with pytest.raises(BenchkitError, match=r"latency_s.*did you mean \"latency_s\""):
        explore.find(loaded, Chosen(sort="latency"))
    with pytest.raises(BenchkitError, match="any, passed, failed"):
        Chosen.from_query({"outcome": ["wrong"]})
    with pytest.raises(BenchkitError, match="ttft_ms"):
        explore.points(loaded, Chosen(), "size")
    with pytest.raises(BenchkitError, match="no result 9999"):
        explore.reply(loaded, 9999)


# ---------------------------------------------------------------- answers


def test_pages_of_results_hold_a_hundred_and_go_no_further_than_the_last(loaded):
    first, last = explore.results_page(loaded, Chosen(), 1), explore.results_page(loaded, Chosen(), 99)
    assert (first["n"], first["n_pages"], len(first["rows"])) == (132, 2, 100)
    assert last["page"] == 2 and [row["row"] for row in last["rows"]] == list(range(100, 132))


def test_the_summary_is_that_of_the_report(loaded):
    found = explore.summary(loaded, Chosen(), Instantly())
    usual = tables.summarize(loaded.table)
    assert [row["model"] for row in found["rows"]] == usual["configuration"].tolist() and not found["working"]
    column = [head["column"] for head in found["heads"]].index("pass_rate")
    shown = [row["cells"][column]["value"] for row in found["rows"]]
    assert shown == [f"{100 * share:.0f}" for share in usual["pass_rate"]]
    points = {point["model"]: point for point in found["tradeoff"]["points"]}
    a = usual.set_index("configuration").loc["A"]
    assert points["A"]["x"] == [
        a["decode_tokens_per_s"],
        a["decode_tokens_per_s_low"],
        a["decode_tokens_per_s_high"],
    ]
    assert points["A"]["y"][0] == pytest.approx(100 * a["pass_rate"]) and "forced" in found["tradeoff"]["x"]
    assert "A " in found["tradeoff"]["told"] and "tok/s" in found["tradeoff"]["told"]
    assert "do not rank" not in found["tradeoff"]["told"]
    natural = explore.summary(loaded, Chosen(categories=("code",)), Instantly())["tradeoff"]
    assert "natural length" in natural["x"] and "do not rank" in natural["told"]


def test_results_picked_by_their_outcome_get_no_pass_rate(loaded):
    found = explore.summary(loaded, Chosen(outcome="failed"), Instantly())
    column = [head["column"] for head in found["heads"]].index("pass_rate")
    assert [row["cells"][column] for row in found["rows"]] == [{"value": "–", "range": "only failed"}] * 2
    assert found["tradeoff"]["points"] == [] and "cannot be drawn" in found["tradeoff"]["told"]


def test_a_summary_that_takes_long_is_asked_for_again_and_one_nobody_wants_is_dropped():
    slowly, gate, made = explore.Slowly(), threading.Event(), []
    assert slowly.ask({"first": lambda: gate.wait(20), "second": lambda: made.append(2)}, 0.01) == {}
    assert (
        slowly.ask({"third": lambda: made.append(3) or "three"}, 0.01) == {}
    )  # the second waited, and is not wanted
    gate.set()
    assert slowly.ask({"third": lambda: None}, 20) == {"third": "three"} and made == [3]


def test_points_are_of_one_kind_of_length_and_know_their_result(loaded):
    natural = explore.points(loaded, Chosen())
    assert (
        len(natural["points"]) == 120 and "natural length" in natural["told"] and natural["n_prompts"] == 30
    )
    forced = explore.points(loaded, Chosen(), "decode_tokens_per_s")
    assert len(forced["points"]) == 12 and "forced length" in forced["told"]
    point = natural["points"][7]
    assert point["value"] == loaded.table["latency_s"][point["row"]]
    assert point["wrong"] == (not loaded.table["correct"][point["row"]])


def test_of_many_points_an_even_part_is_drawn_with_both_ends_and_it_is_said(loaded, monkeypatch):
    monkeypatch.setattr(explore, "MAX_POINTS", 10)
    found = explore.points(loaded, Chosen())
    values = loaded.table.loc[loaded.table["purpose"] == "quality", "latency_s"]
    drawn = [point["value"] for point in found["points"]]
    assert len(drawn) == 10 and (min(drawn), max(drawn)) == (values.min(), values.max())
    assert "120 replies" in found["told"] and "10 are drawn" in found["told"]


def test_categories_become_bands_only_where_they_lie_together(loaded):
    assert explore.points(loaded, Chosen())["bands"] == []  # made-up categories alternate
    (band,) = explore.points(loaded, Chosen(categories=("code",)))["bands"]
    assert (band["name"], band["from"], band["to"]) == ("code", 0, 3)


def test_a_reply_comes_with_its_checks_its_file_and_the_same_prompt_of_the_others(folder, loaded):
    row = int(np.flatnonzero((loaded.table["configuration"] == "A") & (loaded.table["trial"] == 1))[0])
    found = explore.reply(loaded, row)
    assert found["text"] == loaded.table["response"][row] and found["asked"].startswith("Prompt 0")
    assert [check["name"] for check in found["checks"]] == ["valid_json", "required_keys", "no_extra_text"]
    assert Path(found["artifact"]).parent == folder and Path(found["artifact"]).is_file()
    (other,) = found["others"]
    same = loaded.table.iloc[other["row"]]
    assert (same["configuration"], same["prompt_index"], same["trial"], same["purpose"]) == (
        "B",
        0,
        1,
        "quality",
    )
    assert json.loads(explore.artifact(loaded, row)["text"])["configuration"] == "A"


def test_two_replies_are_compared_word_by_word(loaded):
    a = explore.differences("The sky is blue, today.", "The sea is blue today")["a"]
    assert ("only", "sky") in a and ("same", " is blue") in a
    found = explore.side_by_side(loaded, 0, 0)
    assert found["same"] and found["note"] == "Both replies are the same text."
    found = explore.side_by_side(loaded, 0, 2)
    assert "different prompts" in found["note"]
    for side in "ab":
        assert "".join(text for _, text in found["parts"][side]) == found[side]["text"]


def test_a_huge_reply_is_cut_and_says_so_and_is_compared_in_time(tmp_path):
    rng = np.random.default_rng(1)
    texts = [("word " * 1_000_000)[:5_000_000], " ".join(map(str, rng.integers(0, 60, 1_500_000)))]
    artifacts = [
        made_up_artifact(rng, name, 900.0, 4.0, 3, 0, 9, 20, True, reply=text)
        for name, text in zip("AB", texts, strict=True)
    ]
    found = explore.read([write_run(MadeUpRun(artifacts, {}), tmp_path / "huge")])
    one = explore.reply(found, 0)
    assert len(one["text"]) == explore.MAX_REPLY and "4,900,000 more characters" in one["cut"]
    assert "more bytes" in explore.artifact(found, 0)["cut"]
    assert "first 12,000 characters" in explore.side_by_side(found, 0, 1)["note"]


def test_an_artifact_that_is_gone_is_a_clear_line_and_the_rest_stays(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    found = explore.read([copy])
    shutil.rmtree(copy)
    with pytest.raises(BenchkitError, match="moved or deleted while this page was open"):
        explore.artifact(found, 0)
    assert explore.reply(found, 0)["text"]


def test_downloads_hold_what_is_chosen_in_the_order_shown(loaded):
    chosen = Chosen(models=("A",), outcome="failed", sort="-latency_s")
    expected = table_of(loaded, models=("A",), outcome="failed", sort="-latency_s")
    name, data = explore.download(loaded, chosen, ".csv")
    assert name == "mine.csv" and list(pd.read_csv(io.BytesIO(data))["artifact"]) == list(
        expected["artifact"]
    )
    pytest.importorskip("openpyxl", reason="needs openpyxl")
    name, data = explore.download(loaded, chosen, ".xlsx")
    found = pd.read_excel(io.BytesIO(data))
    assert name == "mine.xlsx" and list(found["latency_s"]) == pytest.approx(list(expected["latency_s"]))


def test_downloads_hold_no_formula_and_excel_says_where_it_ends(loaded, monkeypatch, tmp_path):
    monkeypatch.setattr(explore, "MAX_EXCEL", 10)
    assert not explore.results_page(loaded, Chosen())["excel"]
    with pytest.raises(BenchkitError, match="Take CSV"):
        explore.download(loaded, Chosen(), ".xlsx")
    rng = np.random.default_rng(1)
    evil = made_up_artifact(
        rng, "A", 900.0, 4.0, 3, 0, 9, 20, True, reply='=HYPERLINK("http://evil.example")'
    )
    found = explore.read([write_run(MadeUpRun([evil], {}), tmp_path / "=evil")])
    name, data = explore.download(found, Chosen(), ".csv")
    assert name == "evil.csv" and b"'=HYPERLINK" in data
    openpyxl = pytest.importorskip("openpyxl", reason="needs openpyxl")
    sheet = openpyxl.load_workbook(io.BytesIO(explore.download(found, Chosen(), ".xlsx")[1])).active
    assert all(cell.data_type != "f" for line in sheet for cell in line)


# ---------------------------------------------------------------- over HTTP


def fetch(server, path: str, method: str = "GET", headers=None, **query) -> tuple[int, dict, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    connection.request(
        method, f"{path}?{urlencode(query, doseq=True)}" if query else path, headers=headers or {}
    )
    answer = connection.getresponse()
    found = answer.status, dict(answer.headers), answer.read()
    connection.close()
    return found


def error_of(found) -> tuple[int, str]:
    return found[0], json.loads(found[2])["error"]


def test_every_question_of_the_page_is_answered(server):
    asked = {"state": {}, "about": {}, "results": {"model": ["A", "B"], "sort": "-ttft_ms"}, "summary": {},
             "points": {"y": "ttft_ms"}, "reply": {"row": 3}, "artifact": {"row": 3}, "two": {"a": 1, "b": 2}}  # fmt: skip
    for path, query in asked.items():
        status, headers, data = fetch(server, f"/api/{path}", **query)
        assert status == 200 and json.loads(data) and headers["Content-Type"].startswith("application/json")
    for path, kind in (
        ("/", "text/html"),
        ("/explore.js", "text/javascript"),
        ("/explore.css", "text/css"),
        ("/report.css", "text/css"),
    ):
        status, headers, data = fetch(server, path)
        assert status == 200 and data and headers["Content-Type"] == f"{kind}; charset=utf-8"
    status, headers, data = fetch(server, "/download.csv", model="A")
    assert status == 200 and headers["Content-Disposition"] == 'attachment; filename="mine.csv"'
    assert fetch(server, "/api/about", method="HEAD")[2] == b""


def test_every_answer_forbids_what_it_does_not_need(server):
    for path in ("/", "/explore.js", "/api/about", "/download.csv", "/nowhere"):
        headers = fetch(server, path)[1]
        assert headers["Content-Security-Policy"].startswith(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
        )
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:80", "localhost@evil.example", "", "10.0.0.5"]
)
def test_a_name_that_was_made_to_mean_this_computer_is_refused(server, host):
    for path in ("/", "/api/about", "/download.csv"):
        assert fetch(server, path, headers={"Host": host})[0] == 403


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
     {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}],
)  # fmt: skip
def test_pages_from_elsewhere_are_refused(server, headers):
    for path in ("/api/about", "/api/read", "/api/reply?row=1", "/download.csv"):
        assert fetch(server, path, headers=headers)[0] == 403


def test_the_page_itself_and_a_link_to_it_are_not_refused(server):
    own = f"http://127.0.0.1:{server.server_address[1]}"
    assert fetch(server, "/api/about", headers={"Origin": own, "Sec-Fetch-Site": "same-origin"})[0] == 200
    assert (
        fetch(server, "/?model=A", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})[0]
        == 200
    )


@pytest.mark.parametrize("row", ["../../etc/passwd", "-1", "1e3", "١", "9" * 40, "", "0/../../x", "%00"])
def test_files_are_named_by_a_row_and_by_nothing_else(server, row):
    for path in ("/api/artifact", "/api/reply"):
        status, error = error_of(fetch(server, path, row=row))
        assert status == 400 and "whole number" in error


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/templates/report.html.j2", "/explore.py", "/api/../explore.js", "/api/"]
)
def test_nothing_else_is_served(server, path):
    assert fetch(server, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_but_get_is_understood(server, method):
    assert fetch(server, "/api/read", method=method)[0] == 501


def test_rows_of_an_earlier_reading_and_endless_addresses_are_refused(server):
    assert error_of(fetch(server, "/api/reply", row=1, number=77))[0] == 409
    assert fetch(server, "/api/results", model=["x" * 1000] * 20)[0] == 414
    assert error_of(fetch(server, "/api/results", sort="no"))[0] == 400


def test_while_the_first_reading_goes_on_the_page_hears_how_far_it_is(folder, monkeypatch):
    gate, seen = threading.Event(), threading.Event()
    usual = explore.runs.read_artifact

    def slow(path, run):
        seen.set()
        gate.wait(20)
        return usual(path, run)

    monkeypatch.setattr(explore.runs, "read_artifact", slow)
    with explore_server.start([folder], 0) as server:
        assert seen.wait(20)
        state = json.loads(fetch(server, "/api/state")[2])
        assert state["reading"] and (state["done"], state["total"], state["number"]) == (1, 132, 0)
        assert error_of(fetch(server, "/api/about"))[0] == 503
        gate.set()
        server.explorer.wait()
        assert json.loads(fetch(server, "/api/state")[2])["number"] == 1


def test_reading_again_shows_what_is_new_and_keeps_the_old_where_the_folder_is_gone(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    held = [copy / path.name for path in sorted(copy.glob("B_*"))[:5]]
    for path in held:
        path.rename(path.with_suffix(".later"))
    with explore_server.start([copy], 0) as server:
        server.explorer.wait()
        assert json.loads(fetch(server, "/api/about")[2])["n"] == 127
        for path in held:
            path.with_suffix(".later").rename(path)
        fetch(server, "/api/read")
        server.explorer.wait()
        assert json.loads(fetch(server, "/api/about")[2])["n"] == 132
        shutil.rmtree(copy)
        fetch(server, "/api/read")
        server.explorer.wait()
        state = json.loads(fetch(server, "/api/state")[2])
        assert "does not exist" in state["message"] and state["number"] == 2 and not state["reading"]
        assert json.loads(fetch(server, "/api/about")[2])["n"] == 132


def test_hostile_text_leaves_as_json_in_which_nothing_hides(tmp_path):
    rng = np.random.default_rng(1)
    artifacts = []
    for i, text in enumerate(HOSTILE):
        made = made_up_artifact(rng, text, 900.0, 4.0, i, 0, 9, 20, False, reply=text)
        made |= {"prompt": text, "category": text, "prompt_id": text, "prompt_set": text}
        made["checks"] = [{"check": text, "passed": False, "reason": text}]
        made["file"] = file_name(text, text, i, 0, "quality", made["key"])
        artifacts.append(made)
    folder = write_run(MadeUpRun(artifacts, {}), tmp_path / "evil")
    with explore_server.start([folder], 0) as server:
        server.explorer.wait()
        assert not server.explorer.loaded.problems and len(server.explorer.loaded.table) == len(HOSTILE)
        answers = [fetch(server, f"/api/{path}") for path in ("about", "results", "summary", "points")]
        answers += [
            fetch(server, f"/api/{path}", row=i)
            for path in ("reply", "artifact")
            for i in range(len(HOSTILE))
        ]
        for status, headers, data in answers:
            text = json.dumps(json.loads(data), ensure_ascii=False)
            assert status == 200 and headers["Content-Type"] == "application/json; charset=utf-8"
            assert not set(text) & set("\0\x1b\x07\u202e\u2066")
        names = [one["name"] for one in json.loads(answers[0][2])["models"]]
        for name in names:
            assert json.loads(fetch(server, "/api/results", model=name)[2])["n"] == 1, name


# ---------------------------------------------------------------- the page's sources, and the command


def test_the_page_never_makes_html_out_of_text_and_asks_nobody_else():
    page = (TEMPLATES / "explore.html.j2").read_text(encoding="utf-8")
    script = (TEMPLATES / "explore.js").read_text(encoding="utf-8")
    style = (TEMPLATES / "explore.css").read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser|srcdoc", script
    )
    assert set(re.findall(r"https?://[^\"'\s]+", page + script + style)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\sstyle=|\son\w+=|<script>", page)


def test_the_commands_port_is_checked_and_a_taken_one_is_avoided_unless_asked_for(
    folder, capsys, monkeypatch
):
    with explore_server.start([folder], 0) as server:
        taken = server.server_address[1]
        monkeypatch.setattr(explore_server, "PORT", taken)
        with explore_server.start([folder]) as second:
            assert second.server_address[1] != taken
        assert cli.main(["explore", str(folder), "--port", str(taken), "--no-browser"]) == 3
        assert "Leave --port out" in capsys.readouterr().err
    assert cli.main(["explore", str(folder), "--port", "70000"]) == 3
    assert cli.main(["explore", str(folder / "none")]) == 3


def test_the_sample_run_can_be_explored():
    found = explore.read([places.OUTPUTS / "sample"])
    assert len(found.table) == 760 and not found.problems
    assert [one["name"] for one in explore.about(found)["models"]] == rows.configurations(found.table)
