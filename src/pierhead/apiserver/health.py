"""``/healthz``, ``/livez`` and ``/readyz``: ok, or which check fails; ``?verbose`` lists them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from pierhead.apiserver.answer import Answer, text
from pierhead.apiserver.request import Request

Checks: TypeAlias = Mapping[str, Callable[[], bool]]
PATHS = ("/healthz", "/livez", "/readyz")


def answer(request: Request, checks: Checks) -> Answer:
    """``/readyz`` runs all checks that ``exclude`` does not name, ``/readyz/NAME`` one."""
    base, _, name = request.path[1:].partition("/")
    if name and name not in checks:
        return text("404 page not found\n", 404)
    excluded = request.query.get("exclude", "")
    wanted = [name] if name else [check for check in checks if check != excluded]
    results = {check: checks[check]() for check in wanted}
    passed = all(results.values())
    if passed and "verbose" not in request.query:
        return text("ok")
    lines = [f"[{'+' if good else '-'}]{check} {'ok' if good else 'failed'}\n" for check, good in results.items()]
    last = f"{base} check {'passed' if passed else 'failed'}\n"
    return text("".join(lines) + last, 200 if passed else 500)
