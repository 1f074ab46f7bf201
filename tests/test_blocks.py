"""Blocks: decoded bit for bit as the gguf package does, and multiplied as ggml does."""

import ctypes
import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchkit import blocks, canvas, figures_quant, places
from benchkit.blocks import LAYOUTS, decode, quantise_activations, quantised_dot, read_tensor, take_apart
from benchkit.errors import ModelError
from benchkit.gguf_header import BLOCKS, read_header
from benchkit.quantize import quantize

gguf = pytest.importorskip("gguf", reason="needs gguf")

XS = places.MODELS / "pocket-xs.gguf"
MIXES = {"Q8_0": "Q8_0", "Q6_K": "Q6_K", "Q5_K": "Q5_K_M", "Q4_K": "Q4_K_M", "Q3_K": "Q3_K_L", "Q2_K": "Q2_K"}
QUANTISED = list(MIXES)  # the types; MIXES says in which mix each is found


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """The smallest pocket model in every mix; together they have every type that benchkit decodes."""
    folder = tmp_path_factory.mktemp("variants")
    return {type: quantize(XS, mix, folder / f"{mix}.gguf") for type, mix in MIXES.items()}


def reference(type, data):
    """What the gguf package makes of the same bytes."""
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(np.frombuffer(data, np.uint8), gguf.GGMLQuantizationType[type])


def same_bits(ours, theirs):
    """Equal bit for bit; what is no number need only be none in both, for there are millions of ways to be none."""
    ours, theirs = ours.reshape(-1), theirs.reshape(-1)
    numbers = ~np.isnan(theirs)
    assert ours.dtype == theirs.dtype == np.float32 and ours.shape == theirs.shape
    np.testing.assert_array_equal(np.isnan(ours), ~numbers)
    np.testing.assert_array_equal(ours[numbers].view(np.uint32), theirs[numbers].view(np.uint32))


# ---- layouts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("type", LAYOUTS)
def test_a_layout_fills_its_block_without_a_gap(type):
    layout = LAYOUTS[type]
    assert (layout.n_weights, layout.n_bytes) == BLOCKS[type] == gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type]]
    end = 0
    for part in layout.parts:
        assert part.offset == end and part.n_bytes > 0 and part.meaning
        end += part.n_bytes
    assert end == layout.n_bytes


def test_bits_per_weight():
    expected = {"F16": 16, "Q8_0": 8.5, "Q6_K": 6.5625, "Q5_K": 5.5, "Q4_K": 4.5, "Q3_K": 3.4375, "Q2_K": 2.625}
    assert {type: LAYOUTS[type].bits_per_weight for type in expected} == expected


# ---- decoding --------------------------------------------------------------------------------------


@pytest.mark.parametrize("type", QUANTISED)
def test_every_tensor_of_a_variant_is_decoded_bit_for_bit(variants, type):
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(variants[type]).tensors}
    found = read_header(variants[type]).tensors
    for name, own_type, shape in found:
        own = read_tensor(variants[type], name)
        assert (own.type, own.shape) == (own_type, shape)
        assert own.data.tobytes() == theirs[name].data.tobytes()
        same_bits(decode(own.type, own.data), reference(own.type, own.data.tobytes()))
    assert {type, "F32"} <= {own_type for _, own_type, _ in found} and len(found) == len(theirs) == 29


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), n_blocks=st.integers(1, 40))
@pytest.mark.parametrize("type", LAYOUTS)
def test_random_bytes_are_decoded_bit_for_bit(type, seed, n_blocks):
    data = np.random.default_rng(seed).bytes(n_blocks * LAYOUTS[type].n_bytes)
    same_bits(decode(type, data), reference(type, data))


@given(data=st.data())
@settings(deadline=None, max_examples=40)
@pytest.mark.parametrize("type", LAYOUTS)
def test_any_bytes_are_decoded_bit_for_bit(type, data):
    """Hypothesis likes zeros, repeats and extremes: infinities and what is no number among the scales."""
    size = LAYOUTS[type].n_bytes
    raw = data.draw(st.binary(min_size=size, max_size=size)) * data.draw(st.integers(1, 2))
    same_bits(decode(type, raw), reference(type, raw))


@pytest.mark.parametrize("scale", [0x7C00, 0xFC00, 0x7E00, 0xFFFF, 0x0001, 0x8000], ids=hex)
@pytest.mark.parametrize("type", QUANTISED)
def test_infinite_and_missing_scales_are_decoded_as_they_are(type, scale):
    layout = LAYOUTS[type]
    raw = bytearray(np.random.default_rng(1).bytes(layout.n_bytes))
    for part in layout.parts:
        if part.name in ("d", "dmin"):
            raw[part.offset : part.offset + 2] = scale.to_bytes(2, "little")
    same_bits(decode(type, bytes(raw)), reference(type, bytes(raw)))


def test_neighbours_in_a_byte_are_no_neighbours_in_the_row():
    ones = np.float16(1).tobytes() + np.float16(0).tobytes() + bytes([1] * 4 + [0] * 4 + [1] * 4)  # every scale 1
    nibbles = bytearray(128)
    nibbles[0] = 0x53
    weights = decode("Q4_K", ones + bytes(nibbles))
    assert np.flatnonzero(weights).tolist() == [0, 32] and weights[[0, 32]].tolist() == [3, 5]


@pytest.mark.parametrize("type", [*QUANTISED, "F16", "F32"])
def test_nothing_is_decoded_to_nothing(type):
    assert decode(type, b"").shape == (0,)


@pytest.mark.parametrize("type", ["Q4_0", "q4_K", "IQ2_XS", "type 99", ""])
def test_an_unknown_type_is_refused_by_its_name(type):
    for refused in (decode, take_apart, lambda type, _: blocks.layout(type)):
        with pytest.raises(ModelError, match=f"{type} is not a type that benchkit decodes.*Q4_K, Q3_K"):
            refused(type, bytes(144))


def test_broken_blocks_are_refused():
    with pytest.raises(ModelError, match="145 bytes are no whole number of Q4_K blocks, which have 144"):
        decode("Q4_K", bytes(145))
    with pytest.raises(ModelError, match="F16 has no blocks"):
        take_apart("F16", bytes(2))


# ---- tensors ---------------------------------------------------------------------------------------


def test_a_tensor_has_rows(variants):
    tensor = read_tensor(variants["Q4_K"], "blk.1.ffn_gate.weight")
    assert (tensor.type, tensor.shape, tensor.data.nbytes) == ("Q4_K", (256, 256), 256 * 144)
    assert not tensor.data.flags.writeable
    whole = decode(tensor.type, tensor.data).reshape(256, 256)
    np.testing.assert_array_equal(decode(tensor.type, tensor.row(7)), whole[7])


def test_a_tensor_that_is_not_there_is_refused(variants, tmp_path):
    with pytest.raises(ModelError, match='did you mean "blk.0.attn_q.weight"'):
        read_tensor(XS, "blk.0.attn_q.wieght")
    with pytest.raises(ModelError, match="cannot be read"):
        read_tensor(tmp_path / "no.gguf", "x")
    short = tmp_path / "short.gguf"
    short.write_bytes(XS.read_bytes()[:-1000])
    last = read_header(XS).tensors[-1][0]
    with pytest.raises(ModelError, match="cut short"):
        read_tensor(short, last)


def test_a_type_of_another_kind_is_refused_by_its_name(tmp_path):
    w = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    w.add_tensor("w", np.zeros((1, 18), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    with pytest.raises(ModelError, match="Q4_0 is not a type"):
        read_tensor(tmp_path / "x.gguf", "w")


def test_the_error_grows_as_bits_shrink(variants):
    name = "blk.0.attn_q.weight"
    original = decode("F16", read_tensor(XS, name).data)
    errors = []
    for type in QUANTISED:
        tensor = read_tensor(variants[type], name)
        errors.append(blocks.relative_rms_error(original, decode(tensor.type, tensor.data)))
    assert errors == sorted(errors) and errors[0] < 0.01 < 0.1 < errors[-1] < 0.5


# ---- the dot product -------------------------------------------------------------------------------


def rounded(type, x):
    """The activations that the integers stand for."""
    d, q = quantise_activations(type, x)
    return (d.astype(np.float64) * q).reshape(-1)


def row_of(variants, type, i=3):
    tensor = read_tensor(variants[type], "blk.0.attn_q.weight")
    assert tensor.type == type
    return tensor.row(i)


ACTIVATIONS = {
    "normal": np.random.default_rng(7).normal(size=256),
    "one is large": np.r_[np.full(255, 0.01), 50.0],
    "negative": -np.random.default_rng(8).random(256),
    "zero": np.zeros(256),
    "half zero": np.r_[np.zeros(128), np.random.default_rng(9).normal(size=128)],
}


@pytest.mark.parametrize("x", ACTIVATIONS.values(), ids=ACTIVATIONS)
@pytest.mark.parametrize("type", QUANTISED)
def test_integers_give_the_float_product_within_the_rounding_of_the_activations(variants, type, x):
    row = row_of(variants, type)
    weights = decode(type, row).astype(np.float64)
    got = quantised_dot(type, row, x)
    assert got == pytest.approx(weights @ rounded(type, x), rel=1e-5, abs=1e-5)  # nothing else is rounded
    within = np.abs(weights) @ np.abs(x - rounded(type, x)) + 1e-5
    assert abs(got - weights @ x) <= within
    largest = np.abs(x).max()
    assert np.abs(x - rounded(type, x)).max() <= 0.57 * largest / 127 + 1e-7  # half a step, and d itself as F16


@given(seed=st.integers(0, 2**32 - 1), n_blocks=st.integers(1, 4), scale=st.sampled_from([1e-3, 1.0, 1e3]))
@settings(deadline=None, max_examples=30)
@pytest.mark.parametrize("type", QUANTISED)
def test_any_finite_row_and_activations(type, seed, n_blocks, scale):
    rng, layout = np.random.default_rng(seed), LAYOUTS[type]
    raw = np.frombuffer(rng.bytes(n_blocks * layout.n_bytes), np.uint8).reshape(n_blocks, -1).copy()
    for part in layout.parts:
        if part.name in ("d", "dmin"):
            halves = rng.normal(scale=0.01, size=(n_blocks, 1)).astype(np.float16)
            raw[:, part.offset : part.offset + 2] = halves.view(np.uint8)
    x = rng.normal(scale=scale, size=n_blocks * layout.n_weights)
    weights = decode(type, raw.tobytes()).astype(np.float64)
    size = np.abs(weights) @ np.abs(rounded(type, x))
    assert abs(quantised_dot(type, raw.tobytes(), x) - weights @ rounded(type, x)) <= 1e-5 * size


def test_wrong_lengths_are_refused(variants):
    row = row_of(variants, "Q4_K")
    with pytest.raises(ModelError, match="200 activations are no whole number of Q4_K blocks"):
        quantised_dot("Q4_K", row, np.zeros(200))
    with pytest.raises(ModelError, match="row of 256 weights cannot be multiplied by 512"):
        quantised_dot("Q4_K", row, np.zeros(512))


# ---- the same, by ggml itself ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def ggml():
    """ggml's functions for the processor, in the shared library that llama-cpp-python brings."""
    folder = Path(importlib.util.find_spec("llama_cpp").origin).parent / "lib"
    found = sorted(path for end in ("so", "dylib") for path in folder.glob(f"libggml-cpu.{end}"))
    if not found:
        pytest.skip("needs a llama-cpp-python whose libggml-cpu stands alone")
    library = ctypes.CDLL(str(found[0]))
    library.ggml_cpu_init()
    return library


ITS_NAMES = {"Q8_0": ("q8_0", "q8_0", 34, 32), "Q4_K": ("q4_K", "q8_K", 292, 256), "Q6_K": ("q6_K", "q8_K", 292, 256),
             "Q5_K": ("q5_K", "q8_K", 292, 256), "Q3_K": ("q3_K", "q8_K", 292, 256), "Q2_K": ("q2_K", "q8_K", 292, 256)}  # fmt: skip


@pytest.mark.parametrize("type", QUANTISED)
def test_ggml_itself_says_the_same(ggml, variants, type):
    weights_name, activations_name, size, n = ITS_NAMES[type]
    for i in range(8):
        row, x = row_of(variants, type, i).tobytes(), np.random.default_rng(i).normal(size=256).astype(np.float32)
        theirs = ctypes.create_string_buffer(size * 256 // n)
        quantise = getattr(ggml, f"quantize_row_{activations_name}")
        quantise(x.ctypes.data_as(ctypes.c_void_p), theirs, ctypes.c_int64(256))
        raw = np.frombuffer(theirs.raw, np.uint8).reshape(-1, size)
        d, q = quantise_activations(type, x)
        place = 2 if type == "Q8_0" else 4
        np.testing.assert_allclose(raw[:, place : place + n].view(np.int8), q, atol=1)  # a tie may go either way
        np.testing.assert_allclose(raw[:, :place].copy().view("<f2" if place == 2 else "<f4").astype(np.float32), d, rtol=1e-3)
        answer = ctypes.c_float()
        zero = ctypes.c_size_t(0)
        getattr(ggml, f"ggml_vec_dot_{weights_name}_{activations_name}")(
            256, ctypes.byref(answer), zero, row, zero, theirs, zero, 1)  # fmt: skip
        assert quantised_dot(type, row, x) == pytest.approx(answer.value, rel=1e-4, abs=1e-4)


# ---- figures ---------------------------------------------------------------------------------------


def draw_quietly(draw, *data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph, an empty axis or a failed layout is a warning
        fig, alt = draw(*data)
        assert canvas.png(fig, alt).startswith(b"\x89PNG")
    return [text.get_text() for text in fig.findobj(canvas.mpl.text.Text)], alt


@pytest.mark.parametrize("type", LAYOUTS)
def test_the_figure_of_a_block_names_every_part_and_is_to_scale(type):
    said, alt = draw_quietly(figures_quant.layout_figure, type)
    for part in LAYOUTS[type].parts:
        assert any(part.name in text and part.meaning in text for text in said) and part.meaning in alt
    assert str(LAYOUTS[type].n_bytes) in said and f"{LAYOUTS[type].bits_per_weight:g} bits a weight" in alt
    fig, _ = figures_quant.layout_figure(type)
    assert sum(bar.get_width() for bar in fig.axes[0].patches) == 2 * LAYOUTS[type].n_bytes  # on top, and in its row


def test_the_figure_of_rounding_says_each_types_error(variants):
    name = "blk.0.attn_q.weight"
    weights = decode("F16", read_tensor(XS, name).row(0))
    decoded = {type: decode(type, read_tensor(path, name).row(0)) for type, path in variants.items()}
    said, alt = draw_quietly(figures_quant.rounding_figure, weights, decoded)
    assert all(f"{type} {100 * blocks.relative_rms_error(weights, row):.2f}"[:8] in alt for type, row in decoded.items())
    assert all(any(text.startswith(f"{type}\nRMS error") for text in said) for type in decoded)
    draw_quietly(figures_quant.rounding_figure, weights, {"F16": weights})  # no error at all


@pytest.mark.parametrize(("weights", "decoded"), [(np.zeros(32), {"Q8_0": np.zeros(32)}), (np.ones(32), {}), ([], {})])
def test_no_error_to_draw_is_said(weights, decoded):
    assert "nothing to draw" in draw_quietly(figures_quant.rounding_figure, weights, decoded)[1]
