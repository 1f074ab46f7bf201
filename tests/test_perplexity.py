"""Perplexity: the same as by hand and as llama.cpp's own tool, and one clear message for what cannot be scored."""

import json
import math
import random
import shutil
import struct
import subprocess
import sys

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchkit import perplexity as ppl
from benchkit import perplexity_child, places
from benchkit.backends.worker import Refused
from benchkit.cli import main
from benchkit.errors import BenchkitError, ModelError

pytestmark = pytest.mark.real

MODEL = places.MODELS / "pocket-xs.gguf"
WINDOW = 64


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """The beginning of the shipped prose: about 1,000 tokens."""
    path = tmp_path_factory.mktemp("text") / "prose.txt"
    path.write_bytes(ppl.DEFAULT_TEXT.read_bytes()[:2000] + b"\n")
    return path


@pytest.fixture(scope="module")
def with_bos(tmp_path_factory):
    """The same model, but its vocabulary wants a start token."""
    data = bytearray(MODEL.read_bytes())
    at = data.index(b"tokenizer.ggml.add_bos_token") + len("tokenizer.ggml.add_bos_token")
    assert data[at : at + 5] == struct.pack("<I?", 7, False)
    data[at + 4] = 1
    path = tmp_path_factory.mktemp("models") / "with-bos.gguf"
    path.write_bytes(data)
    return path


def measure(model, text, **settings):
    return ppl.perplexity(str(model), text, **{"window": WINDOW, "n_threads": 1, "progress": False, **settings})


def scores(path, text, window=WINDOW):
    return ppl.score([path], text.read_bytes(), window, n_threads=1)


def by_hand(path, text, window, add_bos):
    """−ln p of the second half of every window, slowly: a window at a time, all logits, float64."""
    from llama_cpp import Llama

    llama = Llama(str(path), n_ctx=window, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False)
    tokens = llama.tokenize(text.read_bytes()[:-1], add_bos=add_bos, special=False)
    found = []
    for begin in range(0, len(tokens) - window + 1, window):
        part = tokens[begin : begin + window]
        llama.reset()
        llama.eval([llama.token_bos(), *part[1:]] if add_bos else part)
        for target in range(window // 2 + 1, window):
            logits = llama.scores[target - 1].astype(np.float64)
            found.append(np.log(np.exp(logits).sum()) - logits[part[target]])
    llama.close()
    return np.reshape(found, (-1, window // 2 - 1)), len(tokens)


# ---------------------------------------------------------------- the value


def test_every_scored_token_is_as_by_hand(text):
    expected, n_tokens = by_hand(MODEL, text, WINDOW, add_bos=False)
    found = scores(MODEL, text)
    assert found.facts["n_tokens"] == n_tokens and found.facts["bos"] is False
    assert found.nll.shape == expected.shape and len(expected) >= 10
    assert np.allclose(found.nll, expected, atol=0.02)
    assert found.nll.mean() == pytest.approx(expected.mean(), abs=1e-3)


def test_the_first_token_of_each_window_is_bos_where_the_vocabulary_wants_it(text, with_bos):
    expected, n_tokens = by_hand(with_bos, text, WINDOW, add_bos=True)
    found, without = scores(with_bos, text), scores(MODEL, text)
    assert found.facts["n_tokens"] == n_tokens == without.facts["n_tokens"] + 1 and found.facts["bos"] is True
    assert np.allclose(found.nll, expected, atol=0.02)
    assert abs(found.nll.mean() - without.nll.mean()) > 1e-3


def test_a_window_longer_than_a_batch_is_read_in_parts(text, monkeypatch):
    def run():
        return perplexity_child.run([str(MODEL)], text.read_text(), 256, 1, lambda progress: None)["nll"]

    whole = run()
    monkeypatch.setattr(perplexity_child, "N_BATCH", 96)
    assert np.allclose(run(), whole, atol=0.02)


def test_one_line_end_is_dropped_and_no_more(text, tmp_path):
    other = tmp_path / "text.txt"
    n = {}
    for end in (b"", b"\n", b"\n\n"):
        other.write_bytes(text.read_bytes()[:-1] + end)
        n[end] = scores(MODEL, other).facts["n_tokens"]
    assert n[b""] == n[b"\n"] == n[b"\n\n"] - 1


def test_special_tokens_in_a_text_are_text(tmp_path):
    plain, special = tmp_path / "plain.txt", tmp_path / "special.txt"
    plain.write_text("a b " * 100)
    special.write_text("a b " * 100 + "<|im_end|>")
    assert scores(MODEL, special, 32).facts["n_tokens"] > scores(MODEL, plain, 32).facts["n_tokens"] + 1


def test_what_a_measurement_says(text):
    found = measure("gguf:pocket-xs", text)
    assert found.n_scored == found.n_windows * (WINDOW // 2 - 1)
    assert found.n_windows == found.n_tokens // WINDOW
    assert (found.window, found.stride, found.bos, found.n_threads) == (WINDOW, WINDOW, False, 1)
    assert found.text == str(text) and len(found.text_sha256) == 64
    assert 1 < found.perplexity < 10 and 0 < found.se_llama_cpp < found.perplexity and 0 < found.seconds
    assert "reference" not in found.to_dict()


# ---------------------------------------------------------------- against a reference


def test_a_model_does_not_diverge_from_itself(text):
    found = measure("gguf:pocket-xs", text, against="gguf:pocket-xs").against
    assert (found.kld, found.kld_max, found.ln_ppl_difference) == (0, 0, 0)
    assert found.same_top_share == 1


def test_a_quantised_model_diverges_and_both_ways_of_comparing_agree(text):
    found = measure("gguf:pocket-xs:Q3_K_S", text, against="gguf:pocket-xs")
    d = found.against
    assert 0 <= d.kld_median < d.kld < d.kld_p99 < d.kld_max and 0 < d.kld_se < d.kld
    assert 0.5 < d.same_top_share < 1
    assert d.ln_ppl_difference == pytest.approx(math.log(found.perplexity / d.reference_perplexity))
    assert d.reference_perplexity == pytest.approx(measure("gguf:pocket-xs", text).perplexity)
    assert found.to_dict()["kld"] == d.kld


# ---------------------------------------------------------------- formulas

LOGITS = arrays(np.float32, (3, 7), elements=st.floats(-30, 30, width=32))
NLL = arrays(np.float64, st.tuples(st.integers(2, 6), st.integers(2, 6)), elements=st.floats(0, 9))


def plain_softmax(row):
    weights = [math.exp(float(x)) for x in row]
    return [weight / sum(weights) for weight in weights]


@given(LOGITS, st.lists(st.integers(0, 6), min_size=3, max_size=3))
def test_token_nll_is_the_plain_formula(logits, targets):
    expected = [-math.log(plain_softmax(row)[target]) for row, target in zip(logits, targets)]
    assert np.allclose(ppl.token_nll(logits, np.array(targets)), expected, atol=1e-4)


@given(LOGITS, LOGITS)
def test_token_kld_is_the_plain_formula_and_never_below_zero(logits, reference):
    kld, same = ppl.token_kld(logits, reference)
    expected = [
        sum(b * (math.log(b) - math.log(a)) for a, b in zip(plain_softmax(ours), plain_softmax(theirs)))
        for ours, theirs in zip(logits, reference)
    ]
    assert np.allclose(kld, expected, atol=1e-9) and (kld > -1e-12).all()
    assert same.tolist() == [row.argmax() == other.argmax() for row, other in zip(logits, reference)]


def test_rows_are_worked_on_in_blocks_without_a_seam(monkeypatch):
    random = np.random.default_rng(0)
    logits, other = random.normal(size=(2, 50, 9)).astype(np.float32)
    targets = random.integers(9, size=50)
    whole, kld = ppl.token_nll(logits, targets), ppl.token_kld(logits, other)[0]
    monkeypatch.setattr(ppl, "BLOCK_VALUES", 64)
    assert np.array_equal(ppl.token_nll(logits, targets), whole)
    assert np.array_equal(ppl.token_kld(logits, other)[0], kld)


def test_what_the_reference_rules_out_adds_nothing():
    half = np.log([[0.5, 0.5, 1e-300]])
    kld, _ = ppl.token_kld(half, np.array([[0.0, 0.0, -np.inf]]))
    assert kld == pytest.approx(0, abs=1e-12)
    kld, _ = ppl.token_kld(np.array([[0.0, -np.inf]]), np.array([[0.0, -np.inf]]))
    assert kld.tolist() == [0]


@given(NLL)
def test_perplexity_and_its_errors(nll):
    value, se, se_llama_cpp = ppl.perplexity_of(nll)
    assert math.log(value) == pytest.approx(nll.mean(), abs=1e-9)
    spread = math.sqrt(max(0, (nll**2).mean() - nll.mean() ** 2) / (nll.size - 1))  # as perplexity.cpp writes it
    assert se_llama_cpp == pytest.approx(value * spread, abs=1e-5 * value)
    repeated = ppl.perplexity_of(np.hstack([nll, nll, nll]))  # three times the tokens, nothing new about the windows
    assert repeated[1] == pytest.approx(se, abs=1e-6 * value)


def test_the_error_by_window_covers_what_the_error_by_token_does_not():
    """Windows on topics of their own: the true mean lies within 1.96 errors 95 times in 100 by window, not by token."""
    random, covered = np.random.default_rng(1), np.zeros(2)
    for _ in range(400):
        nll = 2 + random.normal(size=(60, 1)) * 0.3 + random.normal(size=(60, 30))
        value, *errors = ppl.perplexity_of(nll)
        covered += [abs(nll.mean() - 2) < 1.96 * error / value for error in errors]
    assert covered[0] / 400 > 0.92 and covered[1] / 400 < 0.80


# ---------------------------------------------------------------- what is refused


def refusal(capsys, *words):
    code = main(["perplexity", *map(str, words)])
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    assert captured.err.count("benchkit: ") == 1
    return code, captured.err


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["gguf:pocket-xs", "--window", "63"], 3, "even number"),
        (["gguf:pocket-xs", "--window", "6"], 3, "from 8 up"),
        (["gguf:pocket-xs", "--window", "1024"], 3, "The largest window is 512"),
        (["gguf:pocket-xs", "--threads", "0"], 3, "from 1 to 1,024"),
        (["gguf:pocket-xs", "--text", "no/such/file"], 3, "cannot be read"),
        (["ollama:llama3.2"], 4, "gguf:PATH"),
        (["openai:gpt"], 4, "gguf:PATH"),
        (["gguf:pocket-xs", "--against", "ollama:llama3.2"], 4, "gguf:PATH"),
        (["gguf:no-such"], 4, "no shipped model"),
        (["gguf:pocket-xs", "--window", "many"], 2, "--window"),
    ],
)
def test_one_clear_message(words, code, said, capsys):
    found, message = refusal(capsys, *words)
    assert found == code and said in message


def test_a_text_of_less_than_two_windows(text, capsys):
    code, message = refusal(capsys, "gguf:pocket-xs", "--text", text, "--window", "512")
    assert code == 3 and "two windows of 512 need 1,024" in message and "wiki.test.raw" in message
    largest = int(message.split("Take a window of at most ")[1].split(",")[0])
    assert measure("gguf:pocket-xs", text, window=largest).n_windows == 2
    with pytest.raises(BenchkitError, match="need"):
        measure("gguf:pocket-xs", text, window=largest + 2)


def test_an_empty_text(tmp_path):
    (tmp_path / "empty.txt").touch()
    with pytest.raises(BenchkitError, match="The text has 0 tokens"):
        measure("gguf:pocket-xs", tmp_path / "empty.txt")


def test_a_text_that_is_not_utf_8(tmp_path, capsys):
    path = tmp_path / "latin.txt"
    path.write_bytes("naïve ".encode("latin-1") * 500)
    code, message = refusal(capsys, "gguf:pocket-xs", "--text", path)
    assert code == 3 and "not UTF-8: byte 2" in message


@pytest.mark.parametrize("damage", ["cut short", "false magic", "cut in the header"])
def test_a_damaged_file(damage, text, tmp_path, capsys):
    data = MODEL.read_bytes()
    path = tmp_path / "damaged.gguf"
    path.write_bytes(
        {"cut short": data[:-50_000], "false magic": b"FUGG" + data[4:], "cut in the header": data[:5000]}[damage]
    )
    code, message = refusal(capsys, f"gguf:{path}", "--text", text)
    assert code == 4 and "damaged.gguf" in message


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_model_whose_weights_are_broken(bad):
    logits = np.zeros((1, 4), np.float32)
    broken = np.array([[bad, 0, 0, 0]], np.float32)
    for pair in ([broken], [broken, logits], [logits, np.full((1, 4), np.nan)]):
        with np.errstate(all="ignore"), pytest.raises(Refused, match="not a number"):
            perplexity_child._columns(pair, np.array([0]))


def test_another_vocabulary(text, tmp_path, capsys):
    name = b"<|im_start|>"
    token, other = struct.pack("<Q", 12) + name, struct.pack("<Q", 12) + b"<|im_begin|>"
    data = MODEL.read_bytes()
    assert data.count(token) == 1
    path = tmp_path / "other.gguf"
    path.write_bytes(data.replace(token, other))
    code, message = refusal(capsys, "gguf:pocket-xs", "--against", f"gguf:{path}", "--text", text)
    assert code == 3 and "differ from token 1 on" in message


# ---------------------------------------------------------------- the child


def test_a_crash_of_the_engine_is_a_message(text):
    def kill(*progress):
        for child in psutil.Process().children():
            if "benchkit.perplexity_child" in child.cmdline():
                child.kill()

    with pytest.raises(ModelError, match="engine process for .*pocket-xs.gguf ended"):
        ppl.score([MODEL], text.read_bytes() * 20, WINDOW, 1, kill)


def test_an_interruption_leaves_no_child_behind(text):
    def interrupt(*progress):
        raise KeyboardInterrupt

    before = psutil.Process().children()
    with pytest.raises(KeyboardInterrupt):
        ppl.score([MODEL], text.read_bytes() * 20, WINDOW, 1, interrupt)
    assert psutil.Process().children() == before


def test_the_child_ends_with_its_parent():
    child = subprocess.Popen(
        [sys.executable, "-m", "benchkit.perplexity_child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    request = {"paths": [str(MODEL)], "text": "a b c " * 300_000, "window": 512, "n_threads": 1}
    child.stdin.write(json.dumps(request).encode() + b"\n")
    child.stdin.close()
    assert child.wait(10) == 1
    child.stdout.close()


def test_progress_is_told_seldom_and_to_the_end(text):
    told = []
    found = ppl.score([MODEL], text.read_bytes() * 5, WINDOW, 1, lambda *progress: told.append(progress))
    done, total, last = told[-1]
    assert done == total == len(found.nll)
    assert last == pytest.approx(ppl.perplexity_of(found.nll)[0])
    assert [n for n, *_ in told] == sorted(n for n, *_ in told)
    assert len(told) <= 10 * found.facts["seconds"] + 2


# ---------------------------------------------------------------- the command and the text


def test_json_is_one_object_and_the_bar_is_on_standard_error(text):
    command = [sys.executable, "-m", "benchkit", "perplexity", "gguf:pocket-xs:Q4_K_M", "--text", str(text),
               "--window", "64", "--threads", "1", "--against", "gguf:pocket-xs", "--json"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=places.ROOT)
    found = json.loads(done.stdout)
    names = "perplexity se se_llama_cpp n_scored n_tokens n_windows window stride bos text_sha256 model kld kld_p99 same_top_share"
    assert set(names.split()) <= set(found)
    assert not set("{}") & set(done.stderr)


def test_the_command_prints_what_it_found(text, capsys):
    assert main(["perplexity", "gguf:pocket-xs", "--text", str(text), "--window", "64", "--threads", "1"]) == 0
    assert "perplexity" in capsys.readouterr().out


def test_the_shipped_text_is_long_enough_and_was_not_trained_on():
    sys.path.insert(0, str(places.MODELS))
    import corpus
    import lexicon
    from prose import prose

    text = ppl.DEFAULT_TEXT.read_text(encoding="utf-8")
    assert len(text) > 400_000  # 205 thousand tokens
    facts = tuple(definition for definition, *_ in lexicon.TOPICS.values())  # essays may share facts, as the card says
    stories = {line for line in text.split("\n\n") if not line.startswith(facts)}
    rng = random.Random(3)
    trained = {line for _ in range(5000) for line in prose(rng, "train").split("\n\n")}
    assert len(stories) > 1000 and not stories & trained
    held_out = set(corpus.names("eval") + corpus.cities("eval"))
    assert held_out & set(text.replace(".", " ").replace(",", " ").split())


# ---------------------------------------------------------------- minutes long


@pytest.mark.slow
def test_it_is_llama_perplexity(capsys):
    """Runs the benchmark as anyone would. A value is no timing: it must agree."""
    if not shutil.which("cmake"):
        pytest.skip("needs cmake")
    command = [sys.executable, str(places.ROOT / "benchmarks" / "perplexity.py"), "value", "--json",
               "--models", "gguf:pocket-xs,gguf:pocket-s:Q4_K_M"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(done.stdout)["value"]
    with capsys.disabled():
        for row in rows:
            print(f"\n{row['model']}: {row['ours']:.4f}, llama-perplexity {row['llama_perplexity']:.4f}")
    assert len(rows) == 2 and all(row["reached"] for row in rows), rows
    assert all(row["our_se_llama_cpp"] == pytest.approx(row["llama_perplexity_se"], rel=0.01) for row in rows)
