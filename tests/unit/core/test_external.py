"""The status of an external pod, and when its registration runs out (`core.external`)."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api.external import RENEWED, TTL
from pierhead.api.views import Pod
from pierhead.core import external
from pierhead.core.external import DELETED, Standing, Term
from pierhead.core.lifecycle_status import Place, rfc3339

HERE, NOWHERE = Place(("192.0.2.7",), ("127.0.0.1",), 1000), Place((), ("127.0.0.1",), 1000)
PROBED: dict[str, Any] = {"readinessProbe": {"tcpSocket": {"port": 1}}}


def pod(annotations: dict[str, str] | None = None, container: dict[str, Any] | None = None, **spec: Any) -> Pod:
    meta = {"name": "db", "namespace": "shop", "uid": "u1", "generation": 1, "creationTimestamp": rfc3339(1000)}
    body = {
        "metadata": meta | {"annotations": annotations or {}},
        "spec": {"containers": [{"name": "c", **(container or {})}], **spec},
    }
    return msgspec.convert(body, Pod)


def status(found: Pod, standing: Standing) -> dict[str, Any]:
    return external.status(found, standing, now=1000.0, before={})


def condition(found: dict[str, Any], kind: str = "Ready") -> dict[str, Any]:
    return next(each for each in found["conditions"] if each["type"] == kind)


def test_without_a_probe_it_is_ready_where_its_annotation_says() -> None:
    found = status(pod(), Standing(HERE))
    assert (found["phase"], found["podIP"], condition(found)["status"]) == ("Running", "192.0.2.7", "True")
    assert found["containerStatuses"][0]["containerID"] == "external://192.0.2.7"
    assert found["containerStatuses"][0]["restartCount"] == 0


def test_a_refused_one_has_no_address() -> None:
    assert status(pod(), Standing(HERE))["podIPs"] == [{"ip": "192.0.2.7"}]
    assert not {"podIP", "podIPs"} & status(pod(), Standing(NOWHERE, "annotation …")).keys()


def test_with_a_probe_it_is_ready_when_that_passes() -> None:
    for ready, shown in (({}, "False"), ({"c": True}, "True"), ({"c": False}, "False")):
        found = status(pod(container=PROBED), Standing(HERE, ready=ready))
        assert condition(found)["status"] == shown
        assert found["phase"] == "Running"


def test_a_refused_one_waits_and_says_why() -> None:
    found = status(pod(), Standing(NOWHERE, "annotation pierhead.dev/address is missing"))
    assert found["phase"] == "Pending"
    waiting = found["containerStatuses"][0]["state"]["waiting"]
    assert waiting == {"reason": "InvalidAddress", "message": "annotation pierhead.dev/address is missing"}
    assert condition(found)["message"] == "annotation pierhead.dev/address is missing"


def test_one_that_is_deleted_is_not_ready_but_runs() -> None:
    found = status(pod(), Standing(HERE, withheld=DELETED))
    assert (found["phase"], condition(found)["status"], condition(found)["reason"]) == (
        "Running",
        "False",
        "PodDeleted",
    )


def test_what_would_have_been_started_first_is_left_out() -> None:
    found = status(pod(initContainers=[{"name": "i"}]), Standing(HERE))
    assert condition(found, "Initialized")["status"] == "True"
    assert "initContainerStatuses" not in found


def test_a_registration_without_end() -> None:
    assert external.term(pod(), 1e12) == Term()


def test_a_term_runs_from_the_last_renewal() -> None:
    found = pod({TTL: "60", RENEWED: rfc3339(2000)})
    assert external.term(found, 2059.9) == Term(until=2060)
    over = external.term(found, 2060).withheld
    assert over is not None
    assert over.reason == "RegistrationExpired"
    assert over.message == "not renewed since 1970-01-01T00:33:20Z, and pierhead.dev/ttl is 60 s: register it again"


def test_one_that_was_never_renewed_counts_from_its_creation() -> None:
    assert external.term(pod({TTL: "60"}), 1059) == Term(until=1060)
    assert external.term(pod({TTL: "60"}), 1061).withheld is not None


def test_a_term_that_cannot_be_understood_is_over() -> None:
    for notes in ({TTL: "soon"}, {TTL: "60", RENEWED: "soon"}):
        found = external.term(pod(notes), 1000).withheld
        assert found is not None
        assert found.reason == "InvalidTTL"


@given(ttl=st.integers(1, 10**6), begun=st.integers(0, 10**9), passed=st.integers(-(10**6), 10**7))
def test_it_is_good_exactly_until_it_says(ttl: int, begun: int, passed: int) -> None:
    found = external.term(pod({TTL: str(ttl), RENEWED: rfc3339(begun)}), begun + passed)
    assert (found.withheld is None) == (passed < ttl)
    assert found.until == (begun + ttl if passed < ttl else None)
