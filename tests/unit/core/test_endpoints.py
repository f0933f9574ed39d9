"""The Endpoints object of a Service."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from builders import meta, pod, service
from pierhead.api.views import EndpointAddress, Endpoints, EndpointSubset, EndpointSubsetPort, ObjectReference
from pierhead.core import endpoints


def ips(subset: EndpointSubset) -> tuple[list[str], list[str]]:
    return [found.ip for found in subset.addresses], [found.ip for found in subset.not_ready_addresses]


def test_ready_and_unready_pods_are_told_apart() -> None:
    (subset,) = endpoints.subsets_of(service(), [pod("b", "10.1.0.2", ready=False), pod("a", "10.1.0.1")])
    assert ips(subset) == (["10.1.0.1"], ["10.1.0.2"])
    assert subset.ports == (EndpointSubsetPort(8080),)
    assert subset.addresses[0].target_ref == ObjectReference("Pod", "default", "a", "uid-a")


def test_publish_not_ready_addresses_lists_everybody_as_ready_also_who_is_terminating() -> None:
    pods = [pod("a", "10.1.0.1", ready=False), pod("b", "10.1.0.2", deleted=True)]
    (subset,) = endpoints.subsets_of(service(publishNotReadyAddresses=True), pods)
    assert ips(subset) == (["10.1.0.1", "10.1.0.2"], [])
    assert endpoints.subsets_of(service(), pods[1:]) == ()


def test_a_port_name_with_different_numbers_makes_several_subsets() -> None:
    named = service(ports=[{"port": 80, "targetPort": "http"}])
    pods = [
        pod(n, f"10.1.0.{i}", ports=[{"name": "http", "containerPort": c}])
        for i, (n, c) in enumerate([("a", 8080), ("b", 9090)])
    ]
    assert [(ips(found)[0], found.ports[0].port) for found in endpoints.subsets_of(named, pods)] == [
        (["10.1.0.0"], 8080),
        (["10.1.0.1"], 9090),
    ]


def test_headless_without_ports_lists_addresses_without_ports() -> None:
    (subset,) = endpoints.subsets_of(service(clusterIP="None", ports=[]), [pod("a", "10.1.0.1")])
    assert (ips(subset), subset.ports) == ((["10.1.0.1"], []), ())


def test_addresses_are_of_the_first_family() -> None:
    dual = pod("a", "10.1.0.1,fd00:1::1")
    (subset,) = endpoints.subsets_of(service(ipFamilies=["IPv6", "IPv4"]), [dual])
    assert ips(subset)[0] == ["fd00:1::1"]
    assert endpoints.subsets_of(service(ipFamilies=["IPv6"]), [pod("b", "10.1.0.2")]) == ()


def test_labels_are_the_services_and_the_managers() -> None:
    found = endpoints.desired(service(labels={"a": "b", "service.kubernetes.io/headless": ""}), [], None)
    assert found.metadata.labels == {"a": "b", "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    headless = endpoints.desired(service(clusterIP="None"), [], None)
    assert headless.metadata.labels["service.kubernetes.io/headless"] == ""


def test_over_capacity_is_cut_and_remarked_ready_ones_first() -> None:
    pods = [pod(f"p{i}", f"10.1.{i // 200}.{i % 200}", ready=i < 990) for i in range(1005)]
    found = endpoints.desired(service(), pods, None)
    assert found.metadata.annotations == {"endpoints.kubernetes.io/over-capacity": "truncated"}
    (subset,) = found.subsets
    assert (len(subset.addresses), len(subset.not_ready_addresses)) == (990, 10)
    again = endpoints.desired(service(), pods[:5], found)
    assert again.metadata.annotations == {}


def test_annotations_of_others_stay_and_the_trigger_time_comes_and_goes() -> None:
    current = Endpoints(meta("web", annotations={"mine": "1"}))
    wanted = endpoints.triggered(endpoints.desired(service(), [], current), "2026-01-01T00:00:00Z")
    assert wanted.metadata.annotations == {
        "mine": "1",
        "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z",
    }
    assert endpoints.triggered(wanted, "").metadata.annotations == {"mine": "1"}


def test_what_is_as_it_should_be_is_not_written() -> None:
    wanted = endpoints.desired(service(), [pod("a", "10.1.0.1")], None)
    assert not endpoints.changed(endpoints.triggered(wanted, "2026-01-01T00:00:00Z"), wanted)
    assert endpoints.changed(wanted, endpoints.desired(service(), [], wanted))
    assert endpoints.changed(wanted, endpoints.desired(service(labels={"a": "b"}), [pod("a", "10.1.0.1")], wanted))


# -- the canonical form -------------------------------------------------------------------------------------

addresses = st.integers(1, 6).map(lambda n: EndpointAddress(f"10.1.0.{n}"))
ports = st.sampled_from([EndpointSubsetPort(n, f"p{n}") for n in (80, 81, 82)])
subsets = st.lists(
    st.builds(
        EndpointSubset,
        st.lists(addresses, max_size=3).map(tuple),
        st.lists(addresses, max_size=3).map(tuple),
        st.lists(ports, min_size=1, max_size=2, unique=True).map(tuple),
    ),
    max_size=5,
)


def offers(found: list[EndpointSubset]) -> dict[tuple[str, EndpointSubsetPort], bool]:
    """(address, port) → ready; not ready wins."""
    seen: dict[tuple[str, EndpointSubsetPort], bool] = {}
    for subset in found:
        for ready, group in ((True, subset.addresses), (False, subset.not_ready_addresses)):
            for address in group:
                for port in subset.ports:
                    seen[address.ip, port] = ready and seen.get((address.ip, port), True)
    return seen


@given(subsets)
def test_repacking_keeps_every_address_and_port(found: list[EndpointSubset]) -> None:
    assert offers(list(endpoints.repack(found))) == offers(found)


@given(subsets)
def test_repacking_twice_changes_nothing(found: list[EndpointSubset]) -> None:
    once = endpoints.repack(found)
    assert endpoints.repack(once) == once


@given(subsets)
def test_no_two_subsets_could_be_one(found: list[EndpointSubset]) -> None:
    packed = endpoints.repack(found)
    assert len({(subset.addresses, subset.not_ready_addresses) for subset in packed}) == len(packed)


@given(subsets, st.integers(1, 8))
def test_truncation_never_exceeds_and_never_drops_a_ready_one_for_another(
    found: list[EndpointSubset], capacity: int
) -> None:
    cut, truncated = endpoints.truncate(found, capacity)
    ready, others = (sum(len(getattr(s, name)) for s in cut) for name in ("addresses", "not_ready_addresses"))
    before = sum(len(s.addresses) for s in found)
    assert ready + others <= capacity or not truncated
    assert ready == min(before, capacity) if truncated else cut == tuple(found)
