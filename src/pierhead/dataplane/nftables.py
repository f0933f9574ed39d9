"""``Nftables``: the data plane in the kernel, by netlink, without a program in between."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from itertools import chain, count
from typing import Final, TypeVar

from msgspec.structs import replace

from pierhead.dataplane import clearance, conntrack, trial
from pierhead.dataplane.dataplane import Stranger
from pierhead.dataplane.heap import give_back
from pierhead.dataplane.netlink import Netlink
from pierhead.dataplane.ruleset_watch import Commit, RulesetWatch
from pierhead.errors import GenerationPassed, KernelError, MessageTooLong, NoRoom, ObjectMissing
from pierhead.forwarding.diff import Change, RemoveBackends, RemoveRule, Reset, SetBackends, SetRule, diff
from pierhead.forwarding.nft import Compiler, Step
from pierhead.forwarding.nftlayout import NAME, Ground, led
from pierhead.forwarding.table import Backends, ForwardingTable, Frontend, PortKey, Refusal, Rule
from pierhead.wire.listing import (
    ask_generation,
    dump_chains,
    dump_elements,
    dump_rules,
    dump_sets,
    dump_tables,
    read_chain,
    read_elements,
    read_generation,
    read_set,
    read_tables,
)
from pierhead.wire.netlink import Flag, Message
from pierhead.wire.nftables import Family, Kind, Set, Table, add, delete_elements

T = TypeVar("T")

log = logging.getLogger(__name__)

INLINE: Final = 64
"""Changes that are programmed on the event loop, in less time than it takes to start a thread's work."""
PIECE: Final = 96 * 1024
"""Bytes of a transaction that fits into the send buffer of a user namespace."""
ATTEMPTS: Final = 5


class Nftables:
    """A ``DataPlane`` over one table ``pierhead`` for each family.

    Its state is what the kernel holds as of the last transaction. Somebody else's transaction shows in the generation; if ours was
    touched, the whole table is written again, in one transaction under traffic.
    """

    def __init__(self, grounds: Sequence[Ground], netlink: Netlink, watch: RulesetWatch | None = None) -> None:
        """``netlink``: a netfilter socket in the namespace that is meant, and ``watch``: what hears of others there, without which
        they show with our own next change; both are closed with this."""
        self._netlink = netlink
        self._watch = watch
        self._watching, self._unsure = False, True
        self._turn = asyncio.Lock()
        self._compilers = [Compiler(ground) for ground in grounds]
        self._generation: int | None = None
        """Of the ruleset as we know it: after our last transaction, or when our tables were last looked at. None: what the kernel holds is
        unknown. Nobody commits unseen, for each commit makes another one, and none is taken from a time after it."""
        self._counted = False
        """Whether somebody else committed of whom only the number of our elements was looked at."""
        self._digest = b""
        """Of our rules; empty: unknown."""

    def found(self) -> None:
        """Lays the table, without a Service in it, where there is none yet: from then on nothing passes that no rule has judged.

        Raises:
            ObjectExists: a table of this name is not ours.
            NotSupported: the kernel lacks something that the rules need or may need one day.
            KernelError: another refusal.
        """
        held = self._held()
        messages: list[Message] = []
        for layout in (compiler.layout for compiler in self._compilers):
            clearance.check(layout, held)
            if layout.table.family not in held:
                trial.undergo(self._netlink, layout)
                messages += layout.skeleton()
        self._write(messages)

    async def commit(self, changes: Sequence[Change]) -> Sequence[Refusal]:
        try:
            async with self._turn:
                large = len(changes) > INLINE or any(map(self._looks_through, changes))
                if not (await _apart(partial(self._commit, changes)) if large else self._commit(changes)):
                    await _apart(self._rewrite_all)
        except KernelError as error:
            self._generation = None
            raise OSError(error.errno or errno.EIO, str(error)) from error
        return sorted(refusal for compiler in self._compilers for refusal in compiler.refused.values())

    def _looks_through(self, change: Change) -> bool:
        """Whether it makes us look through all flows of the node, or all sticky clients."""
        return _of_flows(change) or any(compiler.may_forget(change) for compiler in self._compilers)

    async def disturbed(self) -> Stranger:
        try:
            while True:
                for found in reversed(await self._heard()):
                    if touched := await self._touched(found):
                        return Stranger(found.program, found.pid, ", ".join(map(str, touched)))
        except KernelError as error:
            self._unsure = True
            raise OSError(error.errno or errno.EIO, str(error)) from error
        except Exception:
            self._unsure = True
            raise

    async def _heard(self) -> Sequence[Commit]:
        """What others did since the last call; before the first one nobody listened, and of one that failed nobody was told."""
        if self._watch is None:
            await asyncio.get_running_loop().create_future()
            return ()
        if not self._watching:
            self._watch.begin(self._netlink.port)
            self._watching = True
        if self._unsure:
            self._unsure = False
            return (Commit(complete=False),)
        await self._watch.wait()
        return self._watch.read()

    async def _touched(self, found: Commit) -> Sequence[Table]:
        """Our tables that somebody changed; any of them where his notices were lost and something is not as it was."""
        touched = [table for table in self._tables if replace(table, comment="") in found.tables]
        if not touched and not found.complete and await self._harmed():
            return [compiler.layout.table for compiler in self._compilers]
        return touched

    async def _harmed(self) -> bool:
        """What only a look at all of it shows, and between two commits. What is to be written again anyway is nobody's doing."""
        async with self._turn:
            return self._generation is not None and not await _apart(partial(self._unharmed, each=True))

    @property
    def _tables(self) -> Iterator[Table]:
        for compiler in self._compilers:
            yield compiler.layout.table
            yield from compiler.layout.beside

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        self._netlink.close()

    def _commit(self, changes: Sequence[Change]) -> bool:
        """False: what we were told so far is to be written from the beginning, which takes longer than the changes do."""
        if changes and isinstance(changes[0], Reset):
            self._rewrite(changes[1:])
            return True
        steps = [compiler.take(changes) for compiler in self._compilers]
        unknown = self._generation is None or (not changes and not self._unharmed())
        done = not unknown and not any(compiler.worn for compiler in self._compilers)
        try:
            done = (
                done and self._transact([message for step in steps for message in step.messages]) and self._after(steps)
            )
        except (NoRoom, MessageTooLong):
            done = False
        if not done:
            self._generation = None
        return done

    def _transact(self, messages: Sequence[Message]) -> bool:
        """On top of what our last transaction left, or of what others added that is not ours. False: somebody changed ours, and nothing
        was done."""
        for _ in range(ATTEMPTS):
            try:
                self._generation = self._send(messages, self._generation)
            except GenerationPassed:
                if not self._unharmed():
                    return False
            else:
                return True
        raise GenerationPassed(errno.ERESTART, "nftables", "others change the ruleset all the time")

    def _send(self, messages: Sequence[Message], generation: int | None = None) -> int | None:
        """Commits, on top of this generation if one is given, and returns the one that it made.

        The kernel echoes that to us before it lets anybody else commit. To ask for it afterwards would be to take what a stranger did
        meanwhile for ours. A message of its own, which changes nothing, asks for the echo: what a message does is echoed with it.
        """
        if not messages:
            return generation
        echoing = add(self._compilers[0].layout.table)
        told = self._netlink.transact(
            [replace(echoing, flags=echoing.flags | Flag.ECHO), *messages], generation=generation
        )
        made = (read_generation(found).number for found in told if found.kind == Kind.NEWGEN)
        return next(made, generation)

    def _rewrite_all(self) -> None:
        """What we were told so far, from the beginning."""
        rules: dict[Frontend, Rule] = {}
        backends: dict[PortKey, Backends] = {}
        for compiler in self._compilers:
            table = compiler.table()
            rules |= table.rules
            backends |= table.backends
        self._rewrite(diff(ForwardingTable(), ForwardingTable(rules, backends)))

    def _rewrite(self, changes: Sequence[Change]) -> None:
        """One transaction after which the kernel holds exactly this, whatever it held; clients' affinities go on."""
        self._lay(changes)
        give_back()

    def _lay(self, changes: Sequence[Change]) -> None:
        self._generation, self._counted = None, False
        held = self._held()
        made = [_compiled(compiler.layout.ground, changes) for compiler in self._compilers]
        laid = [(compiler, [*compiler.layout.skeleton(), *step.messages]) for compiler, step in made]
        for compiler, _ in laid:
            clearance.check(compiler.layout, held)
        self._compilers = [compiler for compiler, _ in made]
        try:
            self._generation = self._overwrite(laid, held)
        except clearance.IN_THE_WAY as error:
            log.warning("%s: somebody else put it among the rules, and all of them are made anew", error)
            anew = [[*clearance.removed(compiler.layout, held), *messages] for compiler, messages in laid]
            self._generation = self._write(list(chain.from_iterable(anew)))
        self._after([replace(step, forgotten={}) for _, step in made], whole=True)

    def _overwrite(
        self, laid: Sequence[tuple[Compiler, Sequence[Message]]], held: Mapping[Family, Table]
    ) -> int | None:
        """Over what is there, of which stays what traffic taught."""
        messages: list[Message] = []
        for compiler, come in laid:
            messages += [*clearance.cleared(compiler.layout, {*compiler.chains}, held, self._ask_all), *come]
        for _ in range(ATTEMPTS - 1):
            with suppress(ObjectMissing):  # a client's element timed out since it was read
                return self._write([*self._strays(held), *messages])
        return self._write([*self._strays(held), *messages])

    def _write(self, messages: Sequence[Message]) -> int | None:
        """As ``_send``, whatever the generation. What is too long goes in pieces, each on top of the one before.

        Raises:
            GenerationPassed: somebody came between two of them.
        """
        try:
            return self._send(messages)
        except MessageTooLong:
            made: int | None = None
            for piece in _pieces(messages):
                made = self._send(piece, made)
            return made

    def _strays(self, held: Mapping[Family, Table]) -> Iterator[Message]:
        """Clients are led on to where they were only if that is still an endpoint of the same Service."""
        for compiler in self._compilers:
            layout = compiler.layout
            if not clearance.keeps(layout, held):
                continue
            sticky = compiler.sticky()
            gone = [key for key, (number, where) in self._led(layout.affinity) if where not in sticky.get(number, ())]
            yield from delete_elements(layout.affinity, gone)

    def _after(self, steps: Sequence[Step], *, whole: bool = False) -> bool:
        """What a transaction cannot do: sticky clients and UDP flows that are on endpoints which are gone. ``whole``: after a rewrite, which
        may be the first to do without what nobody was here to take away. False: somebody changed ours, and it is not done."""
        done = [*zip(self._compilers, steps, strict=True)]
        if not all(self._forget(compiler, step.forgotten) for compiler, step in done):
            return False
        if whole or any(step.rules for step in steps):
            self._learn()
        for compiler, step in done:
            if whole or step.flows:
                conntrack.clean(self._netlink, compiler.layout.ground.family, step.flows, whole=whole)
        return True

    def _forget(self, compiler: Compiler, forgotten: Mapping[int, frozenset[bytes] | None]) -> bool:
        """Elements come and go with traffic: one that is gone meanwhile makes the kernel refuse, and it is read again. False: as
        ``_transact``."""
        affinity = compiler.layout.affinity
        for attempt in count(1) if forgotten else ():
            gone = [
                key
                for key, (number, where) in self._led(affinity)
                if number in forgotten and where not in (forgotten[number] or ())
            ]
            try:
                return self._transact(delete_elements(affinity, gone))
            except ObjectMissing:
                if attempt == ATTEMPTS:
                    raise
        return True

    def _led(self, affinity: Set) -> Iterator[tuple[bytes, tuple[int, bytes]]]:
        for message in self._ask_all(dump_elements(affinity)):
            for found in read_elements(message):
                yield found.key, led(found)

    def _learn(self) -> None:
        """Reads our rules as the kernel has them. Had somebody changed them before they were read, there would be another generation
        already; then they may be his, and any that are found later count as altered."""
        digest = self._rules()
        self._digest = digest if self._ask() == self._generation else b""

    def _unharmed(self, *, each: bool = False) -> bool:
        """Whether our tables are what we left, whoever committed since. The generation is asked first: who commits while they are looked
        at, or later, makes another one. ``each``: every element is compared, which takes a second for 100,000; else they are counted,
        for who exchanges one is heard of."""
        asked = self._ask()
        if asked != self._generation or (each and self._counted):
            if self._altered() or (each and self._exchanged()):
                return False
            self._generation, self._counted = asked, not each
        return True

    def _altered(self) -> bool:
        """Whether our tables are not what we left: chains, rules, flags, and how much is in each set."""
        if self._rules() != self._digest or any(table.flags for table in self._held().values()):
            return True
        for compiler in self._compilers:
            found = map(read_set, self._ask_all(dump_sets(compiler.layout.table)))
            counts = {there.name: there.count for there in found}
            if any(counts.get(name) not in (known, None) for name, known in compiler.counts().items()):
                return True
        return False

    def _exchanged(self) -> bool:
        """Whether an element is another one than we left."""
        for there, wanted in chain.from_iterable(compiler.elements() for compiler in self._compilers):
            dumped = self._ask_all(dump_elements(there))
            held = {found.key: found.data for message in dumped for found in read_elements(message)}
            if any(held.get(key, b"") != data for key, data in wanted.items()):
                return True
        return False

    def _rules(self) -> bytes:
        found = blake2b(digest_size=16)
        for table in self._tables:
            chains = map(read_chain, self._ask_all(dump_chains(table)))
            shapes = sorted((each.name, str(each.base)) for each in chains if each.table.name == table.name)
            found.update(repr(shapes).encode())
            for message in self._ask_all(dump_rules(table)):
                found.update(message.body[4:])  # before that stands the generation
        return found.digest()

    def _held(self) -> dict[Family, Table]:
        """Tables of our name, in families where we have one."""
        families = {table.family for table in self._tables}
        there = read_tables(self._ask_all(dump_tables()))
        return {table.family: table for table in there if table.name == NAME and table.family in families}

    def _ask(self) -> int:
        return read_generation(self._netlink.request(ask_generation())[0]).number

    def _ask_all(self, message: Message) -> list[Message]:
        try:
            return self._netlink.request(message)
        except ObjectMissing:
            return []


async def _apart(work: Callable[[], T]) -> T:
    """In a thread. Who is cancelled waits for it all the same: it has the socket, which is closed next."""
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _of_flows(change: Change) -> bool:
    """Whether it makes us look through all flows of the node."""
    match change:
        case SetBackends(key) | RemoveBackends(key):
            return key.protocol == "UDP"
        case SetRule(frontend) | RemoveRule(frontend):
            return frontend.protocol == "UDP"
        case Reset():
            return True


def _compiled(ground: Ground, changes: Sequence[Change]) -> tuple[Compiler, Step]:
    """A compiler with room for twice as much as there is."""
    compiler = Compiler(ground)
    step = compiler.take(changes)
    if compiler.size * 2 > ground.capacity:
        compiler.widen(1 << (compiler.size * 2).bit_length())
    return compiler, step


def _pieces(messages: Sequence[Message]) -> Iterator[list[Message]]:
    piece: list[Message] = []
    size = 0
    for message in messages:
        if piece and size + len(message.body) > PIECE:
            yield piece
            piece, size = [], 0
        piece.append(message)
        size += len(message.body)
    if piece:
        yield piece
