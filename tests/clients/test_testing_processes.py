"""Regions in processes of their own: several at once, one that forgets or dies, one that is not on Linux."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest
from pierhead.testing import Region

@pytest.mark.parametrize("number", range(6))
def test_each_finds_it_new(pierhead: Region, number: int) -> None:
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"n": str(number)}}
    [stored] = pierhead.apply(made)
    assert stored["data"] == {"n": str(number)}
    assert len(pierhead.apply({"apiVersion": "v1", "kind": "List", "items": []})) == 0
"""
FORGETFUL = """
from pierhead.testing import region
r = region()
print(r.kubeconfig, r.url, flush=True)
"""
ELSEWHERE = """
import os, signal, sys

class NotHere:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("pierhead.node.", "pierhead.dataplane")) and name != "pierhead.node.server":
            raise ImportError(f"{name} needs Linux")

def audit(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith("/proc"):
        raise OSError("there is no /proc")

sys.meta_path.insert(0, NotHere())
sys.addaudithook(audit)
for module, name in ((os, "pidfd_open"), (signal, "pidfd_send_signal"), (os, "setns"), (os, "unshare")):
    if hasattr(module, name):
        delattr(module, name)

from pierhead.testing import region
with region() as r:
    r.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    print(r.ready("p")["status"]["phase"])
"""


INTERRUPTED = """
import os, signal
from pierhead.testing import Region

signal.signal(signal.SIGINT, signal.default_int_handler)  # who was started in the background ignores it

def test_that_hangs(pierhead: Region) -> None:
    def look(_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    pierhead.wait("configmaps", "never", look, timeout=60)
"""
INTERRUPTED_EARLY = """
import signal, sys, threading
from pierhead.testing.life import Life

def audit(event, arguments):
    if event == "tempfile.mkdtemp":
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.addaudithook(audit)
try:
    Life("none")
except KeyboardInterrupt:
    print("interrupted")
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(10)
print(threading.active_count())
"""


def test_the_tests_of_several_processes_do_not_meet(tmp_path: Path) -> None:
    (tmp_path / "test_maps.py").write_text(TESTS)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    variables["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    command = [sys.executable, "-m", "pytest", "-q", "-n2", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert "6 passed" in done.stdout, done.stdout + done.stderr
    assert len(list((tmp_path / "cache").rglob("ca.key"))) == 1


def forgetful(tmp_path: Path, rest: str) -> tuple[subprocess.CompletedProcess[str], Path, int]:
    """A script that has made a region in its third line; the folder of that region, and its port."""
    script = tmp_path / "script.py"
    script.write_text(FORGETFUL + rest)
    command = [sys.executable, "-W", "always::ResourceWarning", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    kubeconfig, url = done.stdout.split()
    return done, Path(kubeconfig).parent, int(url.rpartition(":")[2])


@pytest.mark.parametrize(("rest", "code"), [("", 0), ("raise SystemExit(3)", 3), ("1 / 0", 1)])
def test_a_process_that_never_closes_it_ends_and_leaves_nothing(tmp_path: Path, rest: str, code: int) -> None:
    done, folder, _ = forgetful(tmp_path, rest)
    assert done.returncode == code
    assert "script.py:3: ResourceWarning: this region was never closed: use `with region()`" in done.stderr
    assert not folder.exists()


def test_tests_that_are_interrupted_end_at_once_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(INTERRUPTED)
    (tmp_path / "temporary").mkdir()
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    variables["TMPDIR"] = str(tmp_path / "temporary")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "KeyboardInterrupt" in done.stdout
    assert list((tmp_path / "temporary").glob("pierhead-*")) == []


def test_who_is_interrupted_while_it_begins_leaves_nothing(tmp_path: Path) -> None:
    command, variables = [sys.executable, "-c", INTERRUPTED_EARLY], os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("interrupted\n1\n", "")
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_dies_takes_it_along(tmp_path: Path) -> None:
    done, folder, port = forgetful(tmp_path, "import os; os._exit(7)")
    shutil.rmtree(folder)  # what a process leaves that has no time for its last words
    assert (done.returncode, done.stderr) == (7, "")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_region_without_a_network_needs_nothing_of_linux() -> None:
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("Running\n", "")
