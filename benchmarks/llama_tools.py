"""llama.cpp's own tools, built on the llama.cpp libraries that benchkit uses: what the benchmarks compare with.

They are built from the llama.cpp source inside the source distribution of the *installed* llama-cpp-python, and
linked with the *installed* libraries: the very code that is measured, so ggml commit and build flags cannot
differ. It is done once (about two minutes, 77 MB download) into the cache folder; it needs CMake, a C++ compiler
and Linux or macOS.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchkit import places  # noqa: E402
from benchkit.backends.gguf import default_threads  # noqa: E402
from benchkit.errors import BenchkitError  # noqa: E402

#: Each tool and its folder among llama.cpp's tools.
FOLDERS = {"llama-bench": "llama-bench", "llama-perplexity": "perplexity"}

CMAKE = """
cmake_minimum_required(VERSION 3.14)
project(tools-on-installed-libraries C CXX)
# The engine is in the installed libraries, built as they are. llama-bench's own loop is a few instructions, and
# the tools' other 30,000 lines compile in half the time at -O1.
set(CMAKE_CXX_FLAGS "-O1 -DNDEBUG ${CMAKE_CXX_FLAGS}")
set(BUILD_SHARED_LIBS OFF)
set(CMAKE_SKIP_RPATH ON)  # the cache outlives this environment: where the libraries are is told at each start
set(LLAMA_BUILD_COMMON ON)
set(LLAMA_OPENSSL OFF)
set(LLAMA_TOOLS_INSTALL OFF)
set(LLAMA_BUILD_NUMBER 0)
set(LLAMA_BUILD_COMMIT "${COMMIT}")
function(llama_add_compile_flags)
endfunction()
function(license_add_file)
endfunction()
find_package(Threads REQUIRED)
# The target that llama.cpp's own files call "llama" is here the installed libraries.
add_library(llama INTERFACE)
target_include_directories(llama INTERFACE ${SRC}/include ${SRC}/ggml/include)
file(GLOB INSTALLED ${LIB}/libllama.${EXT} ${LIB}/libggml*.${EXT})
target_link_libraries(llama INTERFACE ${INSTALLED})
add_subdirectory(${SRC}/vendor vendor)
add_subdirectory(${SRC}/common common)
add_subdirectory(${SRC}/tools/llama-bench llama-bench)
add_subdirectory(${SRC}/tools/perplexity perplexity)
# llama-perplexity computes the probabilities itself, which counts: it gets what llama.cpp's own build gives it.
foreach(target llama-perplexity llama-perplexity-impl)
  if(TARGET ${target})
    target_compile_options(${target} PRIVATE -O3)
  endif()
endforeach()
"""


def library_folder() -> Path:
    """Where the installed llama-cpp-python keeps llama.cpp's libraries."""
    return Path(importlib.util.find_spec("llama_cpp").origin).parent / "lib"


def ggml_commit() -> str:
    """The llama.cpp commit that the installed libraries say they were built from."""
    try:
        function = ctypes.CDLL(str(library_folder() / f"libggml-base.{_extension()}")).ggml_commit
    except (OSError, AttributeError):
        return "unknown"
    function.restype = ctypes.c_char_p
    return function().decode()


def _extension() -> str:
    return "dylib" if sys.platform == "darwin" else "so"


def build(tool: str, say: Callable[[str], None]) -> Path:
    """`llama-bench` or `llama-perplexity` on the installed libraries; from the cache folder if built before."""
    folder = places.cache_folder() / "llama.cpp" / f"{version('llama-cpp-python')}-{ggml_commit()}"
    program = folder / "build" / FOLDERS[tool] / tool
    if program.exists():
        return program
    if sys.platform == "win32" or not shutil.which("cmake"):
        raise BenchkitError(f"{tool} is built on Linux and macOS, with CMake and a C++ compiler. Install them.")
    folder.mkdir(parents=True, exist_ok=True)
    source = _source(folder, say)
    (folder / "CMakeLists.txt").write_text(CMAKE, encoding="utf-8")
    values = {"SRC": source, "LIB": library_folder(), "EXT": _extension(), "COMMIT": ggml_commit()}
    say(f"building {tool}, about two minutes …")
    log = folder / f"{tool}.log"
    with open(log, "w", encoding="utf-8") as output:
        for command in (
            ["cmake", "-S", folder, "-B", folder / "build", *(f"-D{key}={value}" for key, value in values.items())],
            ["cmake", "--build", folder / "build", "--target", tool, "-j", _jobs()],
        ):
            if subprocess.run(list(map(str, command)), stdout=output, stderr=output, check=False).returncode:
                raise BenchkitError(f"{tool} could not be built, see {log}")
    return program


def _jobs() -> int:
    return int(os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", default_threads()))


def _source(folder: Path, say: Callable[[str], None]) -> Path:
    """llama.cpp's source, out of the source distribution of the installed version."""
    package = f"llama-cpp-python=={version('llama-cpp-python')}"
    source = folder / "source" / "vendor" / "llama.cpp"
    if source.exists():
        return source
    say(f"downloading the source distribution of {package} …")
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "llama-cpp-python"]
    if subprocess.run([*pip, "-d", str(folder), package], check=False).returncode:
        raise BenchkitError(f"{package} could not be downloaded as source (is there a network?)")
    (archive,) = folder.glob("llama_cpp_python-*.tar.gz")
    unpacked = folder / "unpacking"
    with tarfile.open(archive) as tar:
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        tar.extractall(unpacked, [m for m in tar if "/vendor/llama.cpp/" in m.name], **safe)
    next(unpacked.iterdir()).rename(folder / "source")
    shutil.rmtree(unpacked)
    archive.unlink()
    return source


def call(program: Path, flags: dict[str, object]) -> subprocess.CompletedProcess[str]:
    """Run a tool on the very library files that benchkit loads, wherever it was built. A failure is raised."""
    search = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    command = [str(program), *(str(part) for flag in flags.items() for part in flag if part is not None)]
    env = os.environ | {search: str(library_folder())}
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise BenchkitError(f"{program.name} failed: {done.stderr.strip()[-500:]}")
    return done
