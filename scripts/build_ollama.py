"""Build the versions of Ollama that the tests run against: `python scripts/build_ollama.py FOLDER`.

    python scripts/build_ollama.py FOLDER           both versions (about five minutes on two cores)
    python scripts/build_ollama.py FOLDER 0.6.5     only that one
    export BENCHKIT_OLLAMA=…                        as its last line says; then the tests find them

It needs Go and a C/C++ compiler. A version that is already there is not built again. What it builds runs on
the processor alone and without its newer instructions: good for tests, and its speed says nothing.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VERSIONS = ("0.6.5", "0.17.4")
MODULE = "github.com/ollama/ollama"

# Ollama's module leaves out three headers that its newer version needs. Where the system lacks them (Debian
# has nlohmann-json3-dev and libstb-dev), Go modules have them: what is included → (module, file in it).
HEADERS = {
    "nlohmann/json.hpp": (f"{MODULE}@v0.6.5", "llama/llama.cpp/common/json.hpp"),
    "stb/stb_image.h": (f"{MODULE}@v0.6.5", "llama/llama.cpp/common/stb_image.h"),
    "miniaudio/miniaudio.h": ("github.com/gen2brain/malgo@v0.11.23", "miniaudio.h"),
}
NEEDS_HEADERS = ("0.17.4",)


class BuildError(Exception):
    """The build cannot go on; the message says what to do."""


def say(text):
    print("ollama: " + text, file=sys.stderr, flush=True)


def go(*words, env=None):
    """Run Go outside of any module; returns what it printed."""
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(["go", *words], check=False, cwd=empty, env=env, capture_output=True)
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-15:]
        raise BuildError(f"`go {' '.join(words)}` failed:\n  " + "\n  ".join(last))
    return done.stdout.decode()


def compiler():
    """The C++ compiler that Go will use."""
    return os.environ.get("CXX") or next((c for c in ("g++", "clang++") if shutil.which(c)), None)


def check_tools():
    """Say what is missing before anything is downloaded."""
    if not shutil.which("go"):
        raise BuildError(
            "Go is needed to build Ollama: https://go.dev/dl, or apt install golang, brew install go."
        )
    if not compiler():
        raise BuildError("A C/C++ compiler is needed: apt install g++, or on a Mac xcode-select --install.")


def system_has(header):
    """Whether the compiler finds a header by itself."""
    done = subprocess.run(
        [compiler(), "-E", "-x", "c++", "-"], input=f"#include <{header}>\n".encode(), check=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode == 0


def gather_headers(folder):
    """The headers that the system lacks, laid out as they are included; returns the folder, or None."""
    missing = [header for header in HEADERS if not system_has(header)]
    for header in missing:
        module, file = HEADERS[header]
        target = folder / header
        if not target.exists():
            say(f"{header} comes from {module}")
            source = Path(json.loads(go("mod", "download", "-json", module))["Dir"]) / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    if "nlohmann/json.hpp" in missing:  # that older copy has no header of mere declarations: the whole will do
        (folder / "nlohmann" / "json_fwd.hpp").write_text("#include <nlohmann/json.hpp>\n")
    return folder if missing else None


def works(binary, version):
    """Whether this is a working Ollama of this version."""
    try:
        done = subprocess.run([str(binary), "--version"], check=False, stdout=subprocess.PIPE, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and f"{version}" in done.stdout.decode("utf-8", "replace")


def build(version, folder):
    """Build one version into `folder/version/`; returns the program."""
    place = folder / version
    binary = place / ("ollama.exe" if os.name == "nt" else "ollama")
    marker = place / "version.txt"
    if binary.exists() and marker.exists() and marker.read_text().strip() == version:
        say(f"{version} is there: {binary}")
        return binary
    place.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "GOBIN": str(place), "CGO_ENABLED": "1"}
    headers = gather_headers(folder / "headers") if version in NEEDS_HEADERS else None
    if headers:
        env["CGO_CXXFLAGS"] = f"{env.get('CGO_CXXFLAGS', '-O2')} -I{headers}"
    say(f"building {version} (a few minutes) …")
    go("install", "-ldflags", f"-X={MODULE}/version.Version={version}", f"{MODULE}@v{version}", env=env)
    if not works(binary, version):
        raise BuildError(f"{binary} was built but does not run.")
    marker.write_text(version + "\n")
    return binary


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="where to: each version in a folder of its own"
    )
    parser.add_argument("versions", nargs="*", default=VERSIONS, metavar="VERSION", help="default: both")
    arguments = parser.parse_args()
    try:
        check_tools()
        built = [build(version, arguments.folder.resolve()) for version in arguments.versions]
    except (BuildError, OSError) as problem:
        say(str(problem))
        return 1
    print(os.pathsep.join(map(str, built)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
