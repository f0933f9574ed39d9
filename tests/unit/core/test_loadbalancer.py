"""How a Service comes by its floating IP and gives it back: each step alone, and all of them from any state to rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import view
from pierhead.api.views import FloatingIP, FloatingIPPool, Service
from pierhead.core.floating import Known, bound_address, is_ours, owned_name
from pierhead.core.loadbalancer import (
    FINALIZER,
    Bind,
    Hold,
    Own,
    Release,
    Step,
    Unbind,
    Wait,
    is_left_over,
    next_step,
    users,
)

UID = "6f1b8a52-4b62-4b52-8f1a-0f2d5a6a7c01"
OWNED = f"service-{UID}"


def pool(name: str = "default", *ranges: str, region: str = "local") -> FloatingIPPool:
    spec = {"ranges": list(ranges or ("192.0.2.0/24",)), "region": region}
    return view(FloatingIPPool, {"metadata": {"name": name}, "spec": spec})


def fip(name: str, ip: str = "", service: str = "", *, deleted: bool = False, region: str = "") -> FloatingIP:
    meta = {"name": name} | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {})
    return view(FloatingIP, {
        "metadata": meta, "spec": {"pool": "default", "service": service}, "status": {"address": ip, "region": region},
    })  # fmt: skip


def service(wish: str = "", *ingress: str, held: bool = False, deleted: bool = False, **spec: Any) -> Service:
    meta: dict[str, Any] = {"name": "web", "namespace": "default", "uid": UID}
    if held:
        meta["finalizers"] = [FINALIZER]
    if deleted:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    asked = {"type": "LoadBalancer", "loadBalancerIP": wish, "ports": [{"port": 80}], "ipFamilies": ["IPv4"]}
    status = {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"} for ip in ingress]}}
    return view(Service, {"metadata": meta, "spec": asked | spec, "status": status})


def step(found: Service, *fips: FloatingIP, pools: tuple[FloatingIPPool, ...] = (pool(),)) -> Step | None:
    return next_step(found, pools, Known.of(fips), "local")


SITE = fip("site", "192.0.2.7")
MINE = fip(OWNED, "192.0.2.9", "default/web")


@pytest.mark.parametrize(
    ("found", "fips", "wanted"),
    [
        (service(), (), Own("default")),
        (service(), (MINE,), Hold()),
        (service(held=True), (MINE,), Bind("192.0.2.9")),
        (service("", "192.0.2.9", held=True), (MINE,), None),
        (service("site"), (SITE,), Hold()),
        (service("192.0.2.7", held=True), (SITE,), Bind("192.0.2.7")),
        (service("site", "192.0.2.7", held=True, deleted=True), (SITE,), Unbind()),
        (service("", "192.0.2.9", held=True, deleted=True), (MINE,), Unbind()),
        (service(held=True, deleted=True), (MINE,), None),
        (service(held=True, deleted=True), (), Release()),
        (service(held=True, type="ClusterIP"), (MINE,), None),
        (service(held=True, type="ClusterIP"), (), Release()),
        (service(deleted=True), (), None),
        (service(type="ClusterIP"), (), None),
    ],
)
def test_one_step_at_a_time(found: Service, fips: tuple[FloatingIP, ...], wanted: Step | None) -> None:
    assert step(found, *fips) == wanted


@pytest.mark.parametrize(
    ("found", "fips", "said"),
    [
        (service("nobody"), (), 'spec.loadBalancerIP "nobody": no FloatingIP has this name; those there are: pierhead fip get'),
        (service("site"), (fip("site"),), 'pool "default" has no free address: release one (pierhead fip delete ADDRESS)'),
        (service(), (fip(OWNED, "", "default/web"),), 'pool "default" has no free address: release one'),
        (service(), (fip(OWNED, "192.0.2.9", "default/web", deleted=True),), f'FloatingIP "{OWNED}" is being deleted'),
        (service(ipFamilies=["IPv6"]), (), "no pool of this region gives out IPv6 addresses: create a FloatingIPPool"),
    ],
)  # fmt: skip
def test_what_has_to_wait_says_why_and_what_helps(found: Service, fips: tuple[FloatingIP, ...], said: str) -> None:
    waiting = step(found, *fips)
    assert isinstance(waiting, Wait)
    assert waiting.why.startswith(said)


def test_of_several_pools_one_is_the_default_or_somebody_has_to_choose() -> None:
    east, west = pool("east"), pool("west", "198.51.100.0/24")
    assert step(service(), pools=(east, west, pool("default", "203.0.113.0/24"))) == Own("default")
    assert step(service(), pools=(west,)) == Own("west")
    waiting = step(service(), pools=(west, east))
    assert isinstance(waiting, Wait)
    assert waiting.why.startswith('none of the pools east, west is named "default"')


def test_a_service_of_two_families_is_given_an_address_of_the_first_that_has_a_pool() -> None:
    both = service(ipFamilies=["IPv6", "IPv4"])
    six = pool("six", "2001:db8::/112")
    assert step(both) == Own("default")
    assert step(both, pools=(pool(), six)) == Own("six")


@pytest.mark.parametrize(
    "found",
    [
        service(loadBalancerClass="example.com/other"),
        service(held=True, deleted=True, loadBalancerClass="example.com/other"),
        service("", "203.0.113.5"),
        service("", "203.0.113.5", held=True, deleted=True),
    ],
)
def test_what_another_controller_looks_after_is_left_alone(found: Service) -> None:
    assert step(found) is None


def test_without_any_pool_load_balancers_are_somebody_elses_but_who_waits_is_told() -> None:
    for found in (service("", "203.0.113.5"), service(held=True, deleted=True), service(held=True, type="ClusterIP")):
        assert step(found, pools=()) is None
    for found in (service(), service("free text")):
        waiting = step(found, pools=())
        why = 'there is no FloatingIPPool in region "local": create one, as `pierhead up --floating-cidr` does'
        assert waiting == Wait(why)


NORTH = (pool("east", "198.51.100.0/24", region="east"), pool(region="north"))
RELEASE = (
    'pool "default" belongs to region "north": release its addresses (pierhead fip get) and change its spec.region'
    " (kubectl edit fippool default), or start with --region north"
)


@pytest.mark.parametrize(
    ("found", "fips", "why"),
    [
        (service(), (), f'there is no FloatingIPPool in region "local", and {RELEASE}'),
        (service(), (fip(OWNED, "", "default/web"),), RELEASE),
        (service("waiting"), (fip("waiting"),), RELEASE),
        (service("site"), (fip("site", "192.0.2.7", region="north"),), 'spec.loadBalancerIP "site": belongs to region "north"'),
        (service("192.0.2.9"), (), 'spec.loadBalancerIP "192.0.2.9": belongs to region "north"'),
    ],
)  # fmt: skip
def test_who_waits_where_the_pools_are_of_other_regions_is_told(
    found: Service, fips: tuple[FloatingIP, ...], why: str
) -> None:
    waiting = step(found, *fips, pools=NORTH)
    assert isinstance(waiting, Wait)
    assert waiting.why.startswith(why)


def test_who_has_an_address_keeps_it_when_the_region_is_called_otherwise_and_gives_it_back() -> None:
    site, mine = fip("site", "192.0.2.7", region="north"), fip(OWNED, "192.0.2.9", "default/web", region="north")
    for wish, its in (("site", site), ("", mine)):
        ip = its.status.address
        assert step(service(wish, ip, held=True), its, pools=NORTH) is None
        assert step(service(wish, ip, held=True, deleted=True), its, pools=NORTH) == Unbind()
        assert step(service(wish, held=True, deleted=True), pools=NORTH) == Release()


def test_a_status_that_somebody_spoiled_is_written_again() -> None:
    assert step(service("site", "203.0.113.5", held=True), SITE) == Bind("192.0.2.7")
    assert step(service("", "203.0.113.5", held=True), MINE) == Bind("192.0.2.9")
    assert step(service("site", "203.0.113.5", held=True, deleted=True), SITE) == Unbind()


def test_a_floating_ip_made_for_a_service_goes_with_the_need_for_it() -> None:
    assert not is_left_over(MINE, service())
    assert not is_left_over(MINE, service("", "192.0.2.9", held=True))
    assert not is_left_over(MINE, service("", "192.0.2.9", held=True, deleted=True))
    assert is_left_over(MINE, service(held=True, deleted=True))
    assert is_left_over(MINE, service("site", "192.0.2.7"))
    assert is_left_over(MINE, service(type="ClusterIP"))
    assert is_left_over(MINE, None)
    another = view(Service, {"metadata": {"name": "web", "namespace": "default", "uid": "new"}})
    assert is_left_over(MINE, another)


def test_what_somebody_reserved_for_a_service_by_hand_stays() -> None:
    for name in ("site", "service-web", "192.0.2.9"):
        assert not is_left_over(fip(name, "192.0.2.9", "default/gone"), None)
    assert not is_left_over(fip(OWNED, "192.0.2.9"), None)


def test_users_are_those_that_say_they_answer_there() -> None:
    found = [service("site", "192.0.2.7"), service("site"), service("", "192.0.2.9"), service(type="ClusterIP")]
    assert users(SITE, found, Known.of([SITE, MINE])) == ("default/web",)
    assert users(fip("site"), found, Known.of([SITE, MINE])) == ()


class World:
    """The Service and the FloatingIPs as the API server keeps them; at most one address is to be had for who names none."""

    def __init__(self, *, room: bool) -> None:
        self.service: Service | None = service()
        self.fips: dict[str, FloatingIP] = {"site": SITE}
        self.room = room
        self.held = False

    @property
    def known(self) -> Known:
        return Known.of(self.fips.values())

    def write(self, wish: str, kind: str, *ingress: str, deleted: bool = False) -> None:
        self.service = service(wish, *ingress, held=self.held, deleted=deleted, type=kind)

    def user(self, wish: str, kind: str) -> None:
        """A write that changes the address wipes the status."""
        if (before := self.service) is None or before.metadata.deletion_timestamp:
            return
        ingress = [entry.ip for entry in before.status.load_balancer.ingress]
        after = service(wish, *ingress, type=kind)
        changed = bound_address(after, self.known) != bound_address(before, self.known)
        self.write(wish, kind, *(() if changed else ingress))

    def delete(self) -> None:
        if self.service is not None and not self.held:
            self.service = None
        elif self.service is not None:
            ingress = [entry.ip for entry in self.service.status.load_balancer.ingress]
            spec = self.service.spec
            self.write(spec.load_balancer_ip, spec.type, *ingress, deleted=True)

    def controller(self) -> bool:
        """One turn of both loops; False: there was nothing to do."""
        return self._balance() | self._look_after_fips()

    def _balance(self) -> bool:
        found = self.service
        taken = next_step(found, (pool(),), self.known, "local") if found else None
        if found is None or taken is None or isinstance(taken, Wait):
            return False
        spec, gone = found.spec, bool(found.metadata.deletion_timestamp)
        ingress = [entry.ip for entry in found.status.load_balancer.ingress]
        match taken:
            case Own():
                self.fips[OWNED] = fip(OWNED, "192.0.2.9" if self.room else "", "default/web")
            case Hold() | Release():
                self.held = isinstance(taken, Hold)
                self.write(spec.load_balancer_ip, spec.type, *ingress, deleted=gone)
            case Bind(ip):
                self.write(spec.load_balancer_ip, spec.type, ip, deleted=gone)
            case Unbind():
                self.write(spec.load_balancer_ip, spec.type, deleted=gone)
        if isinstance(taken, Release) and gone:
            self.service = None
        return True

    def _look_after_fips(self) -> bool:
        owned = self.fips.get(OWNED)
        if owned is None:
            return False
        if is_left_over(owned, self.service):
            assert not self.service or not users(owned, [self.service], self.known), "the API server would say 409"
            del self.fips[OWNED]
            return True
        if not owned.status.address and self.room:
            self.fips[OWNED] = MINE
            return True
        return False


ACTIONS = ("site", "192.0.2.7", "", "ClusterIP", "delete", "room", "turn", "turn", "turn")


@given(st.lists(st.sampled_from(ACTIONS), max_size=12), st.booleans())
def test_from_wherever_it_is_stopped_it_comes_to_rest(actions: list[str], room: bool) -> None:
    world = World(room=room)
    for action in actions:
        match action:
            case "turn":
                world.controller()
            case "room":
                world.room = True
            case "delete":
                world.delete()
            case "ClusterIP":
                world.user("", "ClusterIP")
            case wish:
                world.user(wish, "LoadBalancer")
    for _ in range(12):
        if not world.controller():
            break
    else:
        raise AssertionError("never at rest")
    found = world.service
    ingress = [entry.ip for entry in found.status.load_balancer.ingress] if found else []
    if found is None or not is_ours(found):
        assert (world.held and found is not None, ingress, OWNED in world.fips) == (False, [], False)
        return
    assert not found.metadata.deletion_timestamp
    assert (OWNED in world.fips) == (not found.spec.load_balancer_ip)
    address = bound_address(found, world.known)
    assert ingress == ([address] if address else [])
    assert bool(address) == (bool(found.spec.load_balancer_ip) or world.room)
    assert owned_name(found) == OWNED
