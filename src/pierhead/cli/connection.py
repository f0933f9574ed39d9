"""Where a command finds the API: in a kubeconfig, as kubectl does, and else where ``up`` wrote its own."""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import yaml

from pierhead.client.client import Client
from pierhead.client.http import Http
from pierhead.errors import ApiError, UsageError
from pierhead.region import directory

Work: TypeAlias = Callable[[Client], Awaitable[None]]

OURS = "name the one that the region's `up` said it wrote: --kubeconfig FILE"

ANEW = "another region may run there now: fetch its kubeconfig anew (`pierhead kubeconfig --data-dir DIR` prints it)"

_STEPS: Mapping[int, str] = {
    400: "write it differently",
    403: "whoever runs the region can allow it",
    404: f"is that the right server? {OURS}",
    422: "write it differently",
}
"""What helps after an answer of this code; after any other: the same once more."""


class Connection(msgspec.Struct, frozen=True):
    """A server, and who asks."""

    url: str
    token: str
    authority: str
    """The certificates to trust, in PEM; empty: those this system trusts."""


def find(given: Path | None) -> Connection:
    """The current context of ``file(given)``.

    Raises:
        UsageError: there is none, or it leads nowhere we can go.
    """
    path = file(given)
    try:
        return _read(yaml.safe_load(path.read_text()) or {}, path.parent)
    except FileNotFoundError as error:
        raise UsageError(f"there is no {path}", f"start a region with: pierhead up; or {OURS}") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", OURS) from error
    except _Unusable as error:
        raise UsageError(f"{path} {error}", OURS) from error
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError) as error:
        raise UsageError(f"{path} is no kubeconfig", OURS) from error


def file(given: Path | None) -> Path:
    """``given``, else the first file of ``$KUBECONFIG`` that exists, else, where nobody names one, that in the default data
    directory."""
    wanted = [given] if given else named() or [directory.default() / "kubeconfig"]
    return next((path for path in wanted if os.access(path, os.F_OK)), wanted[0])


def named() -> list[Path]:
    """What ``$KUBECONFIG`` names."""
    return [Path(text) for text in os.environ.get("KUBECONFIG", "").split(os.pathsep) if text]


class _Unusable(Exception):
    """What a kubeconfig lacks, to be said after its name."""


def _read(config: dict[str, Any], folder: Path) -> Connection:
    context = _entry(config, "context", str(config.get("current-context") or ""))
    cluster, user = (_entry(config, noun, str(context.get(noun) or "")) for noun in ("cluster", "user"))
    url, token = cluster.get("server"), user.get("token")
    if not url:
        raise _Unusable("names no server")
    if user.get("tokenFile"):
        token = (folder / user["tokenFile"]).read_text().strip()
    if not token:
        raise _Unusable("has no bearer token")
    return Connection(str(url), str(token), _authority(cluster, folder))


def _entry(config: dict[str, Any], noun: str, name: str) -> dict[str, Any]:
    found = next((entry[noun] for entry in config.get(f"{noun}s") or [] if entry.get("name") == name), None)
    if not isinstance(found, dict):
        raise _Unusable(f'has no {noun} "{name}"' if name else f"has no current {noun}")
    return found


def _authority(cluster: dict[str, Any], folder: Path) -> str:
    """The data go before the file, as in kubectl; a relative file lies beside the kubeconfig."""
    if data := cluster.get("certificate-authority-data"):
        try:
            return base64.b64decode(data, validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise _Unusable("holds a certificate-authority-data that cannot be read") from error
    return (folder / path).read_text() if (path := cluster.get("certificate-authority")) else ""


@asynccontextmanager
async def connected(given: Path | None, name: str) -> AsyncIterator[Client]:
    """A client of the API that the rules of ``find`` lead to; ``name``: the field manager.

    Raises:
        UsageError: there is no way to it, or it turned us away.
    """
    found = find(given)
    try:
        client = Client(Http(found.url, found.token, authority=found.authority), name)
    except OSError as error:  # of which an SSLError is one
        raise UsageError(f"the certificate to trust for {found.url} cannot be used", OURS) from error
    try:
        yield client
    except ApiError as error:
        if doubt := _doubt(error):
            raise UsageError(f"this kubeconfig does not trust who answers at {found.url}: {doubt}", ANEW) from error
        if error.code == 503:
            why = error.message.partition(": ")[2]  # after the request that was tried
            raise UsageError(
                f"no answer from {found.url}: {why}", f"start the region: pierhead up; or {OURS}"
            ) from error
        if error.code == 401:
            raise UsageError(f"{found.url} does not know this token: it may be of another region", OURS) from error
        raise
    finally:
        await client.close()


def _doubt(error: BaseException | None) -> str:
    """What is wrong with the server's certificate, if that is what it all came from."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return ""


def run(given: Path | None, name: str, work: Work) -> None:
    """Does something with a client as ``connected`` gives it.

    Raises:
        UsageError: there is no way to the API, or it refused.
    """

    async def connect() -> None:
        async with connected(given, name) as client:
            await work(client)

    try:
        asyncio.run(connect())
    except ApiError as error:
        raise UsageError(why(error), _STEPS.get(error.code, "try again")) from error


def why(error: ApiError) -> str:
    """What is wrong, without the object, which the user has just named."""
    causes = (error.details or {}).get("causes") or []
    return "; ".join(f"{cause['field']}: {cause['message']}" for cause in causes if cause.get("field")) or error.message
