"""Are the tests of the formulas any good? Change the formulas in hundreds of small ways: the tests must notice (`make check`)."""

import importlib.util
import json
import shutil
import subprocess
import sys

import pytest

from benchkit import places

pytestmark = pytest.mark.slow

MUTATED = ["metrics.py", "quality.py"]
TESTS = ["test_metrics.py", "test_quality.py"]
NOTICED = 0.85  # of all changes; the rest changes nothing that can be seen, or only a message

SETTINGS = f"""
[tool.pytest.ini_options]
addopts = "-q -p no:cacheprovider"
[tool.mutmut]
source_paths = ["benchkit"]
only_mutate = {[f"benchkit/{name}" for name in MUTATED]}
also_copy = ["prompts"]
pytest_add_cli_args_test_selection = {[f"tests/{name}" for name in TESTS]}
"""


def test_small_changes_of_the_formulas_are_noticed(tmp_path, capsys):
    if sys.platform == "win32":
        pytest.skip("mutmut forks, which Windows cannot")
    if importlib.util.find_spec("mutmut") is None:
        pytest.skip("needs mutmut: pip install mutmut")
    for folder in ("benchkit", "prompts"):
        shutil.copytree(places.ROOT / folder, tmp_path / folder)
    (tmp_path / "tests").mkdir()
    for name in (*TESTS, "conftest.py"):
        shutil.copy(places.ROOT / "tests" / name, tmp_path / "tests")
    (tmp_path / "pyproject.toml").write_text(SETTINGS, encoding="utf-8")
    for command in (["run"], ["export-cicd-stats"]):
        done = subprocess.run([sys.executable, "-m", "mutmut", *command], cwd=tmp_path, capture_output=True, text=True, timeout=1500, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    counts = json.loads((tmp_path / "mutants" / "mutmut-cicd-stats.json").read_text())
    tested = counts["killed"] + counts["timeout"] + counts["survived"]
    noticed = counts["killed"] + counts["timeout"]
    with capsys.disabled():
        print(f"\n{noticed} of {tested} changed formulas were noticed ({', '.join(MUTATED)})")
    assert tested > 300
    assert noticed >= NOTICED * tested, done.stdout[-3000:]
