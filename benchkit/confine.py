"""Take rights away from the process that calls: what is left is enough to run a student's answer.

On Linux (x86_64, aarch64) three locks, none of which can be opened again from inside:

1. `setrlimit`: processor time, memory, file size, open files.
2. Landlock: files can be read where Python and the course's data lie, and written in one temporary folder.
   Solutions, hidden checks, submissions and results lie elsewhere. No signal reaches a process outside.
3. seccomp: no new process and no other program, no signal, no look into another process, no change of names,
   owners or modes of files, no Unix socket. TCP stays: an exercise talks to a server on this machine.

Where a lock does not exist (an old kernel, another system) it is left out, and `missing` says so. Standard
library only.
"""

from __future__ import annotations

import ctypes
import os
import platform
import site
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

try:
    from benchkit import sandbox_child as kernel
except ImportError:  # Windows, where it is not used
    kernel = None

# ---- limits ----------------------------------------------------------------------------------------

FILE_BYTES = 8 << 20
OPEN_FILES = 128


def set_limits(cpu_s: int, memory_bytes: int) -> None:
    """Limits of the kernel, beyond what the process already uses; one that this system lacks is left out."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {
        "RLIMIT_CPU": cpu_s, "RLIMIT_AS": _mapped_bytes() + memory_bytes, "RLIMIT_FSIZE": FILE_BYTES,
        "RLIMIT_NOFILE": OPEN_FILES, "RLIMIT_CORE": 0, "RLIMIT_MEMLOCK": 0, "RLIMIT_MSGQUEUE": 0,
    }  # fmt: skip
    for name, value in limits.items():
        what = getattr(resource, name, None)
        if what is None:
            continue
        hard = resource.getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(what, (value, value))
        except (OSError, ValueError):  # macOS has no limit on address space
            pass


def _mapped_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 1 << 30


# ---- Landlock --------------------------------------------------------------------------------------

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
READ_FILE, READ_DIR = 1 << 2, 1 << 3
EXECUTE, MAKE_CHAR, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM, IOCTL_DEV = (
    1 << n for n in (0, 6, 9, 10, 11, 12, 15)
)
FILE_RIGHTS = (
    (1 << 0) | (1 << 1) | READ_FILE | (1 << 14) | IOCTL_DEV
)  # all that a rule on a single file may name
NEVER = EXECUTE | MAKE_CHAR | MAKE_SOCK | MAKE_FIFO | MAKE_BLOCK | MAKE_SYM | IOCTL_DEV
RIGHTS_BY_VERSION = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many rights a version of Landlock knows
SCOPES = 3  # abstract Unix sockets, signals

SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/dev/null", "/dev/zero",
          "/dev/urandom", "/dev/random")  # fmt: skip
NETWORK = ("hosts", "resolv.conf", "nsswitch.conf", "host.conf", "gai.conf", "services", "protocols", "localtime", "ssl",
           "ca-certificates", "mime.types", "ld.so.cache", "passwd")  # fmt: skip
COURSE = ("benchkit", "prompts", "models", "benchmark_outputs/sample")


class Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("rights", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def readable() -> list[Path]:
    """Where the process may read: Python, its packages, the system's libraries, the course's data."""
    root = Path(__file__).resolve().parent.parent
    bases = {base for base in (sys.prefix, sys.base_prefix, sys.exec_prefix) if base not in ("/", "/usr")}
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    libraries += [*site.getsitepackages(), site.getusersitepackages() if site.ENABLE_USER_SITE else ""]
    paths = {
        *SYSTEM, *(f"/etc/{name}" for name in NETWORK), *(root / part for part in COURSE), *libraries,
        *(f"{base}/lib" for base in bases), *(f"{base}/pyvenv.cfg" for base in bases), os.path.dirname(os.__file__),
    }  # fmt: skip
    found = {Path(path).resolve() for path in paths if path and os.path.exists(path)}
    return sorted(path for path in found if path != root and path != Path("/"))


def exposed(secrets: Iterable[Path]) -> list[Path]:
    """Those of the given places that an answer could read all the same, because they lie among what it must read."""
    return [secret for secret in secrets if any(path in (at := secret.resolve()).parents or path == at
                                                for path in readable())]  # fmt: skip


def landlock_version() -> int:
    """Which Landlock this kernel has; 0 where it has none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _call(CREATE_RULESET, None, 0, 1))


def _call(number: int, *arguments) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(
        ctypes.c_long(number), *(ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments)
    )


def lock_files(read: Sequence[Path], write: Path, version: int) -> None:
    """From now on, files can be read beneath `read`, and read and written beneath `write`, nowhere else."""
    rights = (1 << RIGHTS_BY_VERSION.get(version, 16)) - 1
    rules = Ruleset(rights, 0, SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    fd = _call(CREATE_RULESET, ctypes.byref(rules), size, 0)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "Landlock could not be set up")
    try:
        for path in read:
            _allow(fd, path, READ_FILE | READ_DIR, rights)
        _allow(fd, Path("/dev/null"), READ_FILE | 2, rights)
        _allow(fd, write, rights & ~NEVER, rights)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        if _call(RESTRICT_SELF, fd, 0) < 0:
            raise OSError(ctypes.get_errno(), "Landlock could not be enforced")
    finally:
        os.close(fd)


def _allow(ruleset: int, path: Path, wanted: int, known: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # it is gone meanwhile: nothing to allow
        return
    try:
        wanted &= known if path.is_dir() else known & FILE_RIGHTS
        rule = PathBeneath(wanted, fd)
        if _call(ADD_RULE, ruleset, 1, ctypes.byref(rule), 0) < 0:
            raise OSError(ctypes.get_errno(), f"Landlock refused a rule for {path}")
    finally:
        os.close(fd)


# ---- seccomp ---------------------------------------------------------------------------------------

#: System calls that are refused, with their numbers on the two machine types; None: it does not exist there.
REFUSED = {
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "kcmp": (312, 272),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "semget": (64, 190),
    "msgget": (68, 186), "mq_open": (240, 180), "setrlimit": (160, 164), "setpriority": (141, 140),
    "ioprio_set": (251, 30), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122), "sched_setattr": (314, 274), "setsid": (112, 157), "setpgid": (109, 154),
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setgroups": (116, 159), "setresuid": (117, 147), "setresgid": (119, 149), "setfsuid": (122, 151),
    "setfsgid": (123, 152), "capset": (126, 91), "personality": (135, 92), "unshare": (272, 97), "setns": (308, 268),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "open_tree_attr": (467, 467), "truncate": (76, 45),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "setxattrat": (463, 463), "removexattrat": (466, 466), "inotify_init": (253, None), "inotify_init1": (294, 26),
    "fanotify_init": (300, 262), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266), "sethostname": (170, 161),
    "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None), "quotactl": (179, 60),
    "acct": (163, 89), "syslog": (103, 116),
}  # fmt: skip
CLONE, CLONE3, SOCKET, SOCKETPAIR = (56, 220), (435, 435), (41, 198), (53, 199)
PRLIMIT, PRCTL, FCNTL, IOCTL = (302, 261), (157, 167), (72, 25), (16, 29)

LOAD, EQUAL, AT_LEAST, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
X32, CLONE_THREAD, AF_INET, AF_INET6, SOCK_STREAM, SOCK_DGRAM = 0x40000000, 0x10000, 2, 10, 1, 2
SIGNAL_FCNTLS, SIGNAL_IOCTLS = (8, 10, 15), (0x8901, 0x8902)  # each lets a file send signals to a process


def _argument(n: int, high: bool = False) -> tuple[int, int, int, int]:
    return LOAD, 0, 0, 16 + 8 * n + 4 * high


_NO, _YES = (RETURN, 0, 0, EPERM), (RETURN, 0, 0, ALLOW)


def _program(column: int, architecture: int) -> list[tuple[int, int, int, int]]:
    """The filter, instruction by instruction: (code, jump if true, jump if false, value)."""
    steps = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0),
             (AT_LEAST, 0, 1, X32), (RETURN, 0, 0, KILL)]  # fmt: skip
    for numbers in REFUSED.values():
        if numbers[column] is not None:
            steps += [(EQUAL, 0, 1, numbers[column]), _NO]
    steps += [(EQUAL, 0, 1, CLONE3[column]), (RETURN, 0, 0, ENOSYS)]  # the C library then takes clone
    rules = {
        CLONE: [_argument(0), (ANY_BIT, 0, 1, CLONE_THREAD), _YES, _NO],
        SOCKET: [
            _argument(0),
            (EQUAL, 1, 0, AF_INET),
            (EQUAL, 0, 5, AF_INET6),
            _argument(1),
            (AND, 0, 0, 15),
            (EQUAL, 1, 0, SOCK_STREAM),
            (EQUAL, 0, 1, SOCK_DGRAM),
            _YES,
            _NO,
        ],
        SOCKETPAIR: [_argument(1), (AND, 0, 0, 15), (EQUAL, 0, 1, SOCK_STREAM), _YES, _NO],
        PRLIMIT: [_argument(2), (EQUAL, 0, 3, 0), _argument(2, high=True), (EQUAL, 0, 1, 0), _YES, _NO],
        PRCTL: [_argument(0), (EQUAL, 0, 1, kernel.PR_SET_PDEATHSIG), _NO, _YES],
        FCNTL: [_argument(1), *_refuse(SIGNAL_FCNTLS)],
        IOCTL: [_argument(1), *_refuse(SIGNAL_IOCTLS)],
    }
    for numbers, rule in rules.items():
        steps += [(EQUAL, 0, len(rule), numbers[column]), *rule]
    return [*steps, _YES]


def _refuse(values: Sequence[int]) -> list[tuple[int, int, int, int]]:
    return [step for value in values for step in ((EQUAL, 0, 1, value), _NO)] + [_YES]


def lock_calls() -> None:
    """From now on, the kernel refuses the calls in `REFUSED` and the harmful uses of those below them."""
    steps = _program(*kernel.MACHINES[platform.machine()])
    program = kernel.Program(len(steps), (kernel.Instruction * len(steps))(*steps))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_SECCOMP, kernel.SECCOMP_MODE_FILTER, ctypes.byref(program))


def can_lock_calls() -> bool:
    return sys.platform.startswith("linux") and platform.machine() in kernel.MACHINES


# ---- all together ----------------------------------------------------------------------------------


def confine(write: Path, cpu_s: int, memory_bytes: int) -> None:
    """Close every lock that this system has; only the folder `write` can be written to."""
    read, version = readable(), landlock_version()
    set_limits(cpu_s, memory_bytes)
    if version:
        lock_files(read, write, version)
    if can_lock_calls():
        lock_calls()


def missing() -> list[str]:
    """What this system cannot keep an answer from doing, in words."""
    found = []
    if not can_lock_calls():
        found.append("start other processes and send them signals")
    if not landlock_version():
        found.append("read and change the files that you can read and change")
    return found
