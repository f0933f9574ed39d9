"""The pytest plug-in, and what importing it and running a region without a network must not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pierhead.testing import Region, libraries

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


def said(script: str) -> tuple[str, str]:
    """What an interpreter of its own prints, and what it complains of."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout, done.stderr


def test_a_run_that_uses_no_region_imports_nothing_of_one() -> None:
    look = "import sys, pierhead.testing.plugin; print(*sorted(m for m in sys.modules if m.startswith('pierhead')))"
    assert said(look)[0].split() == [
        "pierhead", "pierhead.testing", "pierhead.testing.libraries", "pierhead.testing.plugin", "pierhead.testing.region",
    ]  # fmt: skip


def test_a_region_without_a_network_needs_nothing_of_linux() -> None:
    assert said(ELSEWHERE) == ("Running\n", "")


def test_a_library_that_is_not_there_is_named_with_the_line_that_installs_it(
    pierhead: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kubernetes", "kr8s", "lightkube"):
        for module in [found for found in sys.modules if found.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ImportError, match=f"{name} is not installed: pip install {name}"):
            getattr(pierhead, name)()


def test_what_a_library_itself_misses_is_not_taken_for_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lightkube.py").write_text("import that_is_missing")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "lightkube", raising=False)
    with pytest.raises(ModuleNotFoundError, match="that_is_missing"):
        libraries.of_lightkube(tmp_path)
