"""A netlink socket: the wire's messages to the kernel and its answers back.

Blocking, on purpose: the kernel answers before ``send`` returns, in microseconds for what a change needs. A large load belongs into a
thread. A socket stays in the network namespace in which it was made, whoever uses it later.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Self

from pierhead.errors import KernelError
from pierhead.wire.netlink import Message, Protocol


class Netlink:
    """One conversation with the kernel; not for two threads at a time."""

    def __init__(self, connection: socket.socket) -> None:
        """Takes over ``connection``, a bound netlink socket in the namespace that is meant."""
        raise NotImplementedError

    @classmethod
    def open(cls, protocol: Protocol) -> Self:
        """A socket in this thread's network namespace.

        Raises:
            NotSupported: this kernel lacks the protocol.
        """
        raise NotImplementedError

    def transact(self, messages: Sequence[Message], *, generation: int | None = None) -> None:
        """Commits all of ``messages`` or none, as one nftables transaction. Splitting what is too long is the caller's business: only
        he knows in which order parts may be seen.

        Raises:
            KernelError: the first refusal, naming its message's subject; nothing was done.
            MessageTooLong: the send buffer is smaller than the transaction (a user namespace's is 208 KiB, overhead included).
            GenerationPassed: the ruleset is no longer of ``generation``.
            AnswerLost: whether it was done is unknown.
        """
        raise NotImplementedError

    def perform(self, messages: Sequence[Message], *, forgiving: tuple[type[KernelError], ...] = ()) -> None:
        """Does one message after the other (links, routes, conntrack), each for itself, all of them even if one is refused.

        Raises:
            KernelError: the first refusal that is none of ``forgiving``.
        """
        raise NotImplementedError

    def request(self, message: Message) -> list[Message]:
        """The kernel's answer to a question: one message, or all of a dump, which is asked anew when what it shows changed meanwhile.

        Raises:
            KernelError: it was refused; ObjectMissing for what is not there.
            AnswerLost: the dump did not fit or kept changing, several times.
        """
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
