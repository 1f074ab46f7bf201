"""The ways in agree with each other: pyproject, conda, make, README, and what the set-up script does."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchkit import cli, places

ROOT = places.ROOT
sys.path.insert(0, str(ROOT / "scripts"))
import setup_env  # noqa: E402

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
USERS_LIST = (
    "jupyterlab requests pandas matplotlib seaborn ipywidgets papermill nbval llama-cpp-python".split()
)


def bounds(lines) -> dict[str, str]:
    """Package name → its constraint."""
    return {re.split(r"[<>=!~ ]", line, maxsplit=1)[0]: line for line in lines}


def conda_packages() -> dict[str, str]:
    lines = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    by_pip = [line for part in lines if isinstance(part, dict) for line in part["pip"]]
    return bounds([line for line in lines if isinstance(line, str)] + by_pip)


def test_the_script_reads_pyproject_as_toml_does():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML reader")
    project = tomllib.loads(setup_env.read_pyproject())["project"]
    expected = project["dependencies"] + [
        line for extra in setup_env.EXTRAS for line in project["optional-dependencies"][extra]
    ]
    assert setup_env.requirements(setup_env.read_pyproject()) == expected


def test_conda_and_pip_ask_for_the_same_versions():
    conda, pip = conda_packages(), bounds(setup_env.requirements(setup_env.read_pyproject()))
    assert {name: conda.get(name) for name in pip} == pip
    assert set(conda) - set(pip) == {"python", "pip", "setuptools"}
    assert conda["python"] == "python>=3.10" and 'requires-python = ">=3.10"' in setup_env.read_pyproject()


def test_conda_names_every_package_of_the_course_and_only_conda_forge():
    assert set(USERS_LIST) <= set(conda_packages())
    channels = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["channels"]
    assert channels == ["conda-forge", "nodefaults"]


def test_llama_cpp_python_may_be_as_old_as_conda_forges():
    bound = re.findall(r"\d+", conda_packages()["llama-cpp-python"])
    assert tuple(map(int, bound)) <= (0, 3, 34)


# ---- the build flags -------------------------------------------------------------------------------


def test_a_users_own_cmake_flags_are_kept_and_come_last():
    args = setup_env.build_environment("-DGGML_CUDA=ON", "/tmp/x/fast.cmake")["CMAKE_ARGS"].split()
    assert args[:2] == ["-DLLAVA_BUILD=OFF", "-DCMAKE_UNITY_BUILD=ON"] and args[-1] == "-DGGML_CUDA=ON"
    assert setup_env.build_environment("-DGGML_CUDA=ON", None)["CMAKE_ARGS"] == "-DGGML_CUDA=ON"
    assert not any("NATIVE" in arg for arg in args), "native CPU instructions stay on"


class FakePip:
    """A Python whose `-m pip wheel` does what a test says, and notes what it was given."""

    def __init__(self, folder: Path, fast_works: bool, plain_works: bool = True):
        self.path, self.notes = folder / "python", folder / "notes.jsonl"
        program = folder / "fake_pip.py"
        self.path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
        program.write_text(f"""
import json, os, sys
flags = os.environ.get("CMAKE_ARGS", "")
include = [f.partition("=")[2] for f in flags.split() if "PROJECT_INCLUDE" in f]
holds = open(include[0]).read() if include else None
open({str(self.notes)!r}, "a").write(json.dumps([sys.argv[1:], flags, holds]) + "\\n")
works = {fast_works} if include else {plain_works}
if works:
    folder = sys.argv[sys.argv.index("--wheel-dir") + 1]
    open(os.path.join(folder, "llama_cpp_python-9.9.9-py3-none-any.whl"), "w").close()
print("error: something the compiler said")
sys.exit(0 if works else 1)
""")
        self.path.chmod(0o755)

    def calls(self) -> list:
        return [json.loads(line) for line in self.notes.read_text().splitlines()]


@pytest.mark.skipif(os.name == "nt", reason="the fake pip is a script with a #! line")
@pytest.mark.parametrize("fast_works", [True, False])
def test_the_short_build_is_tried_first_and_the_plain_one_after_it(tmp_path, capsys, monkeypatch, fast_works):
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_METAL=OFF")
    pip = FakePip(tmp_path, fast_works)
    wheel = setup_env.built_wheel(
        str(pip.path), str(tmp_path), setup_env.EngineBuild(str(pip.path), str(tmp_path))
    )
    assert Path(wheel).name == "llama_cpp_python-9.9.9-py3-none-any.whl"
    calls = pip.calls()
    assert calls[0][2] == "set(LLAMA_BUILD_COMMON OFF)\n"
    assert [flags.split()[-1] for _, flags, _ in calls] == ["-DGGML_METAL=OFF"] * (1 if fast_works else 2)
    said = capsys.readouterr().out
    assert ("plain way" in said and "something the compiler said" in said) is not fast_works
    assert "--no-binary" in calls[0][0], "a cached wheel would ignore the user's flags"


@pytest.mark.skipif(os.name == "nt", reason="the fake pip is a script with a #! line")
def test_a_build_that_fails_both_ways_names_the_log(tmp_path, monkeypatch):
    pip = FakePip(tmp_path, fast_works=False, plain_works=False)
    monkeypatch.setattr(setup_env, "has_compiler", lambda: False)
    with pytest.raises(setup_env.SetupError, match="llama-build.log") as caught:
        setup_env.built_wheel(
            str(pip.path), str(tmp_path), setup_env.EngineBuild(str(pip.path), str(tmp_path))
        )
    assert "No C++ compiler" in str(caught.value)


def test_set_up_is_done_once_until_the_packages_or_the_place_change(tmp_path, monkeypatch):
    python = Path(setup_env.python_of(str(tmp_path)))
    python.parent.mkdir()
    python.touch()
    assert not setup_env.is_current(str(tmp_path))
    Path(setup_env.stamp_path(str(tmp_path))).write_text(json.dumps(setup_env.state_now()))
    assert setup_env.is_current(str(tmp_path))
    monkeypatch.setattr(setup_env, "read_pyproject", lambda: "another list")
    assert not setup_env.is_current(str(tmp_path))


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(setup_env.SetupError, match="no Python environment"):
        setup_env.make_venv(str(tmp_path))
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_offline_without_a_wheelhouse_says_where_to_get_one(tmp_path):
    with pytest.raises(setup_env.SetupError, match="make wheels"):
        setup_env.install_offline(sys.executable, str(tmp_path / "wheelhouse"))


# ---- README and make -------------------------------------------------------------------------------


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def commands_in(text: str) -> list[str]:
    """The lines of every indented or fenced shell block."""
    blocks = re.findall(r"```(?:bash|sh|console)?\n(.*?)```", text, re.DOTALL)
    return [line.split(" #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_that_are_named_exist(name):
    named = set(re.findall(r"`make (?:[A-Z]+=\S+ )*([a-z-]+)", (ROOT / name).read_text(encoding="utf-8")))
    named |= {word for line in commands_in(README) if line.startswith("make ") for word in line.split()[1:2]}
    assert named and named <= targets()


def test_help_names_every_target():
    if not shutil.which("make"):
        pytest.skip("needs make")
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    shown = set(re.findall(r"^  make ([a-z-]+)", done.stdout, re.MULTILINE))
    assert shown == targets()


def readme_calls() -> list[str]:
    return [line for line in commands_in(README) if line.startswith("benchkit ")]


@pytest.mark.parametrize("line", readme_calls())
def test_every_benchkit_command_of_the_readme_parses(line):
    assert cli.parse(shlex.split(line)[1:]).command


def test_commands_that_the_documents_name_in_passing_exist():
    text = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`benchkit ([a-z][a-z-]*)", text)) <= set(cli.make_parser()[1])


def test_the_readme_shows_the_two_commands_and_a_picture_that_exists():
    first_screen = README[:2500]
    assert "make demo" in first_screen and "make test" in first_screen
    picture = re.search(r"!\[[^\]]{20,}\]\(([^)]+)\)", first_screen)
    assert picture and (ROOT / picture[1]).is_file()


def test_local_links_of_the_documents_exist():
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text(encoding="utf-8")):
            assert "://" in target or (ROOT / target).exists(), f"{name} links to {target}"


# ---- starting quickly ------------------------------------------------------------------------------

HEAVY = ("numpy", "pandas", "matplotlib", "scipy", "seaborn", "llama_cpp", "jinja2", "papermill", "requests")


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom benchkit.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
