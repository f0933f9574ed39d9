"""Seclusion: a process alone in pid, mount and network namespaces of its own, where everything that it ever starts or makes ends with it.

For an ordinary user a user namespace is around them: the first process is root there and its account the only one. Whoever goes
in stays outside himself, as a process that waits for the one inside, passes signals on and ends as it does; killed, it takes the inside
with it, because the first process in a pid namespace is told to die with its parent, and takes everybody else there along.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from pierhead.dataplane.netlink import refusal
from pierhead.errors import KernelError, UsageError
from pierhead.node.netns import CLONE_NEWNET

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
SPACES: Final = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
PR_SET_PDEATHSIG: Final = 1
SWITCHES: Final = (
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ("user/max_user_namespaces", "0", "10000"),
)
"""Settings by which a machine denies user namespaces to ordinary users: the value that does, and one that does not."""

_libc = ctypes.CDLL(None, use_errno=True)


def seclude() -> int:
    """Returns in a new process inside, with the number by which the first one in there is known outside. The process that called goes on
    only to wait for it, and ends with its exit code.

    Raises:
        UsageError: this account may not, or the kernel cannot.
    """
    told = _hold_signals()
    try:
        _leave(mapped=os.geteuid() != 0)
        life = os.pipe()
        if first := os.fork():
            os.close(life[0])
            sys.exit(_tend(first, told))
        _die_with_parent(life)
        os.setsid()
        number = int(Path("/proc/self").readlink().name)  # as those see us whose /proc this is still
        _see_own_processes()
    except KernelError as error:
        raise UsageError(f"cannot make the namespaces of a lab: {error}", remedy(_switches())) from error
    if inside := os.fork():
        os._exit(_tend(inside, told))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, told)
    return number


def enter(first: int, network: Path) -> None:
    """Returns in a new process among those that are secluded with ``first``, in the network namespace kept in the file. The one that
    called goes on only to wait for it, and ends with its exit code.

    Raises:
        KernelError: this account may not.
        OSError: they have ended, or there is no such file.
    """
    mine = {signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, mine)
    here = Path("/proc/self/cwd").readlink()  # which is known, too, where it was removed
    same = Path(f"/proc/{first}/ns/user").samefile("/proc/self/ns/user")
    if not same and os.geteuid() == 0:
        os.setgroups([])  # those of the machine's root are none of a user's lab
    with Path(f"/proc/{first}/root{network}").open("rb") as file:
        process = os.pidfd_open(first)
        _check(_libc.setns(process, SPACES if same else SPACES | CLONE_NEWUSER), "the lab")
        _check(_libc.setns(file.fileno(), CLONE_NEWNET), str(network))
        os.close(process)
    if not same:  # the machine's root, who goes into a user's lab, is nobody there
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    with suppress(OSError):
        os.chdir(here)
    life = os.pipe()
    if child := os.fork():
        os.close(life[0])
        # The terminal tells both of us; the one inside decides what it means.
        for number in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        sys.exit(_tend(child, mine))
    _die_with_parent(life)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, mine)


def remedy(settings: Mapping[str, str]) -> str:
    """What to do where seclusion is refused. ``settings``: sysctls, by their names below ``/proc/sys``."""
    for name, closed, opened in SWITCHES:
        if settings.get(name) == closed:
            return f"allow them to ordinary users: sudo sysctl {name.replace('/', '.')}={opened}; or be root"
    return "be root; in a container, one that may make namespaces (docker run --privileged)"


def _switches() -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, _, _ in SWITCHES:
        with suppress(OSError):
            found[name] = Path("/proc/sys", name).read_text().strip()
    return found


def _hold_signals() -> Collection[signal.Signals]:
    """Those to be passed on are kept until somebody waits for them. One that whoever started us has switched off stays so."""
    found = {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        found.add(signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, found)
    return found


def _leave(*, mapped: bool) -> None:
    """The next process that this one starts is the first of its pid namespace."""
    user, group = os.geteuid(), os.getegid()
    _check(_libc.unshare(SPACES | CLONE_NEWUSER if mapped else SPACES), "unshare")
    if mapped:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            _write(Path("/proc/self", name), text)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise refusal(error.errno or 0, str(path)) from error


def _die_with_parent(life: tuple[int, int]) -> None:
    """``life``: a pipe whose other end only the parent holds, which may have ended already."""
    os.close(life[1])
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if select.select([life[0]], [], [], 0)[0]:
        os._exit(1)
    os.close(life[0])


def _see_own_processes() -> None:
    """What is mounted from here on is nobody else's."""
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount /")
    _check(_libc.mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None), "mount /proc")


def _tend(child: int, told: Collection[signal.Signals]) -> int:
    """Waits for the child, and reaps whoever else was left to this process; the exit code, as shells have it."""
    while True:
        number = signal.sigwait(told)
        if number != signal.SIGCHLD:
            with suppress(ProcessLookupError):
                os.kill(child, number)
            continue
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == child:
                    code = os.waitstatus_to_exitcode(ended[1])
                    return 128 - code if code < 0 else code


def _check(result: int, subject: str) -> None:
    if result:
        raise refusal(ctypes.get_errno(), subject)
