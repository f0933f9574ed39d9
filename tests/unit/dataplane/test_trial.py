"""What a kernel lacks is named before anybody relies on it."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from compiled import GROUND
from pierhead.dataplane import trial
from pierhead.dataplane.netlink import Netlink, refusal
from pierhead.errors import KernelError, NoRoom, NotPermitted, NotSupported
from pierhead.forwarding.nftlayout import Layout
from pierhead.wire.netlink import Message, attributes, each, string
from pierhead.wire.nftables import Kind


class Lacking(Netlink):
    """A kernel without one kind of expression, or one that refuses to tell of flows."""

    def __init__(self, expression: str = "", flows: int = 0) -> None:
        self._expression, self._flows = expression, flows
        self.asked: list[Message] = []

    def transact(self, messages: Sequence[Message], *, generation: int | None = None) -> list[Message]:
        self.asked += messages
        for message in messages:
            found = attributes(message.body[4:])
            for _, part in each(found.get(4, b"")) if message.kind == Kind.NEWRULE else ():
                if string(attributes(part)[1]) == self._expression:
                    raise refusal(errno.ENOENT, message.subject, "", part)
        return []

    def request(self, message: Message) -> list[Message]:
        if self._flows:
            raise refusal(self._flows, message.subject)
        return []


@pytest.mark.parametrize("expression", ["numgen", "nat", "masq", "dynset", "fib", "reject"])
def test_an_expression_that_the_kernel_lacks_is_named(expression: str) -> None:
    with pytest.raises(NotSupported, match=rf"this kernel lacks {expression} \(No such file"):
        trial.undergo(Lacking(expression), Layout(GROUND))


@pytest.mark.parametrize(
    ("number", "error", "told"),
    [
        (errno.EINVAL, NotSupported, "lacks nf_conntrack_netlink"),
        (errno.EPERM, NotPermitted, "not permitted"),
        (errno.ENOMEM, NoRoom, "allocate memory"),
    ],
)
def test_connection_tracking_is_asked_too(number: int, error: type[KernelError], told: str) -> None:
    with pytest.raises(error, match=told):
        trial.undergo(Lacking(flows=number), Layout(GROUND))


def test_what_it_lays_it_takes_away_in_the_same_transaction() -> None:
    kernel = Lacking()
    trial.undergo(kernel, Layout(GROUND))
    assert kernel.asked[0].kind == Kind.NEWTABLE
    assert (kernel.asked[-1].kind, kernel.asked[-1].subject) == (Kind.DELTABLE, str(Layout(GROUND).table))
