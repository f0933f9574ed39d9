"""A netlink socket: the wire's messages to the kernel and its answers back.

Blocking, on purpose: the kernel answers before ``send`` returns, in microseconds for what a change needs. A large load belongs into a
thread. A socket stays in the network namespace in which it was made, whoever uses it later.
"""

from __future__ import annotations

import errno
import os
import socket
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, Self

from msgspec.structs import replace

from pierhead.errors import (
    AnswerLost,
    GenerationPassed,
    KernelError,
    MessageTooLong,
    NoRoom,
    NotPermitted,
    NotSupported,
    ObjectBusy,
    ObjectExists,
    ObjectMissing,
)
from pierhead.wire.netlink import Flag, Message, Outcome, Protocol, attribute_at, encode, encode_batch, parse

SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 270, 1, 10, 11, 12
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
SEND_BUFFER: Final = 1 << 28
"""Bytes; a transaction of 100,000 elements is 5 MB, and the kernel counts its overhead too."""
RECEIVE_BUFFER: Final = 1 << 22
DATAGRAM: Final = 1 << 16
"""Bytes; the kernel makes its answers 32 KiB at most."""
AT_ONCE: Final = 100
"""Messages that are performed before their answers are read: a stock buffer holds the answers to some two hundred."""
_LAST_SEQUENCE: Final = 0xFFFFFFFF
ATTEMPTS: Final = 10
"""How often a dump is asked that changes while it is read."""

_KINDS: Final[Mapping[int, type[KernelError]]] = {
    errno.EPERM: NotPermitted,
    errno.EACCES: NotPermitted,
    errno.EOPNOTSUPP: NotSupported,
    errno.EPROTONOSUPPORT: NotSupported,
    errno.EAFNOSUPPORT: NotSupported,
    errno.ENOENT: ObjectMissing,
    errno.ENODEV: ObjectMissing,
    errno.ESRCH: ObjectMissing,
    errno.EADDRNOTAVAIL: ObjectMissing,
    errno.EEXIST: ObjectExists,
    errno.EBUSY: ObjectBusy,
    errno.ENFILE: NoRoom,
    errno.EMFILE: NoRoom,
    errno.ENOSPC: NoRoom,
    errno.ENOMEM: NoRoom,
    errno.EMSGSIZE: MessageTooLong,
    errno.ERESTART: GenerationPassed,
    errno.ENOBUFS: AnswerLost,
}


def refusal(number: int, subject: str, text: str = "", attribute: bytes = b"") -> KernelError:
    """The kernel's number as an error of ours; ``text``: what the kernel itself says of it."""
    why = os.strerror(number)
    return _KINDS.get(number, KernelError)(number, subject, f"{why} ({text})" if text else why, attribute)


def _refusals(outcomes: Sequence[Outcome], first: int, messages: Sequence[Message]) -> list[KernelError]:
    """The outcomes that are none, in the order in which the kernel gave them; ``first``: the sequence of the first message."""
    refused = [(one, messages[one.sequence - first]) for one in outcomes if one.errno]
    return [refusal(one.errno, its.subject, one.text, attribute_at(its, one.offset)) for one, its in refused]


class Connection(typing.Protocol):
    """What is used of a socket."""

    def setblocking(self, flag: bool, /) -> None: ...
    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...
    def send(self, data: bytes, /) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def getsockname(self) -> tuple[int, int]: ...
    def close(self) -> None: ...


class Netlink:
    """One conversation with the kernel; not for two threads at a time."""

    def __init__(self, connection: Connection) -> None:
        """Takes over ``connection``, a netlink socket in the namespace that is meant."""
        self._socket = connection
        self._sequence = 0
        connection.setblocking(False)
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
            connection.setsockopt(SOL_NETLINK, option, 1)
        for option, size in ((SO_SNDBUFFORCE, SEND_BUFFER), (SO_RCVBUFFORCE, RECEIVE_BUFFER)):
            try:
                connection.setsockopt(socket.SOL_SOCKET, option, size)
            except PermissionError:  # a user namespace: transactions that are too long will say so
                break

    @classmethod
    def open(cls, protocol: Protocol) -> Self:
        """A socket in this thread's network namespace.

        Raises:
            NotSupported: this kernel lacks the protocol.
        """
        subject = f"netlink ({protocol.name.lower()})"
        try:
            return cls(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol))
        except OSError as error:
            raise refusal(error.errno or 0, subject) from error

    @property
    def port(self) -> int:
        """By which the kernel tells its sockets apart: notices carry that of whoever made the change. 0: nothing was sent so far."""
        return self._socket.getsockname()[0]

    def transact(self, messages: Sequence[Message], *, generation: int | None = None) -> list[Message]:
        """Commits all of ``messages`` or none, as one nftables transaction, and returns what it echoes. Splitting what is too long is the
        caller's business: only he knows in which order parts may be seen.

        Raises:
            KernelError: the first refusal, naming its message's subject; nothing was done.
            MessageTooLong: the send buffer is smaller than the transaction (a user namespace's is 208 KiB, overhead included).
            GenerationPassed: the ruleset is no longer of ``generation``.
            AnswerLost: whether it was done is unknown.
        """
        if not messages:
            return []
        begin = self._take(len(messages) + 2)
        self._send(encode_batch(messages, begin, generation), f"a transaction of {len(messages)} messages")
        frame = Message(0, b"", 0, "the transaction")
        answers = list(self._answers(begin, len(messages) + 2))
        outcomes = [found for found in answers if isinstance(found, Outcome)]
        for error in _refusals(outcomes, begin, [frame, *messages, frame]):
            raise error
        if not outcomes:
            raise AnswerLost(0, "the transaction", "the kernel did not answer")
        return [found for found in answers if isinstance(found, Message)]

    def perform(self, messages: Sequence[Message], *, forgiving: tuple[type[KernelError], ...] = ()) -> None:
        """Does one message after the other (links, routes, conntrack), each for itself, all of them even if one is refused.

        Raises:
            KernelError: the first refusal that is none of ``forgiving``.
        """
        refused: list[KernelError] = []
        for start in range(0, len(messages), AT_ONCE):
            refused += self._perform(messages[start : start + AT_ONCE])
        for error in refused:
            if not isinstance(error, forgiving):
                raise error

    def _perform(self, messages: Sequence[Message]) -> list[KernelError]:
        first = self._take(len(messages))
        asked = (replace(message, flags=message.flags | Flag.ACK) for message in messages)
        self._send(b"".join(encode(message, first + i) for i, message in enumerate(asked)), f"{len(messages)} messages")
        outcomes = [found for found in self._answers(first, len(messages)) if isinstance(found, Outcome)]
        if len(outcomes) < len(messages):
            raise AnswerLost(0, messages[len(outcomes)].subject, "the kernel did not answer")
        return _refusals(outcomes, first, messages)

    def ask_strictly(self) -> None:
        """From now on what a dump of routes asks for is all that it gets (Linux 4.20); an older kernel gives more."""
        with suppress(OSError):
            self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)

    def request(self, message: Message) -> list[Message]:
        """The kernel's answer to a question: one message, or all of a dump, which is asked anew when what it shows changed meanwhile.

        Raises:
            KernelError: it was refused; ObjectMissing for what is not there.
            AnswerLost: the dump did not fit or kept changing, several times.
        """
        for _ in range(ATTEMPTS):
            with suppress(AnswerLost):
                found = self._ask(message)
                if found is not None:
                    return found
        raise AnswerLost(0, message.subject, f"none of {ATTEMPTS} attempts to read it gave one state of it")

    def _ask(self, message: Message) -> list[Message] | None:
        """One attempt; None: what was dumped changed meanwhile."""
        sequence = self._take(1)
        self._send(encode(replace(message, flags=message.flags | Flag.ACK), sequence), message.subject)
        found: list[Message] = []
        whole = True
        for answer in self._answers(sequence, 1):
            if isinstance(answer, Message):
                found.append(answer)
                whole = whole and not answer.flags & Flag.DUMP_INTERRUPTED
            elif answer.errno == errno.EINTR:
                return None
            elif answer.errno:
                raise refusal(answer.errno, message.subject, answer.text)
            else:
                return found if whole and not answer.interrupted else None
        return None

    def _take(self, count: int) -> int:
        """``count`` sequence numbers nobody has used; answers to earlier ones are told apart by them."""
        first = self._sequence + 1 if self._sequence + count < _LAST_SEQUENCE else 1
        self._sequence = first + count - 1
        return first

    def _send(self, data: bytes, subject: str) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise refusal(error.errno or 0, subject) from error

    def _answers(self, first: int, count: int) -> Iterator[Message | Outcome]:
        """What the kernel has answered to the messages from ``first`` on. All of it is there when ``send`` returns, but for the rest
        of a dump, which the kernel makes while it is read. What did not fit comes last, as the Outcome ENOBUFS."""
        lost = False
        while True:
            try:
                data = self._socket.recv(DATAGRAM)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise refusal(error.errno or 0, "netlink") from error
                lost = True
                continue
            yield from (answer for sequence, answer in parse(data) if first <= sequence < first + count)
        if lost:
            yield Outcome(first, errno.ENOBUFS)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
