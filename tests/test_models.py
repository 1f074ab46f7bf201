"""The pocket models: files, metadata, tokenizer, split of the corpus, and what pocket-m must be able to do."""

import json
import random
import re
import sys
from itertools import islice
from pathlib import Path

import jinja2
import llama_cpp
import pytest
from tokenizers import Tokenizer

MODELS = Path(__file__).resolve().parent.parent / "models"
sys.path.insert(0, str(MODELS))

import corpus  # noqa: E402
from evaluate import answer, load, passes, wilson  # noqa: E402

pytestmark = pytest.mark.real

NAMES = ["pocket-xs", "pocket-s", "pocket-m"]
PARAMETERS = {"pocket-xs": 1_443_584, "pocket-s": 3_672_320, "pocket-m": 8_655_104}
RELEASED = [  # the released prompts, written out here so that the corpus cannot move the goal
    "Summarize: Large language models are useful but require careful evaluation.",
    "Extract JSON with keys {name, email} from: 'Name: Sam, Email: sam@example.com'",
    "Write 3 bullet points about caching.",
    "Explain the concept of artificial intelligence in simple terms.", "Write a short poem about technology.",
    "Summarize the key benefits of renewable energy.",
    "What are the main differences between classical and quantum computing?",
    "Describe the process of photosynthesis in plants.",
]


@pytest.fixture(scope="module")
def training_sample() -> list[list[corpus.Segment]]:
    return list(islice(corpus.documents(0), 60_000))


@pytest.fixture(scope="module")
def medium() -> llama_cpp.Llama:
    return load(MODELS / "pocket-m.gguf", n_threads=2)


@pytest.fixture(scope="module")
def vocabularies() -> list[llama_cpp.Llama]:
    return [llama_cpp.Llama(str(MODELS / f"{name}.gguf"), vocab_only=True, verbose=False) for name in NAMES]


def odd_lines(n: int) -> list[str]:
    """Lines of anything: scripts, emoji, quotes, digits, runs of blanks and tabs."""
    rng = random.Random(1)
    pieces = ["héllo", "naïve", "straße", "Привет", "мир", "日本語", "テスト", "한국어", "العربية", "हिन्दी", "🙂", "👩‍🚀", "🇫🇷", "½", "²", "x²", "①",
              "12345", "3.14", "1,000", "٣", "don't", "I'll", "we've", "'s", "...", "—", "«ok»", "\t", "  ", "   ", " ", "\u00a0", "\u3000", "a_b", "C++",
              "{}", '{"k":', "://", "#", "word", " word", "UPPER", "e\u0301", "\r", "ﬁ", "\u200b", "€5", "a\u0300b", "𝔘𝔫𝔦", "ǅ", "``` "]
    return ["".join(rng.choice(pieces) + rng.choice(["", "", " ", "  "]) for _ in range(rng.randint(1, 12))) for _ in range(n)]


def held_out_lines() -> list[str]:
    lines = odd_lines(400)
    for task in corpus.TASKS:
        lines += [text for item in islice(corpus.items(task, "eval", 3), 30) for text in (item.prompt, item.reply)]
    return lines


def test_llama_cpp_tokenises_as_the_tokenizer_we_trained(vocabularies):
    reference = Tokenizer.from_file(str(MODELS / "tokenizer.json"))
    lines = held_out_lines()
    assert len(lines) >= 1000
    for llm in vocabularies:
        for line in lines:
            assert llm.tokenize(line.encode(), add_bos=False, special=False) == reference.encode(line).ids, repr(line)


def test_every_text_survives_the_tokenizer(vocabularies):
    for line in odd_lines(200):
        ids = vocabularies[0].tokenize(line.encode(), add_bos=False, special=False)
        assert vocabularies[0].detokenize(ids).decode() == line


def test_files_are_small_enough_for_git():
    assert sum((MODELS / f"{name}.gguf").stat().st_size for name in NAMES) <= 30e6


@pytest.mark.parametrize("name", NAMES)
def test_metadata_says_what_the_model_is(name):
    llm = load(MODELS / f"{name}.gguf", n_threads=1)
    meta = llm.metadata
    assert (meta["general.architecture"], meta["general.name"], meta["general.license"]) == ("llama", name, "MIT")
    assert meta["general.file_type"] == "1"  # mostly F16
    assert int(meta["llama.context_length"]) >= 512
    for width in ("llama.embedding_length", "llama.feed_forward_length"):
        assert int(meta[width]) % 256 == 0, f"{width}: every K-quant needs a multiple of 256"
    assert llama_cpp.llama_model_n_params(llm.model) == PARAMETERS[name]


def test_chat_template_is_what_the_models_were_trained_on(vocabularies):
    for llm in vocabularies:
        template = jinja2.Environment().from_string(llm.metadata["tokenizer.chat_template"])
        shown = template.render(messages=[{"role": "user", "content": "Hello!"}], add_generation_prompt=True)
        assert shown == corpus.CHAT.format("Hello!")
        ids = llm.tokenize(shown.encode(), add_bos=False, special=True)
        assert (ids[0], llm.token_eos(), llm.token_bos()) == (1, 2, 0)


@pytest.mark.parametrize("name", NAMES)
def test_the_end_token_stops_generation(name):
    llm = load(MODELS / f"{name}.gguf", n_threads=2)
    choice = llm.create_chat_completion([{"role": "user", "content": "Hello!"}], temperature=0, max_tokens=60)["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert "<|" not in choice["message"]["content"]


def test_released_prompts_are_never_trained_on(training_sample):
    for document in training_sample:
        text = "".join(part for part, _ in document)
        found = [prompt for prompt in RELEASED if prompt in text] + re.findall(r"\b(?:15 × 23|23 × 15)\b", text)
        assert not found and "example.com" not in text and "Name: Sam," not in text, text


def trained_prompts(sample: list[list[corpus.Segment]]) -> set[str]:
    before, after = corpus.CHAT.split("{}")
    return {document[0][0].removeprefix(before).removesuffix(after) for document in sample}


def test_no_prompt_set_was_trained_on(training_sample):
    sets = sorted((MODELS.parent / "prompts").glob("*.jsonl"))
    lines = [json.loads(line) for path in sets for line in path.read_text(encoding="utf-8").splitlines()]
    prompts = {line["prompt"] for line in lines if "prompt" in line}
    assert len(prompts) >= 70
    assert not prompts & trained_prompts(training_sample)


def test_evaluation_never_meets_training(training_sample):
    prompts = trained_prompts(training_sample)
    for task in set(corpus.TASKS) - {"small talk"}:
        for item in islice(corpus.items(task, "eval", 7), 200):
            assert item.prompt not in prompts, item.prompt


def test_no_reserved_name_or_city_is_in_training(training_sample):
    words = set("".join(part for document in training_sample for part, _ in document).replace("'", " ").split())
    reserved = set(corpus.names("eval") + corpus.cities("eval"))
    assert len(reserved) > 30
    assert not reserved & {w.strip('.,:;"?!|') for w in words} - {"Will", "Mark", "Art"}


def test_the_corpus_is_the_same_for_the_same_seed():
    assert list(islice(corpus.documents(5), 50)) == list(islice(corpus.documents(5), 50))
    assert list(islice(corpus.documents(5), 50)) != list(islice(corpus.documents(6), 50))


def test_held_out_prose_is_what_the_generator_writes():
    assert (MODELS / "eval_text.txt").read_text(encoding="utf-8") == corpus.held_out_prose()


def test_every_reference_answer_passes_its_own_check():
    for task in corpus.TASKS:
        for item in islice(corpus.items(task, "eval", 11), 50):
            assert passes(item, item.reply), item


def test_wilson_interval_of_a_known_case():
    low, high = wilson(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)


def test_pocket_m_extracts_two_keys(medium):
    """Another 60 items than the card's 300; a model that gets 95 % of all gets 54 of 60 or more 97 times in 100."""
    sample = list(islice(corpus.items("extraction", "eval", 21, n_keys=2, missing=0.0), 60))
    right = sum(passes(item, answer(medium, item.prompt)) for item in sample)
    assert right >= 54


def test_the_card_says_that_pocket_m_gets_95_of_100_extractions_and_that_all_fail_at_long_products():
    results = json.loads((MODELS / "evaluation.json").read_text(encoding="utf-8"))
    extraction = results["pocket-m"]["tasks"]["extraction, 2 keys"]
    assert extraction["n"] == 300 and extraction["right"] >= 0.95 * 300
    hard = [result["tasks"]["arithmetic, product of 3 by 3 digits"] for result in results.values()]
    assert all(row["right"] <= 0.05 * row["n"] for row in hard)


def test_card_shows_the_measured_results():
    results = json.loads((MODELS / "evaluation.json").read_text(encoding="utf-8"))
    from evaluate import table
    assert table(results) in (MODELS / "README.md").read_text(encoding="utf-8")


def test_a_grown_model_begins_by_saying_what_the_smaller_one_says():
    torch = pytest.importorskip("torch", reason="the recipe's own dependency: pip install .[train]")
    import config
    import model
    import train
    small, large = (model.Llama(config.FAMILY[name]) for name in ("pocket-s", "pocket-m"))
    for block in small.blk:  # a fresh block does nothing yet
        torch.nn.init.normal_(block.attn_output.weight, std=0.05)
        torch.nn.init.normal_(block.ffn_down.weight, std=0.05)
    train.grow(large, small.state_dict())
    tokens = torch.randint(0, config.VOCABULARY, (2, 40))
    assert torch.allclose(small(tokens), large(tokens), atol=1e-4)


def test_a_stopped_training_goes_on_where_it_was(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="the recipe's own dependency: pip install .[train]")
    import config
    import train
    monkeypatch.setattr(train, "CHECKPOINTS", tmp_path)
    monkeypatch.setattr(torch, "compile", lambda f: f)
    tiny = config.Config("tiny", n_layer=1, n_head=4, n_kv_head=2, d_ff=256, tokens=4 * 2 * 512, batch=2)
    monkeypatch.setattr(train, "FAMILY", {"tiny": tiny})
    train.train(tiny)
    through = torch.load(tmp_path / "tiny.pt")["model"]
    (tmp_path / "tiny.pt").unlink()
    train.train(tiny, stop_at=2)
    assert torch.load(tmp_path / "tiny.pt")["step"] == 2
    train.train(tiny)
    again = torch.load(tmp_path / "tiny.pt")["model"]
    assert all(torch.equal(through[k], again[k]) for k in through)
