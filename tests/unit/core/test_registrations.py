"""From what ``pierhead register`` is told to an external pod, and from the pod that is there to the next step."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from pierhead.api import external
from pierhead.api.external import ADDRESS, RENEWED, TTL
from pierhead.core import registrations
from pierhead.core.registrations import PACE, Port, Wrong, pod, port, read, refusal, step, unattended

DB: dict[str, Any] = {"name": "db-1", "ip": "192.0.2.10", "ports": ["pg=5432", "dns=53/udp"], "labels": {"app": "db"}}


def written(**more: Any) -> Any:
    return pod(read(DB | more), 60)


def stored(**more: Any) -> Any:
    """As the server keeps it: with what it fills in."""
    found = copy.deepcopy(written(**more))
    found["metadata"]["uid"] = "u1"
    found["spec"]["tolerations"] = [{"key": "node.kubernetes.io/not-ready"}]
    container = found["spec"]["containers"][0]
    container["imagePullPolicy"] = "Always"
    if "readinessProbe" in container:
        container["readinessProbe"]["successThreshold"] = 1
    return found


def test_a_whole_registration() -> None:
    found = written(ttl="2m", zone="a", namespace="shop", probe="http:/healthz")
    assert found["metadata"] == {
        "name": "db-1",
        "namespace": "shop",
        "labels": {"app": "db"},
        "annotations": {ADDRESS: "192.0.2.10", TTL: "120", RENEWED: "1970-01-01T00:01:00Z"},
    }
    assert found["spec"] == {
        "runtimeClassName": "external",
        "nodeSelector": {"topology.kubernetes.io/zone": "a"},
        "containers": [
            {
                "name": "external",
                "image": "external",
                "ports": [
                    {"name": "pg", "containerPort": 5432, "protocol": "TCP"},
                    {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                ],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": "pg", "scheme": "HTTP"}} | PACE,
            }
        ],
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [("http=80", Port("http", 80, "TCP")), ("dns=53/udp", Port("dns", 53, "UDP")), ("8080", Port("", 8080, "TCP"))],
)
def test_ports(text: str, found: Port) -> None:
    assert port(text) == found


@pytest.mark.parametrize(
    ("text", "probe"),
    [
        (None, {"tcpSocket": {"port": "pg"}}),
        ("tcp", {"tcpSocket": {"port": "pg"}}),
        ("tcp:22", {"tcpSocket": {"port": 22}}),
        ("http:/healthz?a=b", {"httpGet": {"path": "/healthz?a=b", "port": "pg", "scheme": "HTTP"}}),
        ("http:8080/healthz", {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}}),
        ("https:pg/", {"httpGet": {"path": "/", "port": "pg", "scheme": "HTTPS"}}),
        ("https:443", {"httpGet": {"path": "/", "port": 443, "scheme": "HTTPS"}}),
    ],
)
def test_probes(text: str | None, probe: Any) -> None:
    assert written(probe=text)["spec"]["containers"][0]["readinessProbe"] == probe | PACE


def test_what_is_not_probed() -> None:
    assert "readinessProbe" not in written(probe="none")["spec"]["containers"][0]
    assert "readinessProbe" not in written(ports=["dns=53/udp"])["spec"]["containers"][0]
    assert "ports" not in written(ports=[])["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("name", "", "name is missing"),
        ("name", "Db_1", 'name "Db_1": a lowercase RFC 1123 subdomain'),
        ("namespace", "a.b", 'namespace "a.b": must not contain dots'),
        ("ip", "", "ip is missing"),
        ("ip", "db.example.com", 'ip "db.example.com" is not an IP address'),
        ("ports", ["http"], '"http" is not a port: write http=8080, dns=53/udp or 8080'),
        ("ports", ["http=0"], '"http=0" is not a port'),
        ("ports", ["http=80/icmp"], '"http=80/icmp" is not a port'),
        ("ports", ["53/sctp"], 'port "53/sctp": SCTP is not carried, only tcp and udp are'),
        ("ports", ["HTTP=80"], 'the name of port "HTTP=80" must contain only alpha-numeric characters'),
        ("ports", ["a=1", "a=2"], 'two ports have the name "a"'),
        ("ports", ["1", "2"], "several ports need names"),
        ("ports", ["a=1", "b=1"], "port 1/tcp stands there twice"),
        ("ports", "http=80", "ports must be a list"),
        ("labels", {"a b": "c"}, 'label "a b=c": '),
        ("labels", {"a": "b c"}, 'label "a=b c": '),
        ("labels", {"a": True}, 'the value of label "a" is no text: put it in quotes'),
        ("labels", "a=b", "labels must be pairs"),
        ("ttl", "0", 'ttl "0" is not a time such as 60s'),
        ("ttl", "60 s", 'ttl "60 s" is not a time'),
        ("ttl", "2000d", 'ttl "2000d" is not a time'),
        ("zone", "a b", 'zone "a b": '),
        ("probe", "udp:1", '"udp:1" is not a probe: write http:/healthz'),
        ("probe", "tcp:dns", 'probe "tcp:dns": there is no TCP port "dns"'),
        ("probe", "http:0/", 'probe "http:0/": there is no TCP port "0"'),
        ("color", "red", 'unknown field "color": there are name, namespace, ip'),
    ],
)
def test_what_makes_no_sense_is_said_with_its_field(field: str, value: Any, why: str) -> None:
    with pytest.raises(Wrong) as caught:
        read(DB | {field: value})
    assert str(caught.value).startswith(why)
    assert caught.value.field == field


def test_a_probe_needs_a_port() -> None:
    with pytest.raises(Wrong, match="there is no TCP port to look at"):
        read(DB | {"ports": [], "probe": "tcp"})


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


@given(field=st.sampled_from(registrations.FIELDS), value=values)
def test_whatever_a_file_holds_is_understood_or_refused(field: str, value: Any) -> None:
    try:
        found = pod(read(DB | {field: value}), 0)
    except Wrong as refused:
        event(refused.field)
    else:
        external.address(found["metadata"]["annotations"])
        external.ttl(found["metadata"]["annotations"])


# -- the next step -------------------------------------------------------------------------------------------


def test_one_that_is_not_there_is_created() -> None:
    found = step(read(DB), None, 60)
    assert (found.verdict, found.create, found.patch, found.replaces) == ("registered", written(), None, "")


@pytest.mark.parametrize("more", [{}, {"probe": "none"}, {"ports": []}, {"zone": "a"}])
def test_the_same_once_more_changes_nothing(more: dict[str, Any]) -> None:
    found = step(read(DB | more), stored(**more), 99)
    assert (found.verdict, found.create, found.patch) == ("unchanged", None, None)


def test_a_term_is_renewed() -> None:
    found = step(read(DB | {"ttl": "60s"}), stored(ttl="60s"), 120)
    assert found.verdict == "renewed"
    assert found.patch == {"metadata": {"annotations": {RENEWED: "1970-01-01T00:02:00Z"}}}


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ({"ttl": "9s"}, "renewed"),
        ({}, "changed"),
        ({"ttl": "60s", "ip": "::1"}, "changed"),
        ({"ttl": "60s", "labels": {"a": "b"}}, "changed"),
    ],
)
def test_more_than_a_term_is_a_change(given: dict[str, Any], verdict: str) -> None:
    assert step(read(DB | given), stored(ttl="60s"), 120).verdict == verdict


def test_address_labels_and_term_are_changed_in_place() -> None:
    found = step(read(DB | {"ip": "192.0.2.11", "labels": {"app": "db2"}}), stored(ttl="60s", labels={"old": "x"}), 120)
    assert found.verdict == "changed"
    assert found.patch == {
        "metadata": {
            "labels": {"old": None, "app": "db2"},
            "annotations": {TTL: None, RENEWED: None, ADDRESS: "192.0.2.11"},
        }
    }


def test_annotations_of_others_are_left_alone() -> None:
    there = stored()
    there["metadata"]["annotations"]["team"] = "red"
    assert step(read(DB), there, 60).verdict == "unchanged"


@pytest.mark.parametrize(
    "more", [{"ports": ["pg=5433"]}, {"ports": []}, {"probe": "none"}, {"probe": "http:/"}, {"zone": "b"}]
)
def test_ports_probe_and_zone_are_fixed_at_birth(more: dict[str, Any]) -> None:
    found = step(read(DB | more), stored(), 60)
    assert (found.verdict, found.replaces, found.create) == ("registered", "u1", written(**more))


def test_what_was_dropped_is_noticed() -> None:
    assert step(read(DB), stored(zone="b"), 60).replaces == "u1"
    assert step(read(DB | {"probe": "none"}), stored(probe="tcp"), 60).replaces == "u1"


def test_other_pods_are_not_touched() -> None:
    other = stored()
    del other["spec"]["runtimeClassName"]
    with pytest.raises(Wrong, match="pod/db-1 is there and is no external pod"):
        step(read(DB), other, 60)
    leaving = stored()
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    with pytest.raises(Wrong, match="pod/db-1 is being deleted"):
        step(read(DB), leaving, 60)


def test_a_term_is_renewed_however_often() -> None:
    assert step(read(DB | {"ttl": "60s"}), stored(ttl="60s"), 60).verdict == "renewed"


# -- what became of it ---------------------------------------------------------------------------------------


def test_a_zone_without_a_node_is_named_with_those_that_have_one() -> None:
    nodes = [{"metadata": {"labels": {"topology.kubernetes.io/zone": zone}}} for zone in ("b", "a", "b")]
    here, nowhere, anywhere = read(DB | {"zone": "a"}), read(DB | {"name": "db-2", "zone": "z"}), read(DB)
    found = unattended([here, nowhere, anywhere], [*nodes, {"metadata": {}}])
    assert found == {("default", "db-2"): 'no node is in zone "z" yet; there are nodes in a, b'}
    assert unattended([nowhere], []) == {("default", "db-2"): 'no node is in zone "z" yet; there are no nodes'}


def waiting(message: str, reason: str = "InvalidAddress") -> dict[str, Any]:
    return {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}}]}


@pytest.mark.parametrize(
    ("status", "known"),
    [
        ({}, None),
        ({"podIP": "192.0.2.10"}, ""),
        ({"podIP": "192.0.2.1"}, None),
        (waiting(f"annotation {ADDRESS}: 192.0.2.10 lies outside"), "192.0.2.10 lies outside"),
        (waiting(f"annotation {ADDRESS}: 192.0.2.10:22 is mine"), "192.0.2.10:22 is mine"),
        (waiting(f"annotation {ADDRESS}: 192.0.2.100 lies outside"), None),
        (waiting("192.0.2.10 …", "ContainerCreating"), None),
        ({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]}, "0/1 nodes"),
        ({"conditions": [{"type": "PodScheduled", "status": "True"}]}, None),
    ],
)
def test_what_a_node_has_against_it_is_known_once_it_has_seen_this_address(
    status: dict[str, Any], known: str | None
) -> None:
    assert refusal(read(DB), {"status": status}) == known
