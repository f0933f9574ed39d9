"""The socket before a kernel that answers as it likes: late, twice, not at all, or more than fits."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

import pytest

from pierhead.dataplane.netlink import AT_ONCE, ATTEMPTS, Netlink, refusal
from pierhead.errors import AnswerLost, KernelError, MessageTooLong, NotSupported, ObjectExists, ObjectMissing
from pierhead.wire.netlink import HEADER, Flag, Message

ERROR, DONE, ANSWER = 2, 3, 77
QUESTION = Message(76, b"what", Flag.DUMP, "things")
CHANGE = Message(75, b"this", 0, "this thing")

Answers = Callable[[int], list[bytes | OSError]]


def datagram(kind: int, sequence: int, body: bytes, flags: int = 0) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, flags, sequence, 0) + body + bytes(-len(body) % 4)


def outcome(sequence: int, number: int = 0) -> bytes:
    return datagram(ERROR, sequence, struct.pack("=i", -number) + bytes(16), Flag.CAPPED)


def done(sequence: int, flags: int = 0) -> bytes:
    return datagram(DONE, sequence, bytes(4), flags)


class Kernel:
    """Answers each ``send`` by the next of its scripts, which are given the first message's sequence; the last script stays."""

    def __init__(self, *scripts: Answers) -> None:
        self.scripts = list(scripts)
        self.sent: list[bytes] = []
        self.waiting: list[bytes | OSError] = []

    def setblocking(self, flag: bool, /) -> None:
        assert not flag

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """Takes every option."""

    def getsockname(self) -> tuple[int, int]:
        return 1, 0

    def send(self, data: bytes, /) -> int:
        self.sent.append(data)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        self.waiting += script(HEADER.unpack_from(data)[3])
        return len(data)

    def recv(self, size: int, /) -> bytes:
        if not self.waiting:
            raise BlockingIOError
        found = self.waiting.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    def close(self) -> None:
        """Nothing is held."""


def whole(first: int) -> list[bytes | OSError]:
    return [datagram(ANSWER, first, b"one", 2) + datagram(ANSWER, first, b"two", 2), done(first)]


def changed(first: int) -> list[bytes | OSError]:
    return [datagram(ANSWER, first, b"half", 2 | Flag.DUMP_INTERRUPTED), done(first)]


def changed_at_the_end(first: int) -> list[bytes | OSError]:
    return [datagram(ANSWER, first, b"half", 2), done(first, Flag.DUMP_INTERRUPTED)]


def too_much(first: int) -> list[bytes | OSError]:
    return [datagram(ANSWER, first, b"half", 2), OSError(errno.ENOBUFS, "No buffer space available")]


def test_a_dump_is_all_of_its_datagrams() -> None:
    assert [found.body for found in Netlink(Kernel(whole)).request(QUESTION)] == [b"one", b"two"]


@pytest.mark.parametrize("first", [changed, changed_at_the_end, too_much])
def test_a_dump_that_shows_no_single_state_is_asked_anew(first: Answers) -> None:
    kernel = Kernel(first, whole)
    assert [found.body for found in Netlink(kernel).request(QUESTION)] == [b"one", b"two"]
    assert len(kernel.sent) == 2


def test_a_dump_that_never_shows_one_state_is_given_up() -> None:
    kernel = Kernel(changed)
    with pytest.raises(AnswerLost, match=r"things: none of 10 attempts"):
        Netlink(kernel).request(QUESTION)
    assert len(kernel.sent) == ATTEMPTS


def test_answers_to_an_earlier_question_are_not_taken_for_this_ones() -> None:
    kernel = Kernel(
        lambda first: [outcome(first - 1, errno.ENOENT), datagram(ANSWER, first - 1, b"old"), *whole(first)]
    )
    assert [found.body for found in Netlink(kernel).request(QUESTION)] == [b"one", b"two"]


def test_one_answer_and_its_acknowledgement() -> None:
    kernel = Kernel(lambda first: [datagram(ANSWER, first, b"it"), outcome(first)])
    (found,) = Netlink(kernel).request(Message(76, b"which", 0, "a thing"))
    assert found.body == b"it"


def test_a_refused_question_names_its_subject() -> None:
    with pytest.raises(ObjectMissing, match=r"^things: No such file or directory$"):
        Netlink(Kernel(lambda first: [outcome(first, errno.ENOENT)])).request(QUESTION)


def test_a_commit_that_fails_is_the_transactions_own_error() -> None:
    """The kernel blames the batch's begin for what no single message is guilty of."""
    with pytest.raises(KernelError, match=r"^the transaction: Cannot allocate memory$"):
        Netlink(Kernel(lambda first: [outcome(first, errno.ENOMEM)])).transact([CHANGE])


def test_the_first_refusal_is_the_one_that_is_told() -> None:
    def answers(first: int) -> list[bytes | OSError]:
        return [outcome(first + 2, errno.ENOENT), outcome(first + 1, errno.EOPNOTSUPP), outcome(first + 3)]

    with pytest.raises(ObjectMissing, match=r"^second: "):
        Netlink(Kernel(answers)).transact([CHANGE, Message(75, b"", 0, "second"), CHANGE])


@pytest.mark.parametrize("answers", [lambda _: [], lambda _: [OSError(errno.ENOBUFS, "No buffer space available")]])
def test_a_change_without_an_answer_is_not_taken_for_done(answers: Answers) -> None:
    for change in (Netlink.transact, Netlink.perform):
        with pytest.raises(AnswerLost):
            change(Netlink(Kernel(answers)), [CHANGE])


def test_a_refusal_is_told_although_other_answers_were_lost() -> None:
    def answers(first: int) -> list[bytes | OSError]:
        return [outcome(first + 1, errno.ENOENT), OSError(errno.ENOBUFS, "No buffer space available")]

    with pytest.raises(ObjectMissing):
        Netlink(Kernel(answers)).transact([CHANGE])


def test_many_are_performed_in_parts_whose_answers_fit() -> None:
    kernel = Kernel(lambda first: [outcome(first + i, errno.EEXIST if i == 7 else 0) for i in range(AT_ONCE)])
    messages = [Message(75, b"", 0, f"thing {i}") for i in range(3 * AT_ONCE)]
    with pytest.raises(KernelError, match=r"^thing 7: File exists$"):
        Netlink(kernel).perform(messages)
    assert len(kernel.sent) == 3
    Netlink(kernel).perform(messages, forgiving=(ObjectExists,))


def test_nothing_is_performed_without_a_message() -> None:
    kernel = Kernel(whole)
    Netlink(kernel).perform([])
    Netlink(kernel).transact([])
    assert kernel.sent == []


def test_what_cannot_be_sent_at_once_says_so() -> None:
    class Small(Kernel):
        def send(self, data: bytes, /) -> int:
            raise OSError(errno.EMSGSIZE, "Message too long")

    with pytest.raises(MessageTooLong, match=r"^a transaction of 1 messages: Message too long$"):
        Netlink(Small(whole)).transact([CHANGE])


def test_sequences_begin_anew_before_they_run_out() -> None:
    kernel = Kernel(whole)
    held = Netlink(kernel)
    held._sequence = 0xFFFFFFFE
    held.request(QUESTION)
    assert HEADER.unpack_from(kernel.sent[0])[3] == 1


def test_the_kernels_own_words_stand_in_the_error() -> None:
    error = refusal(errno.EOPNOTSUPP, "chain x", "Chain is bound")
    assert isinstance(error, NotSupported)
    assert str(error) == "chain x: Operation not supported (Chain is bound)"
    assert (error.errno, error.subject) == (errno.EOPNOTSUPP, "chain x")
