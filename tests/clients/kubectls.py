"""The kubectls there are, each at home in a namespace of a region."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

OWN_WORDS = re.compile(
    r"^[WI]\d{4} .* reflector\.go:\d+\] .*very short watch: .*\n"  # its time was up: it ends the watch, and complains of that
    r"|(?<= deleted) from \S+ namespace",  # since 1.34
    re.MULTILINE,
)
"""What some versions of kubectl add by themselves, whatever the server says; version 1.32 was recorded."""


def programs() -> Mapping[str, str]:
    """Where they are: the one on PATH, and the one that the extra ``kubectl`` brings beside this Python."""
    extra = Path(sys.executable).with_name("kubectl")
    found = {"extra": str(extra)} if extra.exists() else {}
    program = shutil.which("kubectl")
    return found | ({"path": program} if program and program not in found.values() else {})


@dataclass(frozen=True)
class Kubectl:
    """One of them."""

    program: str
    folder: Path
    """Where it is called, and its home."""

    def result(self, *arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.program, *arguments], cwd=self.folder, env=self._environment(variables), input=stdin,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        done.stdout, done.stderr = (OWN_WORDS.sub("", text) for text in (done.stdout, done.stderr))
        return done

    def __call__(self, *arguments: str, stdin: str = "", **variables: str) -> str:
        """What it wrote to standard output. ``variables``: of the environment."""
        done = self.result(*arguments, stdin=stdin, **variables)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout

    def refused(self, *arguments: str, stdin: str = "", **variables: str) -> str:
        """What it wrote to standard error, and failed."""
        done = self.result(*arguments, stdin=stdin, **variables)
        assert done.returncode == 1, (
            f"kubectl {' '.join(arguments)}: exit {done.returncode}: {done.stderr or done.stdout}"
        )
        return done.stderr

    def words(self, *arguments: str) -> str:
        """The same with single blanks: the width of a column follows from names and ages."""
        return re.sub(r"[ \t]+", " ", self(*arguments))

    def object(self, *arguments: str) -> dict[str, Any]:
        """What ``get`` shows of one object."""
        found: dict[str, Any] = json.loads(self("get", *arguments, "-o", "json"))
        return found

    def rows(self, *arguments: str) -> list[list[str]]:
        """The cells of a table, its heading first."""
        return [re.split(r" {2,}", line.strip()) for line in self(*arguments).splitlines()]

    @contextmanager
    def following(self, *arguments: str) -> Iterator[Iterator[str]]:
        """The lines of a command that goes on. Leaving the block ends it."""
        with subprocess.Popen(
            [self.program, *arguments], cwd=self.folder, env=self._environment({}), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            try:
                yield iter(process.stdout)
            finally:
                process.terminate()

    def file(self, name: str, *objects: Mapping[str, Any]) -> str:
        """The name of a file with these objects, one document each."""
        (self.folder / name).write_text(yaml.safe_dump_all(objects))
        return name

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        kubeconfig = str(self.folder / "kubeconfig")
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "KUBECONFIG": kubeconfig, **variables}


def at_home(program: str, kubeconfig: Path, namespace: str, folder: Path) -> Kubectl:
    """``kubeconfig``: of the region, whose one context gets that namespace here."""
    config = yaml.safe_load(kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    (folder / "kubeconfig").write_text(json.dumps(config))
    return Kubectl(program, folder)
