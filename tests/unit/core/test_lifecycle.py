"""The life of a pod's containers (`core.lifecycle`): a pod is played here with a clock of its own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api.views import Pod
from pierhead.core import lifecycle
from pierhead.core.lifecycle import Record, Running, Starting, Terminated, Waiting


def pod(*containers: str, init: tuple[Any, ...] = (), **spec: Any) -> Pod:
    body = {
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1"},
        "spec": {
            "containers": [{"name": name} for name in containers or ("c",)],
            "initContainers": [each if isinstance(each, dict) else {"name": each} for each in init],
            **spec,
        },
    }
    return msgspec.convert(body, Pod)


class Play:
    """A pod on a clock: containers end when told, and everything due is started."""

    def __init__(self, pod: Pod) -> None:
        self.pod, self.now, self.records = pod, 1000.0, lifecycle.begin(pod)
        self.wake: float | None = None
        self.starts: list[tuple[str, float]] = []
        self.backing_off: list[str] = []
        self.go()

    def go(self) -> None:
        plan = lifecycle.decide(self.pod, self.records, self.now)
        self.records, self.wake = plan.records, plan.wake
        self.backing_off += plan.backing_off
        for name in plan.start:
            record = lifecycle.starting(self.records[name], self.now)
            container = lifecycle.containers(self.pod)[name]
            self.records[name] = lifecycle.running(record, container, Running(self.now))
            self.starts.append((name, self.now))
        if plan.start:
            self.go()

    def end(self, name: str, code: int = 1, after: float = 0.0) -> None:
        self.now += after
        state = self.records[name].state
        assert isinstance(state, Running)
        reason = "Error" if code else "Completed"
        self.records[name] = lifecycle.ended(self.records[name], Terminated(code, reason, state.started, self.now))
        self.go()

    def sleep(self) -> float:
        """Until the pod wants to be looked at; how long that was."""
        assert self.wake is not None
        waited, self.now = self.wake - self.now, self.wake
        self.go()
        return waited

    @property
    def phase(self) -> str:
        return lifecycle.phase(self.pod, self.records)


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
def test_a_container_whose_image_changed_is_due_again_whatever_the_policy(policy: str) -> None:
    before, after = (pod(restartPolicy=policy, containers=[{"name": "c", "image": image}]) for image in "xy")
    tried = lifecycle.containers(before)
    assert lifecycle.changed(before, tried) == ()
    assert lifecycle.changed(after, tried) == ("c",)
    play = Play(before)
    play.end("c", code=0, after=5)
    record = lifecycle.renewed(play.records["c"])
    assert (record.state, record.end, record.back_off) == (Waiting(), play.records["c"].end, 0.0)
    assert lifecycle.decide(after, {"c": record}, play.now).start == ("c",)


def test_all_containers_are_started_at_once() -> None:
    play = Play(pod("a", "b"))
    assert play.starts == [("a", 1000), ("b", 1000)]
    assert (play.phase, play.wake) == ("Running", None)


def test_a_pod_is_pending_until_every_container_has_started_once() -> None:
    found = pod("a", "b")
    records = lifecycle.begin(found)
    assert lifecycle.phase(found, records) == "Pending"
    records["a"] = Record(Running(0))
    assert lifecycle.phase(found, records) == "Pending"


# -- back-off -------------------------------------------------------------------------------------------------


def test_back_off_is_the_kubelet_s() -> None:
    """The first restart is at once, then 10 s doubling to 5 min."""
    play = Play(pod())
    play.end("c")
    assert play.starts == [("c", 1000), ("c", 1000)]
    waits = []
    for _ in range(8):
        play.end("c", after=1)
        waits.append(play.sleep())
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]
    assert play.records["c"].restarts == 9


def test_a_container_that_waits_says_so_as_kubectl_shows_it() -> None:
    play = Play(pod())
    play.end("c")
    play.end("c", after=1)
    assert play.records["c"].state == Waiting(
        "CrashLoopBackOff", "back-off 10s restarting failed container=c pod=web_shop(u1)", until=1011
    )
    assert play.records["c"].last == Terminated(1, "Error", 1000, 1001)
    assert play.backing_off == ["c"]
    assert play.phase == "Running"


def test_minutes_are_printed_as_go_does() -> None:
    play = Play(pod())
    play.end("c")
    for _ in range(6):
        play.end("c", after=1)
        state = play.records["c"].state
        play.sleep()
    assert isinstance(state, Waiting)
    assert state.message.startswith("back-off 5m0s restarting")


def test_ten_minutes_of_peace_forget_the_back_off() -> None:
    play = Play(pod())
    for _ in range(3):
        play.end("c", after=1)
        if play.wake:
            play.sleep()
    play.end("c", after=601)
    assert play.wake is None
    play.end("c", after=1)
    assert play.sleep() == 10


def test_ending_well_backs_off_too_because_a_server_does_not_end() -> None:
    play = Play(pod())
    play.end("c", code=0)
    play.end("c", code=0)
    assert play.sleep() == 10


@given(st.lists(st.floats(0, 2000), min_size=1, max_size=30))
def test_a_container_is_never_started_more_often_than_its_back_off_allows(lives: list[float]) -> None:
    play = Play(pod())
    for life in lives:
        play.end("c", after=life)
        if play.wake is not None:
            play.sleep()
    assert len(play.starts) == len(lives) + 1
    assert all(0 < record.back_off <= 300 for record in play.records.values())
    times = [at for _, at in play.starts]
    assert times == sorted(times)


# -- restart policies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "code", "phase", "starts"),
    [
        ("Always", 0, "Running", 2),
        ("Always", 1, "Running", 2),
        ("OnFailure", 0, "Succeeded", 1),
        ("OnFailure", 1, "Running", 2),
        ("Never", 0, "Succeeded", 1),
        ("Never", 1, "Failed", 1),
    ],
)
def test_restart_policy(policy: str, code: int, phase: str, starts: int) -> None:
    play = Play(pod(restartPolicy=policy))
    play.end("c", code)
    assert (play.phase, len(play.starts)) == (phase, starts)
    assert lifecycle.finished(play.pod, play.records) is (phase in ("Succeeded", "Failed"))


def test_a_pod_that_may_end_runs_until_its_last_container_has() -> None:
    play = Play(pod("a", "b", restartPolicy="Never"))
    play.end("a", 0)
    assert play.phase == "Running"
    play.end("b", 0)
    assert play.phase == "Succeeded"


def test_one_failure_fails_the_pod() -> None:
    play = Play(pod("a", "b", restartPolicy="Never"))
    play.end("a", 3)
    play.end("b", 0)
    assert play.phase == "Failed"


# -- init containers ---------------------------------------------------------------------------------------------


def test_init_containers_run_one_after_the_other_before_all_others() -> None:
    play = Play(pod("a", "b", init=("one", "two")))
    assert [name for name, _ in play.starts] == ["one"]
    assert play.records["a"].state == Waiting("PodInitializing")
    play.end("one", 0)
    play.end("two", 0)
    assert [name for name, _ in play.starts] == ["one", "two", "a", "b"]
    assert lifecycle.initialized(play.pod, play.records)


def test_a_failed_init_container_is_tried_again() -> None:
    play = Play(pod("a", init=("one",)))
    play.end("one", 1)
    play.end("one", 1)
    assert play.phase == "Pending"
    assert play.sleep() == 10
    play.end("one", 0)
    assert play.starts[-1][0] == "a"


def test_a_failed_init_container_fails_a_pod_that_never_restarts() -> None:
    play = Play(pod("a", init=("one", "two"), restartPolicy="Never"))
    play.end("one", 1)
    assert play.phase == "Failed"
    assert lifecycle.finished(play.pod, play.records)
    assert [name for name, _ in play.starts] == ["one"]


def test_a_sidecar_lets_the_others_begin_and_is_restarted_whatever_the_policy() -> None:
    play = Play(pod("a", init=({"name": "proxy", "restartPolicy": "Always"}, "two"), restartPolicy="Never"))
    assert [name for name, _ in play.starts] == ["proxy", "two"]
    play.end("two", 0)
    play.end("proxy", 1)
    assert [name for name, _ in play.starts] == ["proxy", "two", "a", "proxy"]
    play.end("a", 0)
    assert play.phase == "Succeeded"
    assert lifecycle.finished(play.pod, play.records)


# -- what cannot be started --------------------------------------------------------------------------------------


def test_what_only_another_spec_would_cure_is_not_tried_again() -> None:
    found = pod()
    records = {"c": lifecycle.refused(Record(), Waiting("ErrImageNeverPull", "…", until=None))}
    plan = lifecycle.decide(found, records, 5000)
    assert (plan.start, plan.wake) == ((), None)
    assert lifecycle.phase(found, records) == "Pending"


def test_what_may_be_cured_is_tried_again_and_is_no_restart() -> None:
    found = pod()
    records = {"c": lifecycle.refused(Record(), Waiting("CreateContainerConfigError", "…", until=1005))}
    assert lifecycle.decide(found, records, 1000).wake == 1005
    plan = lifecycle.decide(found, records, 1005)
    assert plan.start == ("c",)
    assert lifecycle.starting(plan.records["c"], 1005).restarts == 0


# -- readiness -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("probes", "verdicts", "ready"),
    [
        ({}, [], True),
        ({"readinessProbe": {}}, [], False),
        ({"readinessProbe": {}}, [{"ready": True}], True),
        ({"readinessProbe": {}}, [{"ready": True}, {"ready": False}], False),
        ({"startupProbe": {}}, [], False),
        ({"startupProbe": {}}, [{"started": True}], True),
        ({"startupProbe": {}, "readinessProbe": {}}, [{"started": True}], False),
        ({"startupProbe": {}, "readinessProbe": {}}, [{"started": True}, {"ready": True}], True),
    ],
)
def test_a_container_is_ready_when_its_probes_say_so(
    probes: dict[str, Any], verdicts: list[dict[str, bool]], ready: bool
) -> None:
    found = msgspec.convert({"spec": {"containers": [{"name": "c", **probes}]}}, Pod)
    container = found.spec.containers[0]
    record = lifecycle.running(Record(), container, Running(0))
    for verdict in verdicts:
        record = lifecycle.judged(record, container, **verdict)
    assert record.ready is ready
    assert lifecycle.ended(record, Terminated(0, "Completed", 0, 1)).ready is False


# -- hooks -----------------------------------------------------------------------------------------------------------


HOOKED = {"name": "a", "lifecycle": {"postStart": {"exec": {"command": ["x"]}}}}


def hooked() -> Pod:
    """Two containers, of which the first has a postStart hook."""
    return msgspec.convert({"spec": {"containers": [HOOKED, {"name": "b"}]}}, Pod)


def test_the_next_container_waits_for_the_post_start_hook_of_the_one_before() -> None:
    found = hooked()
    plan = lifecycle.decide(found, lifecycle.begin(found), 1000)
    assert plan.start == ("a",)
    records = {**plan.records, "a": lifecycle.hooked(plan.records["a"], Starting(1000))}
    assert lifecycle.decide(found, records, 1001).start == ()
    assert (lifecycle.phase(found, records), records["a"].started, records["a"].ready) == ("Pending", False, False)
    records["a"] = lifecycle.running(records["a"], lifecycle.containers(found)["a"], Running(1000))
    assert lifecycle.decide(found, records, 1002).start == ("b",)


def test_a_hook_that_an_agent_did_not_see_the_end_of_is_a_lost_run() -> None:
    state = lifecycle.lost(Record(Starting(1000, "process://7")), 1001).state
    assert isinstance(state, Terminated)
    assert (state.exit_code, state.started, state.id) == (137, 1000, "process://7")


@pytest.mark.parametrize(
    ("grace", "spent", "left"),
    [(30, 0, 30), (30, 10, 20), (30, 29, 2), (30, 30, 2), (30, 99, 2), (1, 1, 1), (0, 0, 0), (0, 5, 0)],
)
def test_a_pre_stop_hook_counts_against_the_grace_period_and_leaves_two_seconds(
    grace: float, spent: float, left: float
) -> None:
    assert lifecycle.after_hook(grace, spent) == left


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "deletion", "grace"),
    [({}, None, 30), ({"terminationGracePeriodSeconds": 5}, None, 5), ({"terminationGracePeriodSeconds": 5}, 0, 0)],
)
def test_the_grace_period_is_that_of_the_deletion_or_the_pod_s_own(
    spec: dict[str, int], deletion: int | None, grace: float
) -> None:
    meta = {} if deletion is None else {"deletionGracePeriodSeconds": deletion}
    assert lifecycle.grace(msgspec.convert({"metadata": meta, "spec": spec}, Pod)) == grace


def test_sidecars_outlive_all_others_and_end_in_reverse_order() -> None:
    sidecars = tuple({"name": name, "restartPolicy": "Always"} for name in ("proxy", "log"))
    found, left = pod("a", "b", init=sidecars), ["proxy", "log", "a", "b"]
    order = []
    while told := lifecycle.next_to_stop(found, left):
        order.append(told)
        left = [name for name in left if name not in told]
    assert order == [("a", "b"), ("log",), ("proxy",)]


def test_a_deadline_counts_from_when_the_node_took_the_pod() -> None:
    assert lifecycle.deadline(pod(activeDeadlineSeconds=60), 1000) == 1060
    assert lifecycle.deadline(pod(), 1000) is None
