"""Quantised variants: right, cached, whole or not there at all."""

import os
import subprocess
import sys
import textwrap

import pytest

from benchkit import places, quantize, tensors
from benchkit.backends import Options, connect
from benchkit.errors import BenchkitError, ModelError
from benchkit.gguf_header import read_header
from benchkit.quantize import QUANT_TYPES, quantize_all, sha256, type_name, variant

pytestmark = pytest.mark.real

SOURCE = places.MODELS / "pocket-xs.gguf"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def leftovers(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".gguf", ".lock")]


def test_smaller_types_make_smaller_files_that_still_answer():
    sizes = {"F16": SOURCE.stat().st_size}
    for quant in ("Q8_0", "Q6_K", "Q4_K_M", "Q3_K_L", "Q2_K"):
        with connect(f"gguf:pocket-xs:{quant}", n_threads=1) as model:
            facts = model.describe()
            assert facts["quantisation"] == quant and facts["parameters"] > 1e6
            assert model.stream("1 + 1 =", Options(max_tokens=8, ignore_eos=True)).state == "length"
            sizes[quant] = facts["size_bytes"]
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True)


def test_a_variant_is_made_once_and_belongs_to_its_source(cache, tmp_path):
    first = variant(SOURCE, "Q8_0")
    made = first.stat().st_mtime_ns
    assert variant(SOURCE, "Q8_0") == first and first.stat().st_mtime_ns == made
    assert first.is_relative_to(cache) and not leftovers(cache)
    changed = tmp_path / SOURCE.name
    changed.write_bytes(SOURCE.read_bytes()[:-4] + b"\0\0\0\0")
    assert sha256(changed) != sha256(SOURCE)
    assert variant(changed, "Q8_0") != first


def test_two_processes_that_want_the_same_variant_share_the_work(cache):
    code = f"from benchkit.quantize import variant; print(variant({str(SOURCE)!r}, 'Q4_K_M'))"
    environment = os.environ | {"PYTHONPATH": str(places.ROOT), "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", code]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=places.ROOT) for _ in range(3)
    ]
    answers = {process.communicate(timeout=60)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0, 0]
    assert len(answers) == 1 and not leftovers(cache)


def test_the_name_of_a_type_is_checked_first():
    with pytest.raises(ModelError, match="Q4_K_M"):
        variant(SOURCE, "Q4")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>", "not a GGUF file"),
        (b"GGUF" + bytes(5000), "failed"),
        (SOURCE, "failed"),
        (None, "No such file"),
    ],
    ids=["web page", "zeros", "cut short", "missing"],
)
def test_a_bad_source_leaves_nothing_behind(tmp_path, content, words):
    source, folder = tmp_path / "bad.gguf", tmp_path / "out"
    if content is SOURCE:
        content = SOURCE.read_bytes()[:1_000_000]
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        quantize.quantize(source, "Q8_0", folder / "x.gguf")
    assert "bad.gguf" in str(caught.value)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_quantised_source_is_refused(tmp_path):
    small = quantize.quantize(SOURCE, "Q8_0", tmp_path / "small.gguf")
    with pytest.raises(ModelError, match="quantised already.*second error.*q8_0 is disabled.*F16"):
        quantize.quantize(small, "Q4_K_M", tmp_path / "smaller.gguf")
    assert not leftovers(tmp_path) and not (tmp_path / "smaller.gguf").exists()
    with pytest.raises(ModelError, match="onto itself"):
        quantize.quantize(small, "Q4_K_M", small)


@pytest.mark.skipif(os.name != "posix", reason="a full disk is imitated by a POSIX limit on file size")
def test_a_full_disk_is_said_and_leaves_no_half_file(tmp_path):
    code = textwrap.dedent(f"""
        import resource
        from benchkit.errors import ModelError
        from benchkit.quantize import quantize
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        try:
            quantize({str(SOURCE)!r}, "Q8_0", {str(tmp_path / "out" / "x.gguf")!r})
        except ModelError as error:
            print(error)
    """)
    environment = os.environ | {"PYTHONPATH": str(places.ROOT), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert "disk is full" in done.stdout and "BENCHKIT_CACHE" in done.stdout
    assert list((tmp_path / "out").iterdir()) == []


def test_every_type_is_one_that_llama_cpp_knows():
    code = (
        "from benchkit.llama_c import C; from benchkit.quantize import QUANT_TYPES as q; "
        "assert all(getattr(C, 'LLAMA_FTYPE_MOSTLY_' + name) == number for name, number in q.items())"
    )
    environment = os.environ | {"PYTHONPATH": str(places.ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert len(set(QUANT_TYPES.values())) == len(QUANT_TYPES)


# ---- variants in a folder of one's own -------------------------------------------------------------

FAMILY = ["Q8_0", "Q6_K", "Q4_K_M", "Q3_K_L", "Q2_K"]


def test_all_types_are_made_in_one_go_and_weighed(tmp_path, capsys):
    made = list(quantize_all(SOURCE, FAMILY, tmp_path / "new" / "out"))
    assert [one.path.name for one in made] == [f"pocket-xs-{type}.gguf" for type in FAMILY]
    for one in made:
        header = read_header(one.path)
        assert type_name(header.metadata["general.file_type"]) == one.type
        assert one.bits_per_weight == 8 * tensors.n_bytes(header.tensors) / 1_443_584
        assert one.size_mib == one.path.stat().st_size / 2**20
        assert f"{one.bits_per_weight:.2f} bits per weight" in str(one) and "MiB" in str(one)
    assert [one.bits_per_weight for one in made] == sorted((one.bits_per_weight for one in made), reverse=True)
    assert not leftovers(tmp_path)
    out, err = capsys.readouterr()
    assert out == "" and "Q3_K_L" in err and "29" in err  # the bar counts tensors


def test_nothing_is_overwritten_unasked(tmp_path):
    (tmp_path / "pocket-xs-Q2_K.gguf").write_bytes(b"mine")
    with pytest.raises(BenchkitError, match=r"There already: .*pocket-xs-Q2_K.gguf.*--overwrite"):
        quantize_all(SOURCE, ["Q8_0", "Q2_K"], tmp_path)
    assert [path.name for path in tmp_path.glob("*.gguf")] == ["pocket-xs-Q2_K.gguf"]  # the other is not made either
    (made,) = quantize_all(SOURCE, ["q2_k", "Q2_K"], tmp_path, overwrite=True, progress=False)
    assert made.path.stat().st_size > 400_000 and made.type == "Q2_K"


@pytest.mark.parametrize("type", ["Q4_KM", "Q4_K", "F16", "", "Q8_0 "])
def test_an_unknown_type_is_refused_before_anything_is_made(tmp_path, type):
    with pytest.raises(ModelError, match="Q8_0, Q6_K, Q5_K_M") as caught:
        quantize_all(SOURCE, ["Q8_0", type], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert ("did you mean" in str(caught.value)) == (type not in ("F16", ""))


def test_a_quantised_source_may_be_copied_but_not_rounded_again(tmp_path):
    """llama.cpp copies tensors that have their type already, and refuses to round any other."""
    (first,) = quantize_all(SOURCE, ["Q4_K_M"], tmp_path, progress=False)
    (again,) = quantize_all(first.path, ["Q4_K_M"], tmp_path / "again", progress=False)
    assert again.path.name == first.path.name  # the old type is not kept in the name
    assert again.path.read_bytes() == first.path.read_bytes()
    with pytest.raises(ModelError, match="second error"):
        list(quantize_all(first.path, ["Q2_K"], tmp_path, progress=False))
    with pytest.raises(ModelError, match="onto itself"):
        list(quantize_all(first.path, ["Q4_K_M"], tmp_path, overwrite=True, progress=False))
    assert not leftovers(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="a full disk is imitated by a POSIX limit on file size")
def test_a_disk_that_fills_up_keeps_what_was_made_before(tmp_path):
    code = textwrap.dedent(f"""
        import resource, sys
        from benchkit.cli import main
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        sys.exit(main(["quantize", "gguf:pocket-xs", "Q2_K", "Q8_0", "--out", {str(tmp_path / "out")!r}]))
    """)
    environment = os.environ | {"PYTHONPATH": str(places.ROOT), "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == ModelError.exit_code
    assert "Q8_0" in done.stderr and "disk is full" in done.stderr and "--out" in done.stderr
    assert "pocket-xs-Q2_K.gguf" in done.stdout and "Q8_0" not in done.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pocket-xs-Q2_K.gguf"]


def test_an_interrupted_making_leaves_nothing(tmp_path):
    def stop(n_done, n_tensors):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize.quantize(SOURCE, "Q4_K_M", tmp_path / "x.gguf", on_tensor=stop)
    assert not list(tmp_path.glob("*gguf*"))
