"""A wheel, installed into an empty environment, is a working ``pierhead up``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

from running import ROOT, running

PARTS = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")


def pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


def built(folder: Path) -> Path:
    """The wheel of this checkout, made from a copy: a build leaves its traces beside the sources."""
    source = folder / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in PARTS:
        shutil.copy(ROOT / name, source)
    pip(Path(sys.executable), "wheel", "--no-deps", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


def files(tree: Path) -> set[str]:
    """What a checkout has there, but for what running it leaves."""
    return {
        str(path.relative_to(ROOT / "src"))
        for path in tree.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and "egg-info" not in str(path)
    }


def test_a_wheel_in_an_empty_environment_is_a_working_region(tmp_path: Path) -> None:
    wheel = built(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        assert files(ROOT / "src" / "pierhead") <= set(archive.namelist())
    venv.create(tmp_path / "empty", with_pip=True, symlinks=True)
    commands = tmp_path / "empty" / "bin"
    pip(commands / "python", "install", str(wheel))
    pierhead = str(commands / "pierhead")
    with running(tmp_path / "data", "--network", "none", command=[pierhead]) as region:
        assert region.call("GET", "/readyz") == (200, "ok")
        arguments = [pierhead, "kubeconfig", "--data-dir", str(region.data_dir)]
        printed = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=True).stdout
        assert printed == region.kubeconfig.read_text()
        example = next((tmp_path / "empty").rglob("pierhead/examples/my-service.yaml"))
        assert region.kubectl("apply", "-f", str(example)) == "service/my-service created\n"
        assert region.kubectl("get", "service", "my-service", "-o", "jsonpath={.spec.ports[0].targetPort}") == "9376"
    assert region.lines[-2].split("=")[1].startswith(str(commands))
