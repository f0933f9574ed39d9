"""Where a command finds the API."""

from __future__ import annotations

import asyncio
import base64
import socket
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop
import yaml

from inside import server
from pierhead.api.kinds import POD
from pierhead.apiserver.server import Serving
from pierhead.cli.connection import Connection, connected, find, run
from pierhead.client.client import Client
from pierhead.errors import ApiError, Cause, UsageError, bad_request, conflict, forbidden, invalid, not_found
from pierhead.pki.credentials import ensure

PEM = "-----BEGIN CERTIFICATE-----\n"


def write(path: Path, url: str = "https://192.0.2.1:6443", *, cluster: Any = None, user: Any = None) -> Path:
    authority = {"certificate-authority-data": base64.b64encode(PEM.encode()).decode()}
    path.write_text(yaml.safe_dump({
        "kind": "Config", "current-context": "here",
        "contexts": [
            {"name": "there", "context": {"cluster": "other", "user": "other"}},
            {"name": "here", "context": {"cluster": "c", "user": "u"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": url} | (authority if cluster is None else cluster)}],
        "users": [{"name": "u", "user": {"token": "secret"} if user is None else user}],
    }))  # fmt: skip
    return path


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default data directory; nothing else names a kubeconfig."""
    directory = tmp_path / "state"
    directory.mkdir()
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr("pierhead.region.directory.default", lambda: directory)
    return directory


def test_the_option_goes_before_the_environment_and_that_before_the_data_directory(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(state / "kubeconfig", "https://default:1")
    assert find(None).url == "https://default:1"
    named = write(tmp_path / "named", "https://named:1")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{named}")
    assert find(None).url == "https://named:1"
    assert find(write(tmp_path / "given", "https://given:1")).url == "https://given:1"


def test_who_names_a_file_that_is_not_there_is_not_led_elsewhere(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(state / "kubeconfig", "https://default:1")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    with pytest.raises(UsageError, match=f"there is no {tmp_path / 'missing'}"):
        find(None)


def test_a_variable_that_holds_the_content_and_not_the_name_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{'apiVersion' * 30}: v1")
    with pytest.raises(UsageError, match=r"^cannot read apiVersion.*: File name too long$"):
        find(None)
    named = write(tmp_path / "named", "https://named:1")
    monkeypatch.setenv("KUBECONFIG", f"{'a' * 300}:{named}")
    assert find(None).url == "https://named:1"


def test_its_current_context_says_who_asks_whom(tmp_path: Path) -> None:
    assert find(write(tmp_path / "k")) == Connection("https://192.0.2.1:6443", "secret", PEM)


def test_files_that_it_names_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text(PEM)
    (tmp_path / "token").write_text("secret\n")
    path = write(tmp_path / "k", cluster={"certificate-authority": "ca.crt"}, user={"tokenFile": "token"})
    assert find(path) == Connection("https://192.0.2.1:6443", "secret", PEM)
    assert find(write(path, cluster={})).authority == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[", "is no kubeconfig"),
        ("- a", "is no kubeconfig"),
        ("\x00", "is no kubeconfig"),
        ("", "has no current context"),
        ("current-context: here", 'has no context "here"'),
        ("current-context: a\ncontexts: [{name: a, context: {cluster: c}}]", 'has no cluster "c"'),
    ],
)
def test_what_is_no_kubeconfig_is_one_line_and_the_next_step(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "k").write_text(text)
    with pytest.raises(UsageError, match=why) as caught:
        find(tmp_path / "k")
    assert str(caught.value) == f"{tmp_path / 'k'} {why}"
    assert "--kubeconfig FILE" in caught.value.hint


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"user": {"client-certificate": "x"}}, "has no bearer token"),
        ({"url": ""}, "names no server"),
        ({"cluster": {"certificate-authority-data": "?"}}, "certificate-authority-data that cannot be read"),
    ],
)
def test_what_it_lacks_is_said(tmp_path: Path, more: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        find(write(tmp_path / "k", **more))


def test_where_there_is_none_the_next_step_is_to_start_a_region(state: Path) -> None:
    with pytest.raises(UsageError, match=f"there is no {state}/kubeconfig") as caught:
        find(None)
    assert "pierhead up" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "message", "why"),
    [
        (503, "GET /apis: All connection attempts failed", "no answer from https://192.0.2.1:6443: All connection"),
        (401, "Unauthorized", "does not know this token"),
    ],
)
def test_what_keeps_us_out_is_said(tmp_path: Path, code: int, message: str, why: str) -> None:
    async def fail() -> None:
        async with connected(write(tmp_path / "k", cluster={}), "test"):
            raise ApiError(code, "", message)

    with pytest.raises(UsageError, match=why):
        asyncio.run(fail())


def test_a_region_made_anew_is_not_mistaken_for_one_that_does_not_run(tmp_path: Path) -> None:
    """At the same address, with another authority than the one in the kubeconfig."""
    names, now = ["127.0.0.1"], datetime.now(UTC)
    ours, theirs = (ensure(tmp_path / name, names, now) for name in ("ours", "theirs"))

    async def ask() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            path = write(tmp_path / "k", url, cluster={"certificate-authority": str(ours.ca)})
            door = partial(Serving, certificate=theirs.certificate, key=theirs.key)
            async with server() as region, door(region.app, listener):
                with pytest.raises(UsageError, match=f"does not trust who answers at {url}: ") as caught:
                    await list_pods(path)
        assert "fetch its kubeconfig anew" in caught.value.hint

    async def list_pods(path: Path) -> None:
        async with connected(path, "test") as client:
            await client.list(POD)

    uvloop.run(ask())


def test_a_certificate_that_is_none_is_said(tmp_path: Path) -> None:
    async def fail() -> None:
        async with connected(write(tmp_path / "k"), "test"):
            raise AssertionError

    with pytest.raises(UsageError, match=r"the certificate to trust .* cannot be used"):
        asyncio.run(fail())


@pytest.mark.parametrize(
    ("error", "line", "step"),
    [
        (bad_request("unable to parse"), "unable to parse", "write it differently"),
        (
            invalid("a", "Pod", "", [Cause("", "no", "spec.x"), Cause("", "too long")]),
            "spec.x: no",
            "write it differently",
        ),
        (invalid("a", "Pod", "", [Cause("", "no")]), 'Pod "a" is invalid: no', "write it differently"),
        (forbidden("a", "pods", "", "no"), 'pods "a" is forbidden: no', "whoever runs the region can allow it"),
        (not_found("a", "pods"), 'pods "a" not found', "is that the right server?"),
        (conflict("a", "pods", "", "no"), 'Operation cannot be fulfilled on pods "a": no', "try again"),
        (ApiError(500, "", "oh"), "oh", "try again"),
    ],
)
def test_what_the_api_refuses_is_one_line_and_the_next_step(
    tmp_path: Path, error: ApiError, line: str, step: str
) -> None:
    async def fail(_: Client) -> None:
        raise error

    with pytest.raises(UsageError) as caught:
        run(write(tmp_path / "k", cluster={}), "test", fail)
    assert str(caught.value) == line
    assert caught.value.hint.startswith(step)
