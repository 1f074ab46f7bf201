"""Tables from made-up runs: what is pooled, what is kept apart, what may be concluded, what is exported."""

import copy
import json
import math
import random
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import MadeUpRun, made_up_artifact, made_up_run, write_run

from benchkit import compare, rows, stats, tables
from benchkit.errors import BenchkitError
from benchkit.export import EXCEL_CELL, export
from benchkit.judge import Verdict

FAMILY = {"A": (1000.0, 0.9, 4.0), "B": (500.0, 0.2, 8.0)}


@pytest.fixture(scope="module")
def run() -> MadeUpRun:
    return made_up_run()


@pytest.fixture(scope="module")
def table(run) -> pd.DataFrame:
    return tables.results(run)


def made(**changes) -> MadeUpRun:
    return made_up_run(FAMILY, **{"n_prompts": 12, **changes})


def row_of(table: pd.DataFrame, configuration: str) -> pd.Series:
    return tables.summarize(table).set_index("configuration").loc[configuration]


# ---------------------------------------------------------------- one row a request


def test_one_row_a_request_with_every_column(run, table):
    assert tuple(table.columns) == rows.COLUMNS and len(table) == len(run.rows) == 4 * 66
    assert set(table["purpose"]) == {"quality", "speed"}
    assert table["size_mib"].iloc[0] == pytest.approx(2.7, abs=1e-3)
    assert table["memory_source"].unique().tolist() == ["process"]
    first = run.rows[0]
    assert table["latency_s"].iloc[0] == first["latency_s"] and table["checks"].iloc[0] == first["checks"]


def test_a_folder_on_disk_gives_the_same_table(run, table, tmp_path):
    folder = write_run(run, tmp_path / "made-up")
    again = tables.results(folder)
    key = ["configuration", "purpose", "prompt_index", "trial"]
    left, right = (t.sort_values(key).drop(columns="artifact").reset_index(drop=True) for t in (again, table))
    pd.testing.assert_frame_equal(left, right)
    assert len(tables.results([folder, str(folder)])) == len(table)  # the same folder twice is one run


def test_nothing_measured_gives_empty_tables_of_the_same_columns():
    empty = tables.results([])
    assert tuple(empty.columns) == rows.COLUMNS and len(empty) == 0
    assert len(tables.summarize(empty)) == len(tables.pass_rates(empty)) == len(tables.compare(empty)) == 0
    assert len(tables.smallest_distinguishable(empty)) == 0
    assert [card.outcome for card in tables.cards(empty)] == ["not measured"] * 4
    assert tables.verdict(empty).state == "INVALID"


def test_an_artifact_with_little_in_it_is_a_row_with_little_in_it():
    full = made_up_artifact(np.random.default_rng(1), "A", 1000.0, 4.0, 0, 0, 9, 20, True)
    bare = {"model": "A", "recording": full["recording"]}
    damaged = {**full, "recording": {"t_sent_ns": 1}}
    table = tables.results(MadeUpRun([bare, damaged, {"model": "A"}], {}))
    assert table["configuration"].tolist() == ["A"] * 3 and table["purpose"].tolist() == ["quality"] * 3
    assert table["state"].tolist() == ["ok", "error", "error"] and "damaged" in table["error"].iloc[1]
    assert (
        table["latency_s"].notna().tolist()
        == table["unexplained_ms"].notna().tolist()
        == [True, False, False]
    )
    assert table["correct"].isna().tolist() == [True, False, True]  # only the second one's prompt was checked
    assert tables.summarize(table)["n_errors"].iloc[0] == 2
    tables.pass_rates(table), tables.compare(table), tables.cards(table), tables.verdict(table)


@pytest.mark.parametrize("state", ["error", "timeout", "truncated", "empty", "disconnected", "aborted"])
def test_a_failed_request_is_counted_wrong_and_has_no_latency_in_the_summary(state):
    run = made(speed=0)
    broken = made_up_artifact(
        np.random.default_rng(1), "A", 1.0, 4.0, 3, 1, 0, 0, True, state=state, reply=""
    )
    broken["checks"] = []
    table = tables.results(MadeUpRun([*run.rows, broken], run.manifest))
    last = table.iloc[-1]
    assert last["state"] == state and not last["correct"] and last["n_checks"] == 0
    before, after = row_of(tables.results(run), "A"), row_of(table, "A")
    assert after["latency_median_s"] == before["latency_median_s"] and after["n_requests"] == 13
    assert after["n_errors"] == (state != "empty") and after["n_empty"] == (state == "empty")
    assert after["pass_rate"] == pytest.approx(
        before["pass_rate"] - (0.5 / 12 if before_correct(run, 3) else 0)
    )
    assert after["requests_per_min"] < before["requests_per_min"]  # its time counts
    assert tables.verdict(table).state == ("VALID" if state == "empty" else "INCONCLUSIVE")


def before_correct(run: MadeUpRun, index: int) -> bool:
    return all(
        c["passed"]
        for row in run.rows
        if row["prompt_index"] == index and row["model"] == "A"
        for c in row["checks"]
    )


def test_checks_that_were_not_run_decide_nothing():
    artifact = made_up_artifact(np.random.default_rng(1), "A", 1000.0, 4.0, 0, 0, 9, 20, True)
    artifact["checks"] = [{"check": "python_code", "passed": None, "reason": "not asked for"}]
    table = tables.results(MadeUpRun([artifact], {}))
    assert table["n_checks"].iloc[0] == 0 and table["correct"].isna().iloc[0]
    assert math.isnan(tables.summarize(table)["pass_rate"].iloc[0])


# ---------------------------------------------------------------- summaries


def test_forced_and_natural_replies_are_never_mixed():
    run = made(speed=8)
    natural = [row for row in run.rows if row["purpose"] == "quality"]
    forced = [row for row in run.rows if row["purpose"] == "speed"]
    both, only = (
        row_of(tables.results(run), "A"),
        row_of(tables.results(MadeUpRun(natural, run.manifest)), "A"),
    )
    alone = row_of(tables.results(MadeUpRun(forced, run.manifest)), "A")
    quality = ["latency_median_s", "latency_mean_s", "latency_max_s", "ttft_median_ms", "tokens_per_s", "requests_per_min",
               "pass_rate", "seconds_per_correct", "reply_tokens_median", "n_prompts"]  # fmt: skip
    assert both[quality].tolist() == only[quality].tolist()
    assert both["decode_tokens_per_s"] == alone["decode_tokens_per_s"] != only["decode_tokens_per_s"]
    assert (both["decode_source"], both["decode_n"], both["decode_reply_tokens"]) == ("forced", 8, 128)
    assert (only["decode_source"], only["decode_n"]) == ("natural", 12)
    assert (
        alone["n_prompts"] == 0
        and math.isnan(alone["latency_median_s"])
        and math.isnan(alone["tokens_per_s"])
    )


def test_trials_of_one_prompt_count_once():
    rng = np.random.default_rng(1)
    slow = [made_up_artifact(rng, "A", 10.0, 4.0, 0, trial, 50, 20, True) for trial in range(20)]
    fast = [made_up_artifact(rng, "A", 1000.0, 4.0, i, 0, 50, 20, True) for i in range(1, 7)]
    row = row_of(tables.results(MadeUpRun([*slow, *fast], {})), "A")
    assert row["n_prompts"] == row["n_judged"] == 7
    assert row["latency_median_s"] < 0.1 < row["latency_mean_s"] < 1 < row["latency_max_s"]


def test_percentiles_need_their_n_and_say_so(table):
    row = row_of(table, "gguf:pocket-s")
    assert row["n_prompts"] == 60 and row["latency_p95_s"] > row["latency_median_s"]
    assert row["latency_p95_s_upper"] >= row["latency_p95_s"] and math.isnan(row["latency_p99_s"])
    assert row["latency_note"] == "n too small: p99 needs 299 values, there are 60"
    many_trials = row_of(tables.results(made(n_prompts=12, trials=6)), "A")
    assert math.isnan(many_trials["latency_p95_s"])  # 72 requests, but 12 prompts


def test_a_fixed_set_has_no_intervals():
    row = row_of(tables.results(made(n_prompts=3, trials=3, speed=0)), "A")
    assert row["n_prompts"] == 3 and row["latency_median_s"] > 0
    assert row[["latency_median_s_low", "latency_median_s_high", "ttft_median_ms_low"]].isna().all()
    compared = tables.compare(tables.results(made(n_prompts=3, speed=3)))
    assert set(compared["verdict"]) == {"fixed set"} and compared["low"].isna().all()


def test_throughput_is_a_ratio_of_sums(table):
    rows_ = table[(table["configuration"] == "gguf:pocket-m") & (table["purpose"] == "quality")]
    row = row_of(table, "gguf:pocket-m")
    assert row["tokens_per_s"] == pytest.approx(rows_["n_output_tokens"].sum() / rows_["latency_s"].sum())
    assert row["tokens_per_min"] == pytest.approx(60 * row["tokens_per_s"])
    assert row["requests_per_min"] == pytest.approx(60 * 60 / rows_["latency_s"].sum())


def test_tokens_of_failed_replies_are_no_throughput():
    run = made(speed=0)
    for row in run.rows[:3]:  # they ran into the time limit after some tokens, which were counted
        row["recording"]["state"] = "timeout"
    natural = tables.results(run)
    mine = natural[natural["configuration"] == "A"]
    tokens = mine["n_output_tokens"][mine["state"] == "ok"].sum()
    assert mine["n_output_tokens"].sum() > tokens
    assert row_of(natural, "A")["tokens_per_s"] == pytest.approx(tokens / mine["latency_s"].sum())


def test_prefill_speed_is_a_ratio_of_sums():
    run = made(speed=0)
    for row in run.rows:  # a prompt of 10 tokens at 100 tokens/s, the others of 1,000 at 1,000 tokens/s
        n, ms = (10, 100.0) if row["prompt_index"] == 0 else (1000, 1000.0)
        row["recording"]["server_timings"] = {"eval_ms": 1.0, "prompt_eval_ms": ms, "n_prompt_eval": n}
    table = tables.results(run)
    assert table[["n_new_prompt_tokens", "prefill_ms"]].iloc[0].tolist() == [10, 100.0]
    assert row_of(table, "A")["prefill_tokens_per_s"] == pytest.approx((10 + 11 * 1000) / (0.1 + 11 * 1.0))
    assert math.isnan(row_of(tables.results(made(speed=0)), "A")["prefill_tokens_per_s"])


def test_the_memory_delta_is_the_median_and_the_peak_the_largest():
    run = made(speed=0)
    run.rows[0]["memory"]["process"] |= {"delta_mib": 500.0, "peak_mib": 500.0}
    row = row_of(tables.results(run), "A")
    assert row["memory_delta_mib"] == pytest.approx(0.8) and row["peak_memory_mib"] == 500


def test_identical_replies_are_counted_by_prompt():
    """Trap: a seed taken for determinism."""
    run = made(trials=3, speed=0)
    run.rows[1]["response"] += " and more"  # A's second trial of prompt 0
    run.rows[4]["recording"]["state"] = "timeout"  # and of prompt 1, which leaves two identical ones
    run.rows[4]["response"] = ""
    summary = tables.summarize(tables.results(run)).set_index("configuration")
    assert summary["identical_share"].tolist() == [pytest.approx(11 / 12), 1.0]
    assert summary["n_repeated"].tolist() == [12, 12]
    once = row_of(tables.results(made(trials=1)), "A")
    assert math.isnan(once["identical_share"]) and once["n_repeated"] == 0


def test_unknown_token_counts_are_not_zero_tokens():
    run = made(speed=0)
    run.rows[0]["recording"]["counts"] = {}
    assert math.isnan(row_of(tables.results(run), "A")["tokens_per_s"])


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_artifacts_changes_nothing(seed):
    run = made(n_prompts=8, trials=2)
    mixed = MadeUpRun(random.Random(seed).sample(run.rows, len(run.rows)), run.manifest)
    a, b = (tables.summarize(tables.results(r)).set_index("configuration").sort_index() for r in (run, mixed))
    pd.testing.assert_frame_equal(a, b)
    cards = [
        {(c.title, c.winner, c.outcome, c.value, c.n) for c in tables.cards(tables.results(r))}
        for r in (run, mixed)
    ]
    assert cards[0] == cards[1]


def test_a_table_from_elsewhere_needs_few_columns():
    plain = pd.DataFrame({"configuration": ["A"] * 6, "prompt_set": "s", "prompt_index": range(6), "trial": 0,
                          "purpose": "quality", "state": "ok", "latency_s": [1.0, 2, 3, 4, 5, 6]})  # fmt: skip
    row = row_of(plain, "A")
    assert (
        row["latency_median_s"] == 3.5 and row["latency_median_s_low"] == 1 and math.isnan(row["pass_rate"])
    )


# ---------------------------------------------------------------- quality


def test_pass_rates_count_prompts_and_shares_of_trials():
    run = made(n_prompts=20, trials=2, speed=0)
    run.rows[0]["checks"] = [{**c, "passed": not c["passed"]} for c in run.rows[0]["checks"]]
    table = tables.results(run)
    rates = tables.pass_rates(table, by=())
    assert rates["n"].tolist() == [20, 20]
    assert rates["pass_rate"].tolist() == tables.summarize(table)["pass_rate"].tolist()
    by_category = tables.pass_rates(table, by=["category"])
    assert by_category.groupby("configuration")["n"].sum().tolist() == [20, 20]
    assert by_category["passed"].sum() == pytest.approx(rates["passed"].sum())
    interval = stats.wilson(rates["passed"][0], 20)
    assert (rates["low"][0], rates["high"][0]) == (interval.low, interval.high)
    with pytest.raises(BenchkitError, match="colour"):
        tables.pass_rates(table, by=["colour"])


def test_a_failed_request_failed_the_checks_of_its_prompt():
    run = made(n_prompts=10, speed=0)
    lost = next(row for row in run.rows if row["model"] == "A" and row["category"] == "extraction")
    lost["recording"]["state"], lost["checks"] = "timeout", []
    rates = tables.pass_rates(tables.results(run)).set_index(["configuration", "category", "check"])
    assert rates.loc[("A", "extraction", "valid_json"), "passed"] == 0
    assert rates.loc[("A", "extraction", "valid_json"), "n"] == 1


# ---------------------------------------------------------------- comparisons and cards


def test_a_comparison_is_paired_by_prompt(table):
    found = tables.compare(table, "gguf:pocket-xs", "gguf:pocket-m").set_index("metric")
    assert found.index.tolist() == [
        "decode_tokens_per_s",
        "latency_s",
        "ttft_ms",
        "pass_rate",
        "seconds_per_correct",
    ]
    decode = found.loc["decode_tokens_per_s"]
    assert (
        decode["n"] == 6
        and decode["verdict"] == "gguf:pocket-xs faster"
        and decode["note"]
        == "forced length: replies of 128 and 128 tokens, prompts of 64.0 and 64.0 tokens (medians)"
    )
    assert decode["ratio"] == pytest.approx(1450 / 270, rel=0.1) and decode["low"] > 1
    assert found.loc["pass_rate", "verdict"] == "gguf:pocket-m better" and found.loc["pass_rate", "high"] < 0
    assert "tokens" in found.loc["latency_s", "note"]  # latencies stand beside the lengths of replies


def test_comparing_one_with_all_and_all_with_all(table):
    assert len(tables.compare(table)) == 5 * 6
    assert set(tables.compare(table, "gguf:pocket-m")["a"]) == {"gguf:pocket-m"}
    assert len(tables.compare(table, b="gguf:pocket-m")) == 5 * 3
    with pytest.raises(BenchkitError, match=r'did you mean "gguf:pocket-m"\?'):
        tables.compare(table, "gguf:pocket-mm", "gguf:pocket-s")
    with pytest.raises(BenchkitError, match="twice"):
        tables.compare(table, "gguf:pocket-s", "gguf:pocket-s")


def test_cards_name_a_winner_only_where_it_is_told_apart_from_all(table):
    fastest, best, smallest, fewest = tables.cards(table)
    assert (fastest.winner, fastest.n) == ("gguf:pocket-xs", 6) and "forced length" in fastest.reason
    assert best.leader == "gguf:pocket-m" and best.value.endswith(" %")
    assert smallest.winner == "gguf:pocket-s:Q4_K_M" and smallest.value == "2.60 MiB"
    assert fewest.leader == "gguf:pocket-xs" and fewest.value.endswith(" s")
    assert (fewest.winner, fewest.outcome) == (
        None,
        "not distinguishable",
    ) and "gguf:pocket-s:Q4_K_M" in fewest.reason


def test_equal_models_are_not_told_apart():
    family = {"A": (1000.0, 0.6, 4.0), "B": (1000.0, 0.6, 4.0), "C": (20.0, 0.0, 8.0)}
    cards = {card.title: card for card in tables.cards(tables.results(made_up_run(family, n_prompts=40)))}
    for title in ("fastest", "best quality", "smallest", "fewest seconds per correct answer"):
        assert cards[title].winner is None and cards[title].outcome == "not distinguishable", title
    assert (
        "not told apart from" in cards["fastest"].reason
        and "C" not in cards["fastest"].reason.split("from")[1]
    )


def test_cards_of_little():
    three = {card.title: card for card in tables.cards(tables.results(made(n_prompts=3, speed=3)))}
    assert three["fastest"].outcome == three["best quality"].outcome == "fixed set"
    assert three["fastest"].leader == "A" and three["fastest"].winner is None and three["fastest"].n == 3
    assert three["smallest"].winner == "A"
    one = tables.cards(tables.results(made_up_run({"A": FAMILY["A"]}, n_prompts=8)))
    assert {card.outcome for card in one} == {"only one"} and all(card.winner is None for card in one)


def test_a_model_that_is_never_right_never_wins():
    run = made_up_run(FAMILY, n_prompts=40)
    for row in run.rows:
        row["checks"] = [{**c, "passed": row["model"] == "B"} for c in row["checks"]]
    card = tables.cards(tables.results(run))[3]
    assert (card.leader, card.winner, card.outcome) == (
        "B",
        None,
        "no interval",
    ) and "never: A" in card.reason
    for row in run.rows:
        row["checks"] = [{**c, "passed": False} for c in row["checks"]]
    card = tables.cards(tables.results(run))[3]
    assert (card.winner, card.value) == (None, "never")
    assert math.isinf(row_of(tables.results(run), "A")["seconds_per_correct"])


def test_only_forced_lengths_decide_fastest():
    run = made(speed=8)
    for row in run.rows:  # B's forced replies are the faster ones, its natural ones stay slow
        if row["purpose"] == "speed":
            row["model"] = row["configuration"] = {"A": "B", "B": "A"}[row["model"]]
    assert tables.cards(tables.results(run))[0].winner == "B"
    partly = MadeUpRun([r for r in run.rows if r["purpose"] == "quality" or r["model"] == "A"], run.manifest)
    card = tables.cards(tables.results(partly))[0]
    assert card.outcome == "only one" and "nothing to compare of B" in card.reason


def test_one_right_answer_decides_nothing():
    run = made_up_run(FAMILY, n_prompts=40)
    for row in run.rows:
        right = row["model"] == "B" and row["prompt_index"] == 0
        row["checks"] = [{**c, "passed": right} for c in row["checks"]]
    card = tables.cards(tables.results(run))[3]
    assert (card.leader, card.winner, card.outcome) == (
        "B",
        None,
        "no interval",
    ) and "never: A" in card.reason


def test_who_cannot_be_measured_cannot_lose():
    run = made_up_run({**FAMILY, "C": (2000.0, 0.5, 1.0)}, n_prompts=12)
    for row in run.rows:
        if row["model"] == "C" and row["purpose"] == "speed":
            row["recording"]["state"] = "timeout"
    del run.manifest["models"]["C"]
    fastest, _, smallest, _ = tables.cards(tables.results(run))
    assert (fastest.leader, fastest.winner, fastest.outcome) == ("A", None, "no interval")
    assert "nothing to compare of C" in fastest.reason
    assert (smallest.leader, smallest.winner) == ("A", None) and "not known: C" in smallest.reason


def test_natural_lengths_make_nobody_the_fastest():
    table = tables.results(made(n_prompts=40, speed=0))
    fastest = tables.cards(table)[0]
    assert (fastest.leader, fastest.winner, fastest.outcome) == (None, None, "not measured")
    assert "--speed" in fastest.reason
    decode = tables.compare(table).set_index("metric").loc["decode_tokens_per_s"]
    assert decode["value_a"] > 1.5 * decode["value_b"] and decode["n"] == 40
    assert decode["verdict"] == "natural lengths: not compared"
    assert decode[["ratio", "low", "high"]].isna().all() and "natural length: replies of " in decode["note"]


def in_blocks(run: MadeUpRun, n_blocks: int, void: str = "") -> pd.DataFrame:
    """The run's table, its requests in blocks of their own for each configuration; one configuration's are void."""
    for position, row in enumerate(run.rows):
        row["block"] = {
            "id": f"{row['model']}-{row['prompt_index'] % n_blocks}",
            "position": position,
            "void": row["model"] == void,
            "reasons": ["9 % steal"] if row["model"] == void else [],
        }
    return tables.results(run)


def test_disturbed_blocks_name_no_winner_by_time():
    def found(void):
        table = in_blocks(made_up_run(FAMILY, n_prompts=40), 4, void)
        return tables.cards(table), tables.compare(table).set_index("metric")

    (fastest, best, smallest, cheapest), compared = found("")
    assert [card.winner for card in (fastest, best, smallest, cheapest)] == ["A"] * 4
    assert compared.loc["decode_tokens_per_s", "verdict"] == "A faster"
    for void in "AB":
        (fastest, best, smallest, cheapest), compared = found(void)
        assert best.winner == smallest.winner == "A"  # neither hangs on time
        for card in (fastest, cheapest):
            assert (card.leader, card.winner, card.outcome) == ("A", None, "disturbed")
            assert f"{void}: " in card.reason and "9 % steal" in card.reason
        for metric in ("decode_tokens_per_s", "ttft_ms", "seconds_per_correct"):
            assert (
                compared.loc[metric, "verdict"] == "disturbed" and "9 % steal" in compared.loc[metric, "note"]
            )
        assert compared.loc["pass_rate", "verdict"] == "A better"


def test_stamps_that_cannot_be_right_name_no_winner_by_time():
    run = made_up_run(FAMILY, n_prompts=40)
    run.rows[0]["recording"]["t_first_byte_ns"] = -5
    fastest, best, _, cheapest = tables.cards(tables.results(run))
    assert fastest.outcome == cheapest.outcome == "invalid" and best.winner == "A"


def test_one_block_each_cannot_tell_drift_from_the_model():
    table = in_blocks(made_up_run(FAMILY, n_prompts=40), 1)
    fastest, best, _, cheapest = tables.cards(table)
    assert (
        fastest.outcome == cheapest.outcome == "one block each" and fastest.winner is cheapest.winner is None
    )
    assert "drift cannot be told from the model" in fastest.reason and best.winner == "A"
    compared = tables.compare(table).set_index("metric")
    assert compared.loc["latency_s", "verdict"] == "one block each"
    assert "drift" in compared.loc["latency_s", "note"]


def test_the_smallest_difference_comes_from_the_first_two_trials():
    table = tables.results(made(n_prompts=30, trials=2))
    found = tables.smallest_distinguishable(table).set_index("configuration")
    assert found.loc["A", "n"] == 30 and 1 < found.loc["A", "decode_tokens_per_s"] < 1.1
    assert tables.smallest_distinguishable(tables.results(made(trials=1)))["latency_s"].isna().all()


# ---------------------------------------------------------------- several runs


def elsewhere(run: MadeUpRun, name: str = "elsewhere") -> MadeUpRun:
    return MadeUpRun(copy.deepcopy(run.rows), run.manifest, folder=Path(name))


def test_configurations_of_one_name_in_two_runs_are_not_pooled():
    run = made()
    table = tables.results([run, elsewhere(run)])
    assert tables.summarize(table)["configuration"].tolist() == [
        "A [made-up]",
        "B [made-up]",
        "A [elsewhere]",
        "B [elsewhere]",
    ]
    assert tables.summarize(table)["n_requests"].tolist() == [18] * 4
    compared = tables.compare(table, "A [made-up]", "A [elsewhere]").set_index("metric")
    assert (
        compared.loc["latency_s", "verdict"] == "not distinguishable" and compared.loc["latency_s", "n"] == 12
    )
    assert "different runs" in compared.loc["latency_s", "note"]
    assert all("different runs" in card.reason for card in tables.cards(table) if card.title != "smallest")
    assert set(tables.results([elsewhere(run, "a/x"), elsewhere(run, "b/x")])["run"]) == {"x", "x (2)"}


def test_runs_of_different_models_keep_their_names():
    other = made_up_run({"C": FAMILY["A"]}, n_prompts=12)
    table = tables.results([made(), MadeUpRun(other.rows, other.manifest, folder=Path("other"))])
    assert tables.summarize(table)["configuration"].tolist() == ["A", "B", "C"]


def test_prompts_that_differ_in_text_are_not_paired():
    run, other = made(speed=0), elsewhere(made(speed=0))
    for row in other.rows:
        if row["prompt_index"] < 5:
            row["prompt"] = "A newer version of this prompt."
    table = tables.results([run, other])
    assert set(table["prompt_set"]) == {"categories", "categories (text 2)"}
    compared = tables.compare(table, "A [made-up]", "A [elsewhere]").set_index("metric")
    assert compared.loc["latency_s", "n"] == 7


# ---------------------------------------------------------------- the verdict


def judged(change=None, **facts) -> tables.Verdict:
    run = made(speed=0)
    if change:
        for row in run.rows:
            change(row)
    for name, value in facts.items():
        setattr(run, name, value)
    return tables.verdict(run)


def test_a_sound_run_is_valid_and_wrong_answers_do_not_change_that():
    assert judged().state == "VALID" and judged().reasons == ()
    assert (
        judged(lambda row: row.update(checks=[{"check": "x", "passed": False, "reason": ""}])).state
        == "VALID"
    )


@pytest.mark.parametrize("state", ["running", "interrupted", "failed"])
def test_an_unfinished_run_is_inconclusive(state):
    found = judged(status={"state": state, "done": 5, "total": 24})
    assert found.state == "INCONCLUSIVE" and "5 of 24" in found.reasons[0]


def test_unreadable_artifacts_and_missing_models_are_told():
    found = judged(problems=["x.json: not complete JSON"])
    assert found.state == "INCONCLUSIVE" and "x.json" in found.reasons[0]
    found = judged(failed={"gguf:big": "needs 9 GB"})
    assert found.state == "VALID" and "gguf:big could not be measured: needs 9 GB" in found.notes


def test_another_engine_between_sessions_makes_a_run_inconclusive():
    notes = ['packages.llama-cpp-python was "0.3.15", is "0.3.16" now', 'llama_cpp.AVX2 was "0", is "1" now',
             'packages.numpy was "2.0", is "2.1" now']  # fmt: skip
    run = made(speed=0)
    run.manifest["sessions"] = [{"notes": []}, {"notes": notes}]
    found = tables.verdict(run)
    assert found.state == "INCONCLUSIVE"
    assert found.reasons == tuple(f"changed during the run: {note}" for note in notes[:2])
    assert f"changed during the run: {notes[2]}" in found.notes


def test_failures_are_counted_and_too_many_void_the_run():
    def fail(row, below):
        if row["prompt_index"] < below and row["model"] == "A":
            row["recording"]["state"] = "timeout"

    found = judged(lambda row: fail(row, 2))
    assert found.state == "INCONCLUSIVE" and "A: 2 of 12 requests failed (2 timeout)" in found.reasons[0]
    assert judged(lambda row: fail(row, 7)).state == "INVALID"
    assert judged(lambda row: row["recording"].update(state="error")).state == "INVALID"


def test_time_that_nobody_accounts_for_makes_a_run_inconclusive():
    def explain(row, share):
        total_ms = 1000 * row["latency_s"]
        row["recording"]["server_timings"] = {"eval_ms": share * total_ms, "prompt_eval_ms": 0.0, "n_eval": 3}

    assert judged(lambda row: explain(row, 0.96)).state == "VALID"
    found = judged(lambda row: explain(row, 0.90))
    assert (
        found.state == "INCONCLUSIVE"
        and "10.0 % of the response time is unexplained (more than 5 %)" in found.reasons[0]
    )
    assert any("cannot be checked" in note for note in judged().notes)  # engines that give no times


def test_the_last_health_record_of_a_block_decides():
    def block(row, void_at):
        position = row["prompt_index"]
        void = position >= void_at
        row["block"] = {
            "id": "01-0001",
            "position": position,
            "void": void,
            "reasons": ["9 % steal"] if void else [],
        }

    assert judged(lambda row: block(row, 99)).state == "VALID"
    found = judged(lambda row: block(row, 11))
    assert (
        found.state == "INCONCLUSIVE"
        and found.reasons[0] == "A: 1 of 1 block of requests disturbed: 9 % steal"
    )


def test_stamps_that_contradict_each_other_void_the_run():
    found = judged(lambda row: row["recording"].update(t_sent_ns=10**15))
    assert found.state == "INVALID" and "time stamps contradict" in found.reasons[0]


def test_the_verdict_of_each_configuration_is_in_the_summary():
    run = made(speed=0)
    for row in run.rows:
        if row["model"] == "A" and row["prompt_index"] < 3:
            row["recording"]["state"] = "error"
    summary = tables.summarize(tables.results(run)).set_index("configuration")
    assert summary["verdict"].to_dict() == {"A": "INCONCLUSIVE", "B": "VALID"}
    assert "3 of 12" in summary.loc["A", "verdict_reasons"] and summary.loc["B", "verdict_reasons"] is None


# ---------------------------------------------------------------- export

NASTY = ["=1+1", "+1", "-2", "@SUM(A1)", '=HYPERLINK("http://x","y")', "\t=1", "\r=1", "#N/A", "plain", "", "null \0 esc \x1b[31m",
         "half \ud800", "x" * 40_000, "😀" * 20_000, "_x0041_", "line\nbreak", "a,b;\"c\""]  # fmt: skip


def nasty_table() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    artifacts = [made_up_artifact(rng, "=A1", 1000.0, 4.0, i, 0, 3, 20, True) for i in range(len(NASTY))]
    for artifact, text in zip(artifacts, NASTY, strict=True):
        artifact["response"] = text
    return tables.results(MadeUpRun(artifacts, {}))


def test_excel_keeps_replies_as_text(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    path = tables.export(nasty_table(), tmp_path / "r.xlsx")
    sheet = openpyxl.load_workbook(path).active
    header = [cell.value for cell in sheet[1]]
    assert header == [name for name in rows.COLUMNS if name != "nll_by_window"]
    kinds = {cell.data_type for line in sheet.iter_rows() for cell in line}
    assert not kinds & {"f", "e"}  # no formula, no error value
    replies = [line[header.index("response")] for line in sheet.iter_rows(min_row=2)]
    for cell, text in zip(replies, NASTY, strict=True):
        assert len((cell.value or "").encode("utf-16-le")) <= 2 * EXCEL_CELL
        if text.isprintable() and 0 < len(text) < EXCEL_CELL and not text.startswith("😀"):
            assert cell.value == text and cell.data_type == "s"
    assert replies[0].quotePrefix  # a formula even after somebody edits the cell it is not
    assert "cut: 40,000 characters" in replies[NASTY.index("x" * 40_000)].value
    assert "␛[31m" in replies[10].value and "␀" in replies[10].value
    number = sheet.cell(2, header.index("latency_s") + 1)
    assert number.data_type == "n" and number.value == nasty_table()["latency_s"].iloc[0]


def test_csv_begins_no_cell_like_a_formula(tmp_path):
    path = tables.export(nasty_table(), tmp_path / "r.csv")
    back = pd.read_csv(path, keep_default_na=False)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")  # so that Excel reads UTF-8
    assert not [v for v in back["response"] if v.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert back["response"][0] == "'=1+1" and back["response"][8] == "plain"
    assert json.loads(back["checks"][0])[0]["check"] == "valid_json"
    assert back["latency_s"].astype(float).tolist() == nasty_table()["latency_s"].tolist()


def test_parquet_keeps_everything(tmp_path):
    pytest.importorskip("pyarrow")
    table = nasty_table()
    back = pd.read_parquet(tables.export(table, tmp_path / "r.parquet"))
    same = [text for text in NASTY if "\ud800" not in text]
    assert [v for v in back["response"] if "half" not in v] == same
    assert back["latency_s"].tolist() == table["latency_s"].tolist() and back["correct"].tolist() == [
        True
    ] * len(NASTY)


@pytest.mark.parametrize("ending", [".csv", ".xlsx", ".parquet"])
def test_summaries_and_empty_tables_can_be_exported(ending, tmp_path):
    if ending != ".csv":
        pytest.importorskip("openpyxl" if ending == ".xlsx" else "pyarrow")
    run = made(n_prompts=2)
    for row in run.rows:
        row["checks"] = [{"check": "x", "passed": False, "reason": ""}]  # seconds per correct answer: never
    for table in (tables.summarize(tables.results(run)), tables.results([])):
        assert export(table, tmp_path / f"t{ending}").stat().st_size > 0


def test_export_says_what_is_wrong(tmp_path, monkeypatch):
    table = tables.results([])
    with pytest.raises(BenchkitError, match=r"can be \.csv, \.xlsx, \.parquet"):
        export(table, tmp_path / "r.xls")
    with pytest.raises(BenchkitError, match="does not exist"):
        export(table, tmp_path / "no" / "r.csv")
    for package, name in (("openpyxl", "r.xlsx"), ("pyarrow", "r.parquet")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(BenchkitError, match=f"pip install {package}"):
            export(table, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_verdict_shows_escapes_and_does_not_obey_them():
    found = Verdict("INVALID", ("state \x1b[2J",), ("note \x1b]0;title\x07",))
    line = compare.verdict_line("run\x1b[31m", found)
    assert "\x1b" not in line and "\x07" not in line
    assert "state ⟨ESC⟩[2J" in line
