"""Quantised variants: right, cached, whole or not there at all."""

import os
import subprocess
import sys
import textwrap

import pytest

from benchkit import places, quantize
from benchkit.backends import Options, connect
from benchkit.errors import ModelError
from benchkit.quantize import QUANT_TYPES, sha256, variant

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
    with pytest.raises(ModelError, match="quantised already"):
        quantize.quantize(small, "Q4_K_M", tmp_path / "smaller.gguf")
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
