"""Make benchkit's Python environment: `python scripts/setup_env.py` (what `make` calls first).

It needs Python 3.10 or newer and, where no ready llama-cpp-python exists, a C/C++ compiler. It creates
`.venv`, builds llama-cpp-python in the short way while the other packages download, and installs this
checkout so that edits count at once. Done once; a second call sees the stamp and returns.

    python scripts/setup_env.py                        set up, or do nothing if that was done
    python scripts/setup_env.py --gather wheelhouse    gather every package on a stick
    python scripts/setup_env.py --offline wheelhouse   set up from that stick, with no network
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYPROJECT = os.path.join(ROOT, "pyproject.toml")
EXTRAS = ("notebooks", "export", "test")
OLDEST_PYTHON = (3, 10)
ENGINE = "llama-cpp-python"

# The package never uses llama.cpp's `common` library nor its image support; without them, and with several
# sources to a compiler call, the build takes about two minutes on two cores instead of five.
FAST_BUILD = "-DLLAVA_BUILD=OFF -DCMAKE_UNITY_BUILD=ON -DCMAKE_PROJECT_INCLUDE={include}"
FAST_INCLUDE = "set(LLAMA_BUILD_COMMON OFF)\n"


# Modules are compiled when they are first imported; compiling all of them at once takes half a minute.
QUICKLY = ("--quiet", "--no-compile")


class SetupError(Exception):
    """Set-up cannot go on; the message says what to do."""


def say(text):
    print("set-up: " + text, flush=True)


# ---- what is to be installed ------------------------------------------------------------------------


def requirements(text, extras=EXTRAS):
    """What pyproject.toml requires, with the named extras (Python 3.10 has no tomllib)."""
    found = []
    for name in ("dependencies",) + tuple(extras):
        block = re.search(rf"^{name} = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL).group(1)
        found += re.findall(r'^\s*"([^"]+)"', block, re.MULTILINE)
    return found


def read_pyproject():
    with open(PYPROJECT, encoding="utf-8") as file:
        return file.read()


def build_requirement():
    return re.search(r'^requires = \["([^"]+)"\]', read_pyproject(), re.MULTILINE).group(1)


def engine_requirement():
    return next(line for line in requirements(read_pyproject()) if line.startswith(ENGINE))


# ---- the environment --------------------------------------------------------------------------------


def python_of(venv):
    """The Python inside an environment."""
    return os.path.join(venv, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))


def works(command):
    """Whether a command can be started and ends well."""
    try:
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return done.returncode == 0
    except OSError:
        return False


def engine_version(python):
    """The version of llama-cpp-python that a Python would import, or None."""
    code = f"import importlib.metadata as m; print(m.version('{ENGINE}'))"
    done = subprocess.run(
        [python, "-c", code], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return done.stdout.decode().strip() or None


def engine_is_new_enough(python):
    """The installed version if it meets pyproject's lower bound, else None."""
    version = engine_version(python)
    numbers = [
        tuple(map(int, re.findall(r"\d+", text)[:3])) for text in (version or "0", engine_requirement())
    ]
    return version if numbers[0] >= numbers[1] else None


def engine_loads(python):
    """Whether the engine's library can be loaded: a bad build or another machine's build cannot."""
    return works([python, "-c", "import llama_cpp; llama_cpp.llama_backend_init()"])


def newer_python():
    """Another Python on the PATH that is new enough, for when `python3` is not."""
    for minor in range(20, OLDEST_PYTHON[1] - 1, -1):
        path = shutil.which(f"python3.{minor}")
        if path and works([path, "-c", "import venv"]):
            return path
    return None


def make_venv(venv):
    """Create the environment, unless a working one is there."""
    python = python_of(venv)
    if works([python, "-m", "pip", "--version"]):
        return python
    if os.path.exists(venv) and not os.path.exists(os.path.join(venv, "pyvenv.cfg")):
        raise SetupError(
            f"{venv} exists and is no Python environment: move it away, or choose another with "
            "make VENV=<folder>"
        )
    command = [sys.executable, "-m", "venv", "--clear"]
    ready = sys.prefix == sys.base_prefix and engine_is_new_enough(sys.executable)
    if ready:
        say(f"{sys.executable} already has {ENGINE} {ready}: it is used as it is.")
        command.append("--system-site-packages")
    say(f"creating {venv} with Python {platform.python_version()}.")
    done = subprocess.run(command + [venv], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0 and not borrow_pip(command, venv):
        raise SetupError(
            "this Python ({}) cannot create environments:\n{}\nOn Debian and Ubuntu: "
            "sudo apt install python3-venv   (then the same command again).\nOr name another Python: "
            "make PYTHON=/path/to/python3 …".format(
                sys.executable, done.stdout.decode(errors="replace").strip()
            )
        )
    return python


def borrow_pip(command, venv):
    """Debian's Python may lack what `venv` needs to add pip; if it has a pip of its own, that can do it."""
    pip = [sys.executable, "-m", "pip", "--python", python_of(venv), "install", "--quiet", "pip"]
    return works(command + ["--without-pip", venv]) and works(pip)


# ---- the engine ------------------------------------------------------------------------------------


def has_compiler():
    return any(shutil.which(name) for name in (os.environ.get("CXX") or "c++", "g++", "clang++", "cl"))


def compiler_advice():
    command = {
        "Darwin": "xcode-select --install",
        "Windows": "winget install "
        "Microsoft.VisualStudio.2022.BuildTools   (with C++), or use conda: see README",
    }
    return command.get(
        platform.system(), "sudo apt install build-essential   (Fedora: sudo dnf install gcc-c++)"
    )


def build_environment(user_flags, include):
    """The build's environment: our flags first, so that a user's own CMAKE_ARGS have the last word."""
    ours = FAST_BUILD.format(include=include) if include else ""
    return dict(os.environ, CMAKE_ARGS=(ours + " " + user_flags).strip())


class EngineBuild:
    """llama-cpp-python becoming a wheel in `folder` meanwhile; our flags reach no other package."""

    def __init__(self, python, folder, fast=True):
        self.folder, self.log, self.start = folder, os.path.join(folder, "llama-build.log"), time.time()
        os.makedirs(folder, exist_ok=True)
        include = os.path.join(tempfile.mkdtemp(prefix="benchkit-"), "fast.cmake") if fast else None
        if include:
            with open(include, "w") as file:
                file.write(FAST_INCLUDE)
        flags = os.environ.get("CMAKE_ARGS", "")
        command = [python, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder]
        if flags:  # a wheel from the cache would know nothing of them
            command += ["--no-cache-dir", "--no-binary", ENGINE]
        self.temporary = include and os.path.dirname(include)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command + [engine_requirement()],
                stdout=log,
                stderr=log,
                env=build_environment(flags, include),
            )

    def wait(self):
        """The wheel's path, or None if the build failed; says every half minute that it is alive."""
        while True:
            try:
                code = self.process.wait(timeout=30)
                break
            except subprocess.TimeoutExpired:
                say(f"still building {ENGINE} ({time.time() - self.start:.0f} s) …")
        if self.temporary:
            shutil.rmtree(self.temporary, ignore_errors=True)
        return newest_wheel(self.folder) if code == 0 else None

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def last_lines(self, count=15):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-count:])


def newest_wheel(folder):
    wheels = [
        os.path.join(folder, name)
        for name in os.listdir(folder)
        if name.startswith("llama_cpp_python") and name.endswith(".whl")
    ]
    return max(wheels, key=os.path.getmtime) if wheels else None


def built_wheel(python, folder, build):
    """Wait for the short build; if it fails, build the plain way and say so."""
    wheel = build.wait()
    if wheel is None:
        say(
            f"the short build of {ENGINE} failed on this machine; building it the plain way, which takes "
            f"about five minutes on two cores. The end of the log ({build.log}) was:\n{build.last_lines(5)}"
        )
        wheel, build = plain_wheel(python, folder)
    say(f"{os.path.basename(wheel)} is ready ({time.time() - build.start:.0f} s).")
    return wheel


def plain_wheel(python, folder):
    build = EngineBuild(python, folder, fast=False)
    try:
        wheel = build.wait()
    finally:
        build.stop()
    if wheel is None:
        advice = "" if has_compiler() else "\nNo C++ compiler was found. " + compiler_advice()
        raise SetupError(
            f"{ENGINE} could not be built; the whole log is {build.log}. It ends:\n"
            f"{build.last_lines()}{advice}"
        )
    return wheel, build


# ---- installing ------------------------------------------------------------------------------------


def pip(python, *arguments):
    """Run pip, which explains itself when it fails."""
    if subprocess.run([python, "-m", "pip"] + list(arguments), check=False, cwd=ROOT).returncode != 0:
        raise SetupError(
            "pip could not finish (see above). Without a network, see 'No internet' in README.md."
        )


def install_online(python, venv):
    """The engine builds while everything else downloads; then this checkout is installed."""
    wheels, start = os.path.join(venv, "wheels"), time.time()
    ready = engine_is_new_enough(python)
    build = None
    if ready:
        say(f"{ENGINE} {ready} is there already and is used as it is.")
    else:
        say(f"building {ENGINE} for this processor: about two minutes on two cores, once.")
        if not has_compiler():
            say("no C++ compiler found. If the build fails: " + compiler_advice())
        build = EngineBuild(python, wheels)
    try:
        say(f"installing the other packages{' meanwhile' if build else ''} (a minute or two, at most 250 MB).")
        others = [line for line in requirements(read_pyproject()) if not line.startswith(ENGINE)]
        pip(python, "install", *QUICKLY, *others, build_requirement())
        say(f"the other packages are in place ({time.time() - start:.0f} s).")
        if build:
            install_engine(python, wheels, build)
    finally:
        if build:
            build.stop()
    pip(python, "install", *QUICKLY, "--no-build-isolation", "--editable", ".[{}]".format(",".join(EXTRAS)))


def install_engine(python, wheels, build):
    """Install the built engine, and build it the plain way if the short build cannot be loaded."""
    pip(python, "install", "--quiet", built_wheel(python, wheels, build))
    if not engine_loads(python):
        say(
            "the short build cannot be loaded here; building the plain way (about five minutes on two cores)."
        )
        pip(python, "install", "--quiet", "--force-reinstall", "--no-deps", plain_wheel(python, wheels)[0])


def install_offline(python, wheelhouse):
    """Everything from a folder that `--gather` filled, nothing from the network."""
    folder = os.path.abspath(wheelhouse)
    if not (os.path.isdir(folder) and newest_wheel(folder)):
        raise SetupError(
            f"{folder} holds no gathered packages. On a machine with internet, the same system and "
            "the same Python: make wheels; then copy its folder 'wheelhouse' here."
        )
    say(f"installing from {folder}, without the network (about a minute).")
    pip(
        python,
        "install",
        "--quiet",
        "--no-index",
        "--find-links",
        folder,
        "--editable",
        ".[{}]".format(",".join(EXTRAS)),
    )


def gather(python, venv, wheelhouse):
    """Fill a folder with a wheel of every package, the engine built on this machine."""
    folder = os.path.abspath(wheelhouse)
    os.makedirs(folder, exist_ok=True)
    built = (
        newest_wheel(os.path.join(venv, "wheels")) if os.path.isdir(os.path.join(venv, "wheels")) else None
    )
    if built:
        shutil.copy(built, folder)
    elif not newest_wheel(folder):
        say(f"building {ENGINE} (about two minutes on two cores).")
        built_wheel(python, folder, EngineBuild(python, folder))
    say("gathering the other packages (about a minute).")
    pip(
        python,
        "wheel",
        "--quiet",
        "--wheel-dir",
        folder,
        "--find-links",
        folder,
        "pip",
        "setuptools",
        "wheel",
        *requirements(read_pyproject()),
    )
    names = [name for name in os.listdir(folder) if name.endswith(".whl")]
    size = sum(os.path.getsize(os.path.join(folder, name)) for name in names) / 2**20
    say(
        f"{len(names)} packages, {size:.0f} MiB, in {folder}, for {platform.system()} {platform.machine()} "
        f"and Python {platform.python_version()}. Copy this checkout with that folder to the other machines "
        f"and run 'make install-offline' there. {ENGINE} was built for this processor: gather on the oldest "
        "one of the room."
    )


# ---- done once -------------------------------------------------------------------------------------


def stamp_path(venv):
    return os.path.join(venv, ".benchkit-setup")


def state_now():
    """What the set-up depends on: the list of packages, and where the checkout is (installs are editable)."""
    digest = hashlib.sha256(read_pyproject().encode()).hexdigest()
    return {"pyproject_sha256": digest, "checkout": ROOT}


def is_current(venv):
    try:
        with open(stamp_path(venv), encoding="utf-8") as file:
            return json.load(file) == state_now() and os.path.exists(python_of(venv))
    except (OSError, ValueError):
        return False


def set_up(venv, wheelhouse=None):
    start, python = time.time(), make_venv(venv)
    install_offline(python, wheelhouse) if wheelhouse else install_online(python, venv)
    if not engine_loads(python):
        raise SetupError(
            f"{ENGINE} is installed but cannot be loaded; see why with:\n  {python} -c 'import llama_cpp'\n"
            f"If it was built on another processor, remove {venv} and run the same command again."
        )
    with open(stamp_path(venv), "w", encoding="utf-8") as file:
        json.dump(state_now(), file)
    say(f"done in {time.time() - start:.0f} s. This is not repeated unless pyproject.toml changes.")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--venv", default=os.path.join(ROOT, ".venv"), help="the environment (default: .venv)"
    )
    parser.add_argument(
        "--gather", metavar="DIR", help="fill DIR with every package, for machines without internet"
    )
    parser.add_argument("--offline", metavar="DIR", help="install from DIR, with no network")
    options = parser.parse_args()
    venv = os.path.abspath(options.venv)
    if options.gather:
        gather(make_venv(venv), venv, options.gather)
    elif options.offline or not is_current(venv):
        set_up(venv, options.offline)


if __name__ == "__main__":
    if sys.version_info < OLDEST_PYTHON:
        other = newer_python()
        if other is None:
            sys.exit(
                "set-up: benchkit needs Python 3.10 or newer; "
                f"{sys.executable} is {platform.python_version()}. "
                "Install one from python.org or your system, or name it: make PYTHON=/path/to/python3.12 demo"
            )
        sys.exit(subprocess.call([other] + sys.argv))
    try:
        main()
    except SetupError as error:
        sys.exit("set-up: " + str(error))
    except KeyboardInterrupt:
        sys.exit("set-up: interrupted; the same command continues.")
