"""Network namespaces: made, kept under a name, entered by a thread for a moment.

A thread enters, opens a netlink socket and ends; the socket stays in the namespace, so the event loop configures any number of them
without a process and without leaving its own. What is kept is a file that the namespace is mounted on, as ``ip netns`` does it: it
outlives this process, and so does the traffic through it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from pierhead.dataplane.netlink import Netlink, refusal
from pierhead.errors import ObjectMissing
from pierhead.wire import links
from pierhead.wire.netlink import Protocol

Result = TypeVar("Result")

CLONE_NEWNET: Final = 0x40000000
MS_BIND: Final = 0x1000
MNT_DETACH: Final = 2
LOOPBACK: Final = 1
"""The index of lo, which is the first link of every namespace."""

_libc = ctypes.CDLL(None, use_errno=True)


class NetworkNamespace:
    """One that is there, under ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return f"network namespace {self.path.name}"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command to run it there."""
        return ("nsenter", f"--net={self.path}", "--")

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor, by which links are sent there.

        Raises:
            ObjectMissing: it is not there any more.
        """
        try:
            found = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ObjectMissing(errno.ENOENT, str(self), "it is not there") from error
        try:
            yield found
        finally:
            os.close(found)

    def open(self, protocol: Protocol) -> Netlink:
        """A conversation with the kernel of there.

        Raises:
            KernelError: it may not be entered, or the kernel lacks the protocol.
        """
        return self.within(lambda: Netlink.open(protocol))

    def set(self, setting: str, value: str) -> None:
        """A sysctl of there, such as ``net/ipv4/ip_forward``. One that has this value is left alone: containers often see settings, and
        may not write them.

        Raises:
            KernelError: it may not be entered, there is no such setting, or it may not be written.
        """
        path = Path("/proc/sys", setting)

        def work() -> None:
            if path.read_text().strip() != value:
                path.write_text(value)

        try:
            self.within(work)
        except OSError as error:
            raise refusal(error.errno or 0, f"{setting} in {self}") from error

    def within(self, work: Callable[[], Result]) -> Result:
        """Does a short piece of work in a thread that is there. What the work raises is raised here."""
        with self.opened() as descriptor:
            return _in_a_thread(lambda: _entered(descriptor, str(self), work))


def make(path: Path) -> NetworkNamespace:
    """A new one, with lo switched on and nothing else; one that stands under this name is taken away first.

    Raises:
        KernelError: this account may not, or the kernel lacks network namespaces.
        OSError: the file cannot be made.
    """
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    found = NetworkNamespace(path)

    def work() -> None:
        _check(_libc.unshare(CLONE_NEWNET), str(found))
        here = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        _check(_libc.mount(here.encode(), os.fsencode(path), b"", MS_BIND, None), str(found))
        with Netlink.open(Protocol.ROUTE) as route:
            route.perform([links.switch(LOOPBACK, up=True)])

    try:
        _in_a_thread(work)
    except BaseException:
        remove(path)
        raise
    return found


def find(path: Path) -> NetworkNamespace | None:
    """The one that is kept under this name, by an earlier run for one."""
    return NetworkNamespace(path) if os.path.ismount(path) else None


def remove_below(directory: Path) -> None:
    """Gives up every name in a folder and in those below it."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            remove(path)


def remove(path: Path) -> None:
    """Gives up the name. The namespace goes when nobody is in it any more; its links go a little later."""
    while os.path.ismount(path):
        _check(_libc.umount2(os.fsencode(path), MNT_DETACH), f"network namespace {path.name}")
    with suppress(FileNotFoundError):
        path.unlink()


def _entered(descriptor: int, subject: str, work: Callable[[], Result]) -> Result:
    _check(_libc.setns(descriptor, CLONE_NEWNET), subject)
    return work()


def _in_a_thread(work: Callable[[], Result]) -> Result:
    """A thread that has left its namespace does not come back: it ends."""
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="network namespace")
    thread.start()
    thread.join()
    for error in failures:
        raise error
    return results[0]


def _check(result: int, subject: str) -> None:
    if result:
        raise refusal(ctypes.get_errno(), subject)
