"""A pod's status in kubectl's words (`core.lifecycle_status`)."""

from __future__ import annotations

from typing import Any

import msgspec

from pierhead.api.views import Pod
from pierhead.core import lifecycle, lifecycle_status
from pierhead.core.lifecycle import DEADLINE_EXCEEDED, Record, Running, Starting, Terminated, Waiting
from pierhead.core.lifecycle_status import Place

PLACE = Place(("127.64.0.7",), ("127.0.0.1",), 1000)


def pod(status: dict[str, Any] | None = None, **spec: Any) -> Pod:
    body = {
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "generation": 2},
        "spec": {"containers": [{"name": "c", "image": "host"}], **spec},
        "status": status or {},
    }
    return msgspec.convert(body, Pod)


def written(found: Pod, record: Record, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"now": 1000.0, "before": {}} | more
    return lifecycle_status.status(found, {"c": record}, PLACE, **given)


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in status["conditions"]}


def test_a_running_pod() -> None:
    found = written(pod(), Record(Running(1000, "process://7"), restarts=2, started=True, ready=True))
    assert found["phase"] == "Running"
    assert found["podIP"] == "127.64.0.7"
    assert found["podIPs"] == [{"ip": "127.64.0.7"}]
    assert found["hostIP"] == "127.0.0.1"
    assert found["startTime"] == "1970-01-01T00:16:40Z"
    assert found["observedGeneration"] == 2
    assert conditions(found) == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
        "PodScheduled": "True",
    }
    assert found["containerStatuses"] == [
        {
            "name": "c",
            "state": {"running": {"startedAt": "1970-01-01T00:16:40Z"}},
            "lastState": {},
            "ready": True,
            "restartCount": 2,
            "image": "host",
            "imageID": "",
            "started": True,
            "containerID": "process://7",
        }
    ]


def test_a_container_that_is_not_ready_is_named() -> None:
    found = written(pod(), Record(Waiting("ErrImageNeverPull", "why")))
    ready = next(each for each in found["conditions"] if each["type"] == "Ready")
    assert ready["reason"] == "ContainersNotReady"
    assert ready["message"] == "containers with unready status: [c]"
    assert found["containerStatuses"][0]["state"] == {"waiting": {"reason": "ErrImageNeverPull", "message": "why"}}


def test_a_crash_loop_shows_how_the_last_run_ended() -> None:
    end = Terminated(139, "Error", 1000, 1001, signal=11, id="process://7")
    found = written(pod(), Record(Waiting("CrashLoopBackOff", "back-off 10s"), last=end, restarts=1))
    assert found["phase"] == "Running"
    assert found["containerStatuses"][0]["lastState"] == {
        "terminated": {
            "exitCode": 139,
            "signal": 11,
            "reason": "Error",
            "containerID": "process://7",
            "startedAt": "1970-01-01T00:16:40Z",
            "finishedAt": "1970-01-01T00:16:41Z",
        }
    }


def test_pods_that_are_over_say_why_they_are_not_ready() -> None:
    done = Record(Terminated(0, "Completed", 1000, 1001))
    found = written(pod(restartPolicy="Never"), done)
    assert found["phase"] == "Succeeded"
    assert {each.get("reason") for each in found["conditions"] if each["status"] == "False"} == {"PodCompleted"}


def test_a_pod_that_was_stopped_is_over_whatever_its_restart_policy() -> None:
    for code, phase in ((0, "Succeeded"), (143, "Failed")):
        assert written(pod(), Record(Terminated(code, "x", 0, 1)), over=True)["phase"] == phase


def test_a_condition_keeps_the_time_of_its_last_transition() -> None:
    ready = Record(Running(1000), started=True, ready=True)
    first = {each["type"]: each for each in written(pod(), ready)["conditions"]}
    later = written(pod(), Record(Running(1000), started=True), now=2000.0, before=first)
    times = {each["type"]: each["lastTransitionTime"] for each in later["conditions"]}
    assert times["Ready"] == "1970-01-01T00:33:20Z"
    assert times["Initialized"] == "1970-01-01T00:16:40Z"


def test_readiness_gates_belong_to_somebody_else() -> None:
    gates: dict[str, Any] = {"readinessGates": [{"conditionType": "example.com/lb"}]}
    ready = Record(Running(1000), started=True, ready=True)
    closed = written(pod(**gates), ready)
    assert conditions(closed)["ContainersReady"] == "True"
    assert conditions(closed)["Ready"] == "False"
    opened = pod({"conditions": [{"type": "example.com/lb", "status": "True"}]}, **gates)
    assert conditions(written(opened, ready))["Ready"] == "True"


def test_init_containers_have_statuses_of_their_own() -> None:
    found = pod(initContainers=[{"name": "i"}])
    records = {"i": Record(Running(1000)), "c": Record(Waiting("PodInitializing"))}
    body = lifecycle_status.status(found, records, PLACE, now=1000, before={})
    assert body["phase"] == "Pending"
    assert [each["name"] for each in body["initContainerStatuses"]] == ["i"]
    condition = next(each for each in body["conditions"] if each["type"] == "Initialized")
    assert condition["message"] == "containers with incomplete status: [i]"


def test_listening_on_all_addresses_is_a_condition_that_goes_again() -> None:
    running = Record(Running(1000), started=True, ready=True)
    bad = written(pod(), running, wildcards=["0.0.0.0:8080"])
    condition = bad["conditions"][-1]
    assert (condition["type"], condition["status"]) == ("pierhead.dev/BindsItsAddress", "False")
    assert "0.0.0.0:8080" in condition["message"]
    before = {each["type"]: each for each in bad["conditions"]}
    assert conditions(written(pod(), running, before=before))["pierhead.dev/BindsItsAddress"] == "True"
    assert "pierhead.dev/BindsItsAddress" not in conditions(written(pod(), running))


def test_a_container_whose_post_start_hook_runs_is_not_yet_running() -> None:
    found = written(pod(), Record(Starting(1000, "process://7")))
    assert (found["phase"], found["containerStatuses"][0]["state"]) == (
        "Pending",
        {"waiting": {"reason": "ContainerCreating"}},
    )
    assert "containerID" not in found["containerStatuses"][0]


def test_a_pod_past_its_deadline_has_failed_once_nothing_of_it_runs() -> None:
    """A pod that restarts always, and one whose container took SIGTERM well."""
    running = written(pod(), Record(Running(1000), started=True, ready=True), failure=DEADLINE_EXCEEDED)
    assert (running["phase"], "reason" in running) == ("Running", False)
    over = written(pod(), Record(Terminated(0, "Completed", 1000, 1060)), failure=DEADLINE_EXCEEDED)
    assert (over["phase"], over["reason"]) == ("Failed", "DeadlineExceeded")
    assert over["message"] == "Pod was active on the node longer than the specified deadline"
    assert {each.get("reason") for each in over["conditions"] if each["status"] == "False"} == {"PodFailed"}
    assert lifecycle_status.failure(pod(over)) == DEADLINE_EXCEEDED


def test_a_pod_without_an_address_says_none() -> None:
    found = lifecycle_status.status(
        pod(), {"c": Record()}, Place((), ("127.0.0.1",), 1000), now=1000.0, before={}, over=True
    )
    assert "podIP" not in found
    assert "podIPs" not in found


# -- after a restart of the agent --------------------------------------------------------------------------------


def restored(record: Record, **spec: Any) -> Record:
    status = written(pod(**spec), record)
    return lifecycle_status.restore(pod(status, **spec), 2000)["c"]


def test_what_ran_under_an_earlier_agent_is_lost_and_counted() -> None:
    found = restored(Record(Running(1000), restarts=3))
    assert isinstance(found.state, Terminated)
    assert (found.state.exit_code, found.state.reason, found.restarts) == (137, "ContainerStatusUnknown", 3)
    assert lifecycle.decide(pod(), {"c": found}, 2000).start == ("c",)
    assert lifecycle.starting(found, 2000).restarts == 4


def test_what_had_ended_stays_as_it_was() -> None:
    end = Terminated(0, "Completed", 1000, 1001)
    found = restored(Record(end, restarts=1), restartPolicy="Never")
    assert found == Record(end, restarts=1)
    assert lifecycle.finished(pod(restartPolicy="Never"), {"c": found})


def test_a_crash_loop_is_tried_again_at_once() -> None:
    end = Terminated(1, "Error", 1000, 1001)
    found = restored(Record(Waiting("CrashLoopBackOff", "…", until=9999), last=end, restarts=5))
    assert lifecycle.decide(pod(), {"c": found}, 2000).start == ("c",)
    assert lifecycle.starting(found, 2000).restarts == 6


def test_a_pod_of_which_nothing_is_known_begins() -> None:
    assert lifecycle_status.restore(pod(), 2000) == lifecycle.begin(pod())
