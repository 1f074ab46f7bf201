"""The types and sizes that are foretold are those that llama.cpp writes; a damaged header is refused, quickly."""

import math
import struct
import time
import tracemalloc

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchkit import places, tensors
from benchkit.errors import ModelError
from benchkit.gguf_header import BLOCKS, TENSOR_TYPES, Header, read_header, tensor_bytes
from benchkit.quantize import QUANT_TYPES, quantize
from benchkit.tensors import Architecture, predict

gguf = pytest.importorskip("gguf", reason="needs gguf")

XS = places.MODELS / "pocket-xs.gguf"

#: Small models of random weights whose tensors call for different rules.
SYNTHETIC = {
    "untied, four queries a key": Architecture(9, 256, 256, 8, 2, 96, tied=False),
    "tied, own head width, rope factors": Architecture(16, 64, 256, 4, 2, 32, True, head_dim=32, rope_factors=True),
    "rows of no 256, tied": Architecture(3, 96, 160, 3, 1, 64, tied=True),
    "rows of no 256, untied": Architecture(5, 320, 256, 5, 1, 96, tied=False),
    "rows of no 32": Architecture(2, 48, 256, 3, 3, 64, tied=False),
    "80 layers, shared keys": Architecture(80, 32, 256, 2, 1, 32, tied=False),
    "80 layers, no shared keys": Architecture(80, 32, 32, 2, 2, 32, tied=True),
}

#: Mixes whose rules depend on the layer or on shared keys; the others, of which a Q3_K_L stands for Q3_K_S too.
LAYERED = ["Q5_K_M", "Q4_K_M", "Q4_K_S", "Q3_K_M", "Q2_K"]
UNIFORM = ["Q8_0", "Q6_K", "Q3_K_L"]


def write_llama(path, model, n_bits=16):
    """A GGUF file of random weights, without a tokenizer: the quantiser asks for none."""
    rng = np.random.default_rng(0)
    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(model.n_layer)
    w.add_embedding_length(model.width)
    w.add_feed_forward_length(model.ffn)
    w.add_head_count(model.n_head)
    w.add_head_count_kv(model.n_head_kv)
    if model.head_dim:
        w.add_key_length(model.head_dim)
        w.add_value_length(model.head_dim)
    w.add_context_length(64)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(model.vocabulary)
    for name, shape in model.shapes():
        weights = rng.normal(size=shape[::-1]).astype(np.float32)
        w.add_tensor(name, weights if len(shape) == 1 or n_bits == 32 else weights.astype(np.float16))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


def by_name(some):
    return {name: (type, shape) for name, type, shape in some}


def check(model, source, folder, mixes):
    assert tensors.architecture_of(read_header(source)) == model
    assert by_name(predict(model, "F16")) == by_name(read_header(source).tensors)
    for mix in mixes:
        made = quantize(source, mix, folder / f"{mix}.gguf")
        header = read_header(made)
        foretold = predict(model, mix)
        assert by_name(foretold) == by_name(header.tensors), mix
        assert tensors.n_bytes(foretold) == tensors.n_bytes(header.tensors)
        padded = sum(math.ceil(tensor_bytes(type, shape) / 32) * 32 for _, type, shape in foretold)
        assert made.stat().st_size - min(header.positions) == padded  # to the last byte of the file
        made.unlink()


@pytest.mark.parametrize(
    ("stem", "mixes"),
    [("pocket-xs", QUANT_TYPES), ("pocket-s", ["Q6_K", "Q4_K_M", "Q2_K"]), ("pocket-m", ["Q4_K_M", "Q3_K_L"])],
    ids=["xs", "s", "m"],
)
def test_the_pocket_models_weigh_what_was_foretold(tmp_path, stem, mixes):
    source = places.MODELS / f"{stem}.gguf"
    check(tensors.architecture_of(read_header(source)), source, tmp_path, mixes)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_other_shapes_weigh_what_was_foretold(tmp_path, name):
    model = SYNTHETIC[name]
    mixes = [*LAYERED, *([] if model.n_layer > 8 else UNIFORM)]
    check(model, write_llama(tmp_path / "source.gguf", model), tmp_path, mixes)


def test_a_source_of_32_bits_gives_the_same_types(tmp_path):
    model = SYNTHETIC["rows of no 256, tied"]
    source = write_llama(tmp_path / "source.gguf", model, n_bits=32)
    assert by_name(predict(model, "F32")) == by_name(read_header(source).tensors)
    made = quantize(source, "Q4_K_M", tmp_path / "made.gguf")
    assert by_name(predict(model, "Q4_K_M")) == by_name(read_header(made).tensors)


def test_every_mix_that_is_made_can_be_foretold():
    assert set(QUANT_TYPES) <= set(tensors.MIXES)


def test_sizes_in_the_ready_plan_are_those_foretold():
    models = {
        "1.24B": Architecture(16, 2048, 8192, 32, 8, 128256, tied=True, rope_factors=True),
        "3.21B": Architecture(28, 3072, 8192, 24, 8, 128256, tied=True, rope_factors=True),
        "8.03B": Architecture(32, 4096, 14336, 32, 8, 128256, tied=False, rope_factors=True),
    }
    plan = yaml.safe_load((places.PROMPTS / "plans" / "matrix_12.yaml").read_text(encoding="utf-8"))
    for row in plan["models"]:
        foretold = predict(models[row["parameters"]], row["type"])
        assert f"{tensors.n_parameters(foretold) / 1e9:.2f}B" == row["parameters"]
        said_gb = float(row["size"].split()[1])
        assert tensors.n_bytes(foretold) / 1e9 == pytest.approx(said_gb, abs=0.015)  # the header is not in it


# ---- sizes and mixes -------------------------------------------------------------------------------


def test_block_sizes_are_those_of_the_gguf_package():
    theirs = {type.name: sizes for type, sizes in gguf.GGML_QUANT_SIZES.items()}
    both = set(theirs) & set(BLOCKS)
    assert {type: BLOCKS[type] for type in both} == {type: theirs[type] for type in both} and len(both) > 20
    assert set(TENSOR_TYPES.values()) == set(BLOCKS)
    assert all(TENSOR_TYPES[int(gguf.GGMLQuantizationType[name])] == name for name in both)


def test_the_mix_of_a_file_adds_up(tmp_path):
    header = read_header(quantize(XS, "Q4_K_M", tmp_path / "x.gguf"))
    shares = tensors.mix_of(header.tensors)
    assert [share.type for share in shares] == ["Q4_K", "Q6_K", "F32"]
    assert sum(share.n_tensors for share in shares) == len(header.tensors)
    assert sum(share.n_parameters for share in shares) == header.parameters == 1_443_584
    assert sum(share.n_bytes for share in shares) == tensors.n_bytes(header.tensors)
    assert 4.5 < tensors.bits_per_weight(header.tensors) < 6.5625


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: tensor_bytes("Q9_K", (256,)), "Q9_K is not a tensor type"),
        (lambda: tensor_bytes("Q4_K", (96, 5)), "row of 96 weights cannot be Q4_K"),
        (lambda: predict(SYNTHETIC["rows of no 32"], "Q4_KM"), 'did you mean "Q4_K_M"'),
        (lambda: tensors.bits_per_weight([]), "no weights"),
        (lambda: tensors.architecture_of(Header({"general.architecture": "qwen3"}, ())), "'qwen3'"),
    ],
)
def test_what_cannot_be_computed_is_said(call, said):
    with pytest.raises(ModelError, match=said):
        call()


@pytest.mark.parametrize("facts", [{}, {"block_count": [1]}, {"attention.head_count_kv": 0}, {"block_count": 2**32 - 1}])
def test_an_architecture_that_cannot_be_is_refused(facts):
    header = read_header(XS)
    own = header.metadata | {f"llama.{key}": value for key, value in facts.items()}
    own = own if facts else {"general.architecture": "llama"}
    with pytest.raises(ModelError, match="architecture"):
        tensors.architecture_of(Header(own, header.tensors))


# ---- damaged headers -------------------------------------------------------------------------------

WHOLE = XS.read_bytes()
HEADER_SIZE = min(read_header(XS).positions)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / "x.gguf"

    def read(data):
        """A header or a refusal: soon, and without asking for much memory."""
        path.write_bytes(data)
        tracemalloc.start()
        began = time.monotonic()
        try:
            return read_header(path)
        except ModelError:
            return None
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 2**27 and time.monotonic() - began < 30

    return read


FUZZ = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(data=st.binary(max_size=400), count=st.integers(0, 3))
def test_any_bytes_are_a_header_or_a_refusal(damaged, data, count):
    damaged(data)
    damaged(b"GGUF" + struct.pack("<IQQ", 3, count, count) + data)


@FUZZ
@given(size=st.integers(0, HEADER_SIZE - 1))
def test_a_header_cut_short_anywhere_is_refused(damaged, size):
    header = damaged(WHOLE[:size])
    assert header is None or size > HEADER_SIZE - 32  # only the padding is missing


@FUZZ
@given(flips=st.lists(st.tuples(st.integers(0, HEADER_SIZE - 1), st.integers(1, 255)), min_size=1, max_size=20))
def test_flipped_bytes_are_a_header_or_a_refusal(damaged, flips):
    data = bytearray(WHOLE[:HEADER_SIZE])
    for place, change in flips:
        data[place] ^= change
    header = damaged(bytes(data))
    for name, type, shape in header.tensors if header else ():
        assert isinstance(name, str) and isinstance(shape, tuple)
        assert type in BLOCKS or type.startswith("type ")


HUGE = [2**16, 2**20, 2**20 + 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]


@pytest.mark.parametrize("n", HUGE)
def test_huge_counts_are_refused_before_memory_is_asked_for(damaged, n):
    key = struct.pack("<Q", 1) + b"k"
    assert damaged(b"GGUF" + struct.pack("<IQQ", 3, n, 0)) is None
    assert damaged(b"GGUF" + struct.pack("<IQQ", 3, 0, n)) is None
    for kind in range(14):
        array = struct.pack("<IIQ", 9, kind, n)
        assert damaged(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key + array + bytes(4096)) is None
    assert damaged(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", n) + b"name") is None
    deep = struct.pack("<IQ", 9, 1) * 30_000
    assert damaged(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key + struct.pack("<I", 9) + deep) is None


def test_an_unknown_type_is_named_by_its_number(damaged):
    name = struct.pack("<Q", 1) + b"w"
    tensor = name + struct.pack("<IQQIQ", 2, 256, 1, 777, 0)
    header = damaged(b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + tensor)
    assert header.tensors == (("w", "type 777", (256, 1)),) and header.positions == (96,)
    with pytest.raises(ModelError, match="type 777"):
        tensors.n_bytes(header.tensors)


@pytest.mark.parametrize("alignment", [0, 2**31])
def test_an_impossible_alignment_is_refused(damaged, alignment):
    key = b"general.alignment"
    pair = struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, alignment)
    assert damaged(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + pair) is None
