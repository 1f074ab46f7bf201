"""The inside of the sandbox: started by `benchkit.sandbox` as a process of its own, never imported.

It reads a job, gives up every right it does not need, and only then runs the generated code:

1. limits on processor time, memory, file size, open files and processes (`setrlimit`);
2. a seccomp filter: the Linux kernel answers "not permitted" to every system call but the few that a
   calculation needs. There is no call to open a file, a socket or a program among them, so none can be
   opened, whoever the user is and whatever the code does. The filter cannot be taken off again.

Standard library only, and no imports from benchkit: it runs with `python -I -S`.
"""

import ast
import ctypes
import importlib
import io
import json
import os
import platform
import resource
import signal
import sys

#: Standard modules that generated code may import. They are loaded before the door closes.
MODULES = """abc argparse array ast base64 binascii bisect calendar cmath collections collections.abc contextlib
copy csv dataclasses datetime decimal difflib enum fractions functools hashlib heapq inspect io itertools json
logging math numbers operator os os.path pprint queue random re secrets statistics string struct sys textwrap
time timeit traceback types typing unicodedata unittest uuid warnings""".split()

#: System calls left after the door closed, and their numbers on the two machine types we know.
#: None: the call does not exist there.
CALLS = {  # name: (x86_64, aarch64)
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62),
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216),
    "madvise": (28, 233), "futex": (202, 98), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "sigaltstack": (131, 132), "restart_syscall": (219, 128),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101), "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153),
    "getrusage": (98, 165), "getrandom": (318, 278), "getpid": (39, 172), "gettid": (186, 178),
    "sched_yield": (24, 124), "select": (23, None), "pselect6": (270, 72),
    "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column in CALLS, AUDIT_ARCH constant
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 38, 22, 2
KILL_PROCESS, ALLOW, NOT_PERMITTED = 0x80000000, 0x7FFF0000, 0x00050000 | 1  # the last: return EPERM
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06


def main() -> None:
    job = json.load(sys.stdin)
    try:
        die_with_parent(job["parent"])
        set_limits(job)
        load_modules(job["code"])
        close_the_door()
    except Exception as error:  # the reason goes to the parent, which refuses; nothing was run
        os.write(job["refusal_fd"], f"{type(error).__name__}: {error}".encode())
        os._exit(1)
    os.close(job["refusal_fd"])  # from here on nothing written is trusted
    run(job["code"], job["calls"], job["answers_fd"])
    os._exit(0)


def prctl(*arguments) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    padded = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in (*arguments, 0, 0, 0, 0)][:5]
    if libc.prctl(*padded) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({arguments[0]}): {os.strerror(code)}")


def die_with_parent(parent: int) -> None:
    """The kernel kills this process when the one that started it is gone."""
    prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        raise OSError("the parent process is gone")


def set_limits(job: dict) -> None:
    limits = {
        resource.RLIMIT_CPU: job["cpu_s"],
        resource.RLIMIT_AS: job["memory_bytes"],
        resource.RLIMIT_FSIZE: job["output_bytes"],
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
    }
    for what, value in limits.items():
        hard = resource.getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (value, value))
        if resource.getrlimit(what) != (value, value):
            raise OSError(f"resource limit {what} could not be set")


def load_modules(code: str) -> None:
    """Import what the code will import, as long as files can still be opened."""
    try:
        tree = ast.parse(code)
    except Exception:
        return  # the code will fail by itself, inside
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    for name in names.intersection(MODULES):
        importlib.import_module(name)


class Instruction(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_ushort),
        ("yes", ctypes.c_ubyte),
        ("no", ctypes.c_ubyte),
        ("k", ctypes.c_uint),
    ]


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(Instruction))]


def close_the_door() -> None:
    """Install the filter: a call in `CALLS` is allowed, any other returns "not permitted"."""
    column, architecture = MACHINES[platform.machine()]
    steps = [
        (LOAD, 0, 0, 4),
        (JUMP_IF_EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, 0),
    ]
    for numbers in CALLS.values():
        if numbers[column] is not None:
            steps += [(JUMP_IF_EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, ALLOW)]
    steps.append((RETURN, 0, 0, NOT_PERMITTED))
    program = Program(len(steps), (Instruction * len(steps))(*steps))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program))


def run(code: str, calls: list, answers: int) -> None:
    """Run the code, then evaluate each call; one line of JSON for each, the code's own load first.

    What the right answers are is not known in here, so the code cannot forge them.
    """
    sys.stdin = io.StringIO("")  # input() meets the end of the file
    namespace = {"__name__": "generated"}  # not "__main__": a script's main block stays asleep
    write_line(answers, attempt(lambda: exec(compile(code, "<generated>", "exec"), namespace)))
    for call in calls:
        write_line(answers, attempt(lambda call=call: eval(call, namespace)))
    try:
        sys.stdout.flush()
    except BaseException:
        pass


def attempt(action) -> dict:
    try:
        value = action()
        json.dumps(value)
        return {"value": value}
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: the code may raise anything
        return {"error": f"{type(error).__name__}: {str(error)[:200]}"}


def write_line(answers: int, answer: dict) -> None:
    data = (json.dumps(answer) + "\n").encode()
    while data:
        data = data[os.write(answers, data) :]


if __name__ == "__main__":
    main()
