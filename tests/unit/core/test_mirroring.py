"""EndpointSlices for Endpoints that users write."""

from __future__ import annotations

from typing import Any

import pytest

from builders import meta, service, view
from pierhead.api.views import Endpoints, EndpointSubset
from pierhead.core import mirroring


def endpoints(*subsets: dict[str, Any], **fields: Any) -> Endpoints:
    return Endpoints(meta("web", **fields), tuple(view_subset(found) for found in subsets))


def view_subset(tree: dict[str, Any]) -> EndpointSubset:
    return view(Endpoints, {"subsets": [tree]}).subsets[0]


@pytest.mark.parametrize(
    ("found", "by", "mirrored"),
    [
        (endpoints(), service(selector={}), True),
        (endpoints(), service(selector={}, type="ExternalName"), True),
        (endpoints(), service(), False),
        (endpoints(), None, False),
        (None, service(selector={}), False),
        (endpoints(labels={"endpointslice.kubernetes.io/skip-mirror": "true"}), service(selector={}), False),
        (endpoints(labels={"endpointslice.kubernetes.io/skip-mirror": "false"}), service(selector={}), True),
        (endpoints(annotations={"control-plane.alpha.kubernetes.io/leader": "{}"}), service(selector={}), False),
    ],
)
def test_what_is_mirrored(found: Any, by: Any, mirrored: bool) -> None:
    assert mirroring.is_mirrored(found, by) is mirrored


def test_subsets_with_the_same_address_become_one_slice_with_both_ports() -> None:
    one, two = (
        {"addresses": [{"ip": "192.0.2.1"}], "ports": [{"name": n, "port": p}]} for n, p in (("a", 80), ("b", 81))
    )
    (made,) = mirroring.decide(endpoints(one, two), ()).plan.create
    assert [port.port for port in made.ports or ()] == [80, 81]


def test_each_family_has_a_slice_and_only_ready_is_said() -> None:
    both = {"addresses": [{"ip": "192.0.2.1"}], "notReadyAddresses": [{"ip": "2001:db8::1"}], "ports": [{"port": 80}]}
    found = mirroring.decide(endpoints(both), ()).plan.create
    shown = [
        (made.address_type, [(one.addresses, one.conditions.ready) for one in made.endpoints or ()]) for made in found
    ]
    assert shown == [("IPv4", [(("192.0.2.1",), True)]), ("IPv6", [(("2001:db8::1",), False)])]
    assert all(one.conditions.serving is None for made in found for one in made.endpoints or ())


def test_no_subsets_make_no_slice() -> None:
    assert not mirroring.decide(endpoints(), ()).plan


def test_labels_and_annotations_are_copied_but_for_bookkeeping() -> None:
    copied = endpoints(
        {"addresses": [{"ip": "192.0.2.1"}]},
        labels={"a": "b"},
        annotations={"c": "d", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
    )
    (made,) = mirroring.decide(copied, ()).plan.create
    assert made.metadata.annotations == {"c": "d"}
    assert made.metadata.labels == {
        "a": "b",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
    }
    assert [owner.kind for owner in made.metadata.owner_references] == ["Endpoints"]


def test_too_many_and_impossible_addresses_are_left_out_and_said() -> None:
    many = {"addresses": [{"ip": f"192.0.2.{n}"} for n in range(5)], "notReadyAddresses": [{"ip": "nowhere"}]}
    found = mirroring.decide(endpoints(many), (), limit=4)
    assert [len(made.endpoints or ()) for made in found.plan.create] == [4]
    assert [note.reason for note in found.notes] == ["InvalidIPAddress", "TooManyAddressesToMirror"]


def test_a_change_is_an_update_of_the_same_slice_and_an_end_deletes_it() -> None:
    before = mirroring.decide(endpoints({"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}), ()).plan.create
    moved = mirroring.decide(endpoints({"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 81}]}), before).plan
    assert (len(moved.update), moved.create, moved.delete) == (1, (), ())
    assert mirroring.decide(endpoints(), before).plan.delete == before
