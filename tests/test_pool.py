"""Many machines, one question: what each says, what they say together, and what is left out."""

from __future__ import annotations

import json
import shutil

import pytest

from benchkit import cli, places, pool
from benchkit.errors import BenchkitError
from benchkit.runs import open_run
from benchkit.tables import compare, results

SAMPLE = places.OUTPUTS / "sample"
PAIR = ("gguf:pocket-xs", "gguf:pocket-s")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Seven machines that measured the same; the last one followed another plan."""
    folder = tmp_path_factory.mktemp("room")
    for i, name in enumerate("ada bo cem dan eve fay gus".split()):
        shutil.copytree(SAMPLE, folder / name)
        change(folder / name, cpu=f"Abacus {i}", plan="0" * 64 if name == "gus" else None)
    return folder


def change(run, cpu, plan=None):
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    manifest["machine"]["cpu"] = cpu
    manifest["plan_sha256"] = plan or manifest["plan_sha256"]
    (run / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def test_a_row_is_what_the_machine_says_by_itself(room):
    table = pool.pool([room / "ada", room / "bo"], *PAIR)
    alone = compare(results(open_run(SAMPLE)), *PAIR).set_index("metric").loc["decode_tokens_per_s"]
    for _, row in table.iterrows():
        assert (row["ratio"], row["low"], row["high"], row["says"]) == tuple(alone[["ratio", "low", "high", "verdict"]])
    assert table["cpu"].tolist() == ["Abacus 0", "Abacus 1"] and table["run"].tolist() == ["ada", "bo"]


def test_the_room_speaks_where_runs_are_valid_and_of_one_plan(room):
    table = pool.pool(sorted(room.iterdir()), *PAIR)
    table["ratio"] = [2.0, 1.0, 4.0, 3.0, 2.5, 9.0, 100.0]
    table.loc[1, "verdict"] = "INCONCLUSIVE"
    found = pool.together(table)
    assert found.ratio == 3.0 and found.interval is None and len(found.used) == 5
    assert found.left_out == {"bo": "INCONCLUSIVE", "gus": "another plan"}
    table.loc[1, "verdict"] = "VALID"
    found = pool.together(table)
    assert found.ratio == 2.75 and (found.interval.low, found.interval.high) == (1.0, 9.0)


def test_the_command_says_it_in_words_as_csv_and_as_json(room, tmp_path, capsys):
    folders = [str(path) for path in sorted(room.iterdir())]
    assert cli.main(["pool", *folders, "--pair", *PAIR, "--csv", str(tmp_path / "room.csv")]) == 0
    said = capsys.readouterr().out
    assert "Abacus 3" in said and said.count("VALID") == 7
    assert "Over 6 of 7 runs, A is 2.03 times as fast as B" in said and "gus: another plan" in said
    assert len((tmp_path / "room.csv").read_text("utf-8-sig").splitlines()) == 8
    assert cli.main(["pool", folders[0], "--pair", *PAIR, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["together"]["used"] == ["ada"] and found["runs"][0]["cpu"] == "Abacus 0"


def test_runs_of_one_name_are_told_apart(room, tmp_path):
    for place in ("left", "right"):
        shutil.copytree(room / "ada", tmp_path / place / "run")
    table = pool.pool([tmp_path / "left" / "run", tmp_path / "right" / "run"], *PAIR)
    assert table["run"].nunique() == 2 and "left" in table["run"][0]


def test_a_pair_that_a_run_does_not_hold_is_refused_with_what_it_holds():
    with pytest.raises(BenchkitError, match='no configuration .*did you mean "gguf:pocket'):
        pool.pool([SAMPLE], "gguf:pocket-sx", "gguf:pocket-s")
    with pytest.raises(BenchkitError, match="4 configurations: say which two with --pair"):
        pool.pool([SAMPLE])
