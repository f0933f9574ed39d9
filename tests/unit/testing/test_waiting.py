"""Waiting for what a controller writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from pierhead.api import Tree
from pierhead.testing import Region, region

MAP: Tree = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "1"}}


@pytest.fixture
def later() -> Iterator[list[threading.Thread]]:
    """Those who write while the test waits."""
    found: list[threading.Thread] = []
    yield found
    for each in found:
        each.join(5)


def test_what_is_there_is_answered_at_once(pierhead: Region) -> None:
    pierhead.apply(MAP)
    assert pierhead.wait("configmaps", "m", lambda m: m["data"]["a"], timeout=0) == "1"
    assert pierhead.wait("namespaces", "kube-system", lambda found: found["metadata"]["name"]) == "kube-system"


def test_what_comes_later_is_waited_for_and_other_objects_do_not_matter(
    pierhead: Region, later: list[threading.Thread]
) -> None:
    looks: list[Tree] = []

    def second(found: Tree) -> str:
        looks.append(found)
        if len(looks) == 1:
            writes = [MAP | {"metadata": {"name": "m2"}}, MAP, MAP | {"data": {"b": "2"}}]
            later.append(threading.Thread(target=pierhead.apply, args=writes))
            later[0].start()
        return str(found["data"]["b"])

    assert pierhead.wait("configmaps", "m", second) == "2"
    assert looks[0] == {}
    assert all(found["metadata"]["name"] == "m" for found in looks[1:])


@pytest.mark.parametrize(
    "found_at",
    [
        lambda found: found["data"]["found"]["at"][0],
        lambda found: found["metadata"]["annotations"]["found-at"],
        lambda found: found.get("metadata").get("annotations").get("found-at"),
    ],
    ids=["an item of nothing", "a key of nothing", "a method of nothing"],
)
def test_a_path_through_what_is_not_there_yet_is_waited_for(
    pierhead: Region, later: list[threading.Thread], found_at: Callable[[Tree], str]
) -> None:
    """None is what a client of an API often has where there is nothing."""
    looks: list[Tree] = []

    def look(found: Tree) -> str:
        looks.append(found)
        if len(looks) == 1:
            later.append(threading.Thread(target=pierhead.apply, args=[MAP]))
            later[0].start()
        else:
            return "there"
        return found_at({"data": {"found": None}, "metadata": {"annotations": None}})

    assert pierhead.wait("configmaps", "m", look) == "there"


def test_an_error_of_the_question_itself_is_shown_when_the_time_is_up(pierhead: Region) -> None:
    pierhead.apply(MAP)

    def question(found: Tree) -> int:
        return int(found["data"]["a"] + 1)

    with pytest.raises(TimeoutError, match=r", at which TypeError: can only concatenate str") as told:
        pierhead.wait("configmaps", "m", question, timeout=0.01)
    assert isinstance(told.value.__cause__, TypeError)


def test_an_empty_one_stands_for_none(pierhead: Region) -> None:
    assert pierhead.wait("configmaps", "nobody", lambda found: not found, timeout=0)


def test_who_waits_may_use_the_region(pierhead: Region) -> None:
    def answer(found: Tree) -> bool:
        return bool(found) or not pierhead.apply(MAP)

    assert pierhead.wait("configmaps", "m", answer)


def test_in_vain_it_ends_in_time_and_shows_what_was_there_last(pierhead: Region) -> None:
    with pytest.raises(
        TimeoutError, match=r"^configmaps/default/m after 0.01 s: it is not there, at which KeyError: 'data'$"
    ):
        pierhead.wait("configmaps", "m", lambda m: m["data"], timeout=0.01)
    pierhead.apply(MAP)
    with pytest.raises(TimeoutError, match=r'"data":\{"a":"1"\}') as told:
        pierhead.wait("configmaps", "m", lambda m: m["data"]["b"], timeout=0.01)
    assert "managedFields" not in str(told.value)


def test_what_is_wrong_with_the_question_is_said(pierhead: Region) -> None:
    pierhead.apply(MAP)
    with pytest.raises(ValueError, match="no resource 'configmap'; there are namespaces,"):
        pierhead.wait("configmap", "m", bool)
    with pytest.raises(ZeroDivisionError):
        pierhead.wait("configmaps", "m", lambda _: 1 / 0)


def test_who_waits_when_the_region_ends_is_told_so(later: list[threading.Thread]) -> None:
    found = region()

    def ending(_: Tree) -> None:
        if not later:
            later.append(threading.Thread(target=found.close))
            later[0].start()

    with pytest.raises(RuntimeError, match="this region has ended"):
        found.wait("configmaps", "m", ending)
