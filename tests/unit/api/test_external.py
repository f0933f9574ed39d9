"""What the annotations of an external pod may say, and what its writer is warned of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api import external
from pierhead.api.external import ADDRESS, RENEWED, TTL, Unusable
from pierhead.api.pods import PodStrategy


def pod(annotations: dict[str, str], runtime: str = "external", **container: Any) -> dict[str, Any]:
    spec = {"runtimeClassName": runtime, "containers": [{"name": "c", **container}]}
    return {"metadata": {"annotations": annotations}, "spec": spec}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" 192.0.2.7 ", "192.0.2.7"),
        ("2001:DB8::1", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
    ],
)
def test_an_address_in_any_spelling(text: str, found: str) -> None:
    assert str(external.address({ADDRESS: text})) == found


@pytest.mark.parametrize("text", ["", "db.example.com", "192.0.2.0/24", "192.0.2.07", "fe80::1%eth0", "192.0.2.7:80"])
def test_what_is_no_address_is_refused_by_the_annotation_s_name(text: str) -> None:
    with pytest.raises(Unusable, match=f"annotation {ADDRESS}"):
        external.address({ADDRESS: text})


def test_a_term_is_optional() -> None:
    assert external.ttl({}) is None
    assert external.renewed({}) is None
    assert external.ttl({TTL: "90"}) == 90
    assert external.renewed({RENEWED: "1970-01-01T00:01:00Z"}) == 60
    assert external.renewed({RENEWED: "1970-01-01T01:01:00+01:00"}) == 60


@pytest.mark.parametrize("text", ["", "0", "-1", "60s", "1.5", "٣", "99999999", "9" * 40])
def test_a_ttl_is_a_number_of_seconds_up_to_a_year(text: str) -> None:
    with pytest.raises(Unusable, match=TTL):
        external.ttl({TTL: text})


@given(st.text(max_size=20))
def test_any_text_is_understood_or_refused(text: str) -> None:
    notes = {ADDRESS: text, TTL: text, RENEWED: text}
    warned = " ".join(external.warnings(pod(notes)))
    for read, name in ((external.address, ADDRESS), (external.ttl, TTL), (external.renewed, RENEWED)):
        try:
            read(notes)
        except Unusable:
            refused = True
        else:
            refused = False
        assert refused == (f"annotation {name}" in warned)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-02T03:04:05", "9999-99-99T00:00:00Z"])
def test_a_time_needs_an_offset(text: str) -> None:
    with pytest.raises(Unusable, match=RENEWED):
        external.renewed({RENEWED: text})


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_the_ends_of_time_are_times(text: str) -> None:
    assert external.renewed({RENEWED: text}) is not None


def test_the_writer_is_warned_of_what_cannot_work() -> None:
    assert external.warnings(pod({ADDRESS: "192.0.2.7"}, readinessProbe={"tcpSocket": {"port": 1}})) == []
    assert external.warnings(pod({}, "process", lifecycle={"preStop": {}})) == []
    assert external.warnings(pod({TTL: "x"}, livenessProbe={"tcpSocket": {"port": 1}})) == [
        "metadata.annotations: annotation pierhead.dev/address is missing: it says at which address the pod answers",
        'metadata.annotations: annotation pierhead.dev/ttl: "x" is not a number of seconds from 1 to 31622400',
        "spec.containers[0].livenessProbe: ignored, because a pod of runtime class external is not started here",
    ]


def test_it_is_said_when_that_is_written_and_not_with_every_other_write() -> None:
    bad, worse = pod({ADDRESS: "x"}), pod({ADDRESS: "y"})
    assert len(PodStrategy().warnings(bad, None)) == 1
    assert len(PodStrategy().warnings(worse, bad)) == 1
    assert PodStrategy().warnings(bad, bad) == []
