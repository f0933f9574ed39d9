"""Lifecycle hooks, done: what a container asked for right after its start and before its end."""

from __future__ import annotations

import asyncio

from pierhead.api.views import LifecycleHandler
from pierhead.errors import PierheadError
from pierhead.node.target import Target


class HookFailed(PierheadError):
    """The hook's command did not end well, or it has nothing that can be done."""


async def run(hook: LifecycleHandler, target: Target) -> None:
    """Does it, as long as it takes. Of an HTTP request any answer will do, whatever its status: so it is with the kubelet.

    Raises:
        HookFailed, StartFailed, Unreachable: it was not done.
    """
    if hook.exec:
        code, text = await target.run(hook.exec.command, None)
        if code:
            raise HookFailed(text.strip() or f"command exited with code {code}")
    elif hook.http_get:
        await target.get(hook.http_get, "kube-lifecycle/1.36")
    elif hook.sleep:
        await asyncio.sleep(hook.sleep.seconds)
    else:
        raise HookFailed("hooks of this kind cannot be done: use exec, httpGet or sleep")
