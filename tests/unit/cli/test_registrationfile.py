"""A file of registrations: read whole, or refused with the line that is wrong."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pierhead.cli import registrationfile
from pierhead.errors import UsageError

GOOD = """\
- name: db-1
  ip: 192.0.2.10
  ports: [pg=5432]
  labels: {app: db}
- {name: db-2, ip: 192.0.2.11, ttl: 60, labels: {on: yes}}
"""


def test_a_list_in_yaml(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(GOOD)
    first, second = registrationfile.read(tmp_path / "f", "shop")
    assert (first.key, first.ip, first.labels) == (("shop", "db-1"), "192.0.2.10", {"app": "db"})
    assert (second.ttl, second.ports, second.labels) == (60, (), {"on": "yes"})


def test_json_on_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('[{"name": "a", "ip": "::1", "namespace": "b"}]'))
    (found,) = registrationfile.read(Path("-"), "shop")
    assert (found.key, found.ip) == (("b", "a"), "::1")


@pytest.mark.parametrize(
    ("stdin", "why"),
    [
        (io.StringIO(""), "standard input is empty"),
        (None, "standard input is empty"),
        (io.StringIO("name: a\n"), "standard input holds no list"),
        (io.StringIO("- db-1\n"), "standard input, line 1: this is no registration"),
        (io.TextIOWrapper(io.BytesIO(b"\xff"), "utf-8"), "standard input is not text"),
    ],
)
def test_a_pipe_is_called_what_it_is(monkeypatch: pytest.MonkeyPatch, stdin: io.TextIOBase | None, why: str) -> None:
    """None: whoever started the command had closed it."""
    monkeypatch.setattr("sys.stdin", stdin)
    with pytest.raises(UsageError, match=f"^{why}$"):
        registrationfile.read(Path("-"), "default")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", " is empty"),
        ("# nothing\n", " is empty"),
        ("name: a\n", " holds no list"),
        ("- name: a\n  ip: [\n", ", line 3: "),
        ("- a: \0\n", " is neither YAML nor JSON"),
        ("[" * 600, " is neither YAML nor JSON"),
        ("- db-1\n", ", line 1: this is no registration"),
        ("- {name: a, ip: 192.0.2.1}\n- name: b\n", ", line 2: ip is missing"),
        ("- name: a\n  ip: ::1\n  ports:\n  - x\n", ', line 3: "x" is not a port'),
        ("- name: a\n  ip: ::1\n  colour: red\n", ', line 3: unknown field "colour"'),
        ("- {name: a, ip: 192.0.2.1}\n\n- {name: a, ip: 192.0.2.2}\n", ", line 3: pod/a stands in line 1 already"),
        ("- name: a\n  ip: ::1\n  ip: ::2\n", ', line 3: field "ip" stands there twice'),
        ("- {name: a, ? [x] : y}\n", ", line 1: "),
        ("- {name: a, ip: 192.0.2.1, ttl: !!int x}\n", ', line 1: ttl "x" is not a time'),
    ],
)
def test_a_file_that_makes_no_sense(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "f"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        registrationfile.read(path, "default")
    assert str(caught.value).removeprefix(str(path)).startswith((why, f"cannot read {path}"))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file") as caught:
        registrationfile.read(tmp_path / "none", "default")
    assert caught.value.hint == registrationfile.SHAPE
    (tmp_path / "f").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="is not text"):
        registrationfile.read(tmp_path / "f", "default")
