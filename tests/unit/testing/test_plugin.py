"""What a run of pytest imports, and what it says of libraries that are not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pierhead.testing import Region, libraries


def test_a_run_that_uses_no_region_imports_nothing_of_one() -> None:
    look = "import sys, pierhead.testing.plugin; print(*sorted(m for m in sys.modules if m.startswith('pierhead')))"
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.split() == [
        "pierhead", "pierhead.testing", "pierhead.testing.libraries", "pierhead.testing.plugin", "pierhead.testing.region",
    ]  # fmt: skip


def test_a_region_that_nobody_asks_for_more_imports_no_more() -> None:
    """Imports are most of what the first one of a process costs."""
    look = "import sys; from pierhead.testing import region\nwith region(): print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)
    spared = {"sqlite3", "yaml", "cryptography", "uvloop", "pierhead.node.agent", "pierhead.dataplane.proxier"}
    assert not spared & set(said.stdout.split())


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
