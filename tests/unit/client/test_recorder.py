"""Events: written aside, counted when they repeat, never anybody's failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from builders import pod
from inside import Flaky, Inside, eventually, server
from pierhead.api.kinds import EVENT, POD
from pierhead.api.views import Object, ObjectReference
from pierhead.client.client import Client
from pierhead.client.events import WAITING, Recorder
from pierhead.client.informer import Informer


class Event(Object, frozen=True):
    reason: str = ""
    message: str = ""
    type: str = ""
    count: int = 0
    source: dict[str, str] = msgspec.field(default_factory=dict)
    involved_object: ObjectReference = ObjectReference()
    first_timestamp: str | None = None


@dataclass
class Scene:
    """A recorder at work, and what it has written."""

    found: Inside
    recorder: Recorder
    flaky: Flaky
    events: Informer[Event]

    async def written(self, count: int) -> list[Event]:
        """Waits until that many occurrences were written."""
        await eventually(lambda: sum(event.count for event in self.events.list()) == count)
        return sorted(self.events.list(), key=lambda event: event.reason)


def recording(scenario: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        async with server() as found, asyncio.TaskGroup() as group:
            flaky = Flaky(found.transport)
            recorder = Recorder(Client(flaky), "kubelet", "n1", now=lambda: "2026-01-01T00:00:00Z")
            events = Informer(found.client, EVENT, Event)
            running = [group.create_task(recorder.run()), group.create_task(events.run())]
            await scenario(Scene(found, recorder, flaky, events))
            for task in running:
                task.cancel()

    asyncio.run(run())


def test_an_event_says_what_happened_to_whom_and_who_says_so() -> None:
    async def scenario(scene: Scene) -> None:
        scene.recorder.note(POD, pod("a"), "Started", "Started c", type="Normal", field="spec.containers{c}")
        (event,) = await scene.written(1)
        about = event.involved_object
        assert event.key.startswith("default/a.")
        assert (about.kind, about.name, about.uid, about.field_path) == ("Pod", "a", "uid-a", "spec.containers{c}")
        assert (event.type, event.reason, event.message) == ("Normal", "Started", "Started c")
        assert event.source == {"component": "kubelet", "host": "n1"}
        assert event.first_timestamp == "2026-01-01T00:00:00Z"

    recording(scenario)


def test_repetitions_are_counted_while_they_wait_and_after_they_were_written() -> None:
    async def scenario(scene: Scene) -> None:
        for _ in range(3):
            scene.recorder.note(POD, pod("a"), "BackOff", "again")
        await scene.written(3)
        scene.recorder.note(POD, pod("a"), "BackOff", "again")
        scene.recorder.note(POD, pod("b"), "Other", "another object is another Event")
        found = await scene.written(5)
        assert [(event.reason, event.count) for event in found] == [("BackOff", 4), ("Other", 1)]

    recording(scenario)


def test_a_counted_event_that_was_deleted_is_written_anew() -> None:
    async def scenario(scene: Scene) -> None:
        scene.recorder.note(POD, pod("a"), "BackOff", "again")
        await scene.written(1)
        await scene.found.client.delete_all(EVENT, "default")
        await scene.written(0)
        scene.recorder.note(POD, pod("a"), "BackOff", "again")
        (event,) = await scene.written(1)
        assert event.count == 1

    recording(scenario)


def test_without_a_server_events_are_lost_and_nobody_fails_or_waits() -> None:
    async def scenario(scene: Scene) -> None:
        scene.flaky.cut()
        for number in range(WAITING + 10):
            scene.recorder.note(POD, pod("a"), "BackOff", str(number))
        await eventually(lambda: len(scene.flaky.requests) == WAITING)
        scene.flaky.mend()
        scene.recorder.note(POD, pod("a"), "BackOff", "at last")
        (event,) = await scene.written(1)
        assert event.message == "at last"

    recording(scenario)
