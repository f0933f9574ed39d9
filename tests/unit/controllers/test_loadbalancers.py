"""Services of type LoadBalancer and their floating IPs: the real API server and all controllers in this process."""

from __future__ import annotations

import pytest

from balancing import ONE, Scene, anew, ground, play
from inside import Flaky, Inside, eventually, working
from pierhead.api.kinds import EVENT, FLOATING_IP, SERVICE
from pierhead.client.client import Client
from pierhead.client.informers import Informers
from pierhead.client.transport import unavailable
from pierhead.errors import ApiError


def test_a_service_that_wishes_for_nothing_is_given_an_address_and_gives_it_back() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.service()
        await scene.is_at("192.0.2.1")
        assert scene.held()
        (fip,) = scene.fips.list()
        assert (fip.spec.service, fip.status.address) == ("default/web", "192.0.2.1")
        await eventually(lambda: scene.users(fip.metadata.name) == ("default/web",))
        stored = await scene.client.get(SERVICE, "web", "default")
        assert stored["status"]["loadBalancer"] == {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}
        await scene.client.delete(SERVICE, "web", "default")
        await eventually(lambda: scene.services.get("web", "default") is None)
        assert scene.fips.list() == []
        words = await scene.told("web", lambda seen: len(seen) == 4)
        assert words == [
            ("EnsuringLoadBalancer", "Ensuring load balancer"),
            ("EnsuredLoadBalancer", "Ensured load balancer"),
            ("DeletingLoadBalancer", "Deleting load balancer"),
            ("DeletedLoadBalancer", "Deleted load balancer"),
        ]

    play(scenario, ONE)


def test_a_wish_by_name_or_address_is_granted_and_the_address_outlives_the_service() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.fip("site", address="192.0.2.7")
        await scene.service(loadBalancerIP="site")
        await scene.service("dns", 53, loadBalancerIP="192.0.2.7")
        await scene.is_at("192.0.2.7")
        await scene.is_at("192.0.2.7", name="dns")
        await eventually(lambda: scene.users("site") == ("default/dns", "default/web"))
        with pytest.raises(ApiError, match="it is in use by Services default/dns and default/web"):
            await scene.client.delete(FLOATING_IP, "site")
        for name in ("web", "dns"):
            await scene.client.delete(SERVICE, name, "default")
        await eventually(lambda: scene.users("site") == ())
        await eventually(lambda: scene.services.list("default") == [scene.services.get("kubernetes", "default")])
        await scene.client.delete(FLOATING_IP, "site")

    play(scenario, "192.0.2.0/24")


def test_from_cluster_ip_to_load_balancer_and_back() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.service(type="ClusterIP")
        before = await scene.client.get(SERVICE, "web", "default")
        for _ in range(2):
            await scene.change(type="LoadBalancer")
            await scene.is_at("192.0.2.1")
            await scene.change(type="ClusterIP")
            await eventually(lambda: not scene.held() and scene.fips.list() == [])
            assert scene.ingress() == []
        after = await scene.client.get(SERVICE, "web", "default")
        assert after["spec"] == before["spec"]
        words = await scene.told("web", lambda seen: len(seen) == 4)
        assert [reason.removesuffix("LoadBalancer") for reason, _ in words] == [
            "Ensuring",
            "Ensured",
            "Deleting",
            "Deleted",
        ]

    play(scenario, ONE)


def test_a_changed_wish_moves_the_service_and_says_so() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.fip("site", address="192.0.2.7")
        await scene.service()
        await eventually(lambda: len(scene.ingress()) == 1)
        await scene.change(loadBalancerIP="site")
        await scene.is_at("192.0.2.7")
        await eventually(lambda: [fip.metadata.name for fip in scene.fips.list()] == ["site"])
        assert await scene.said("UpdatedLoadBalancer") == "Updated load balancer with new address 192.0.2.7"
        await scene.change(loadBalancerIP=None)
        await eventually(lambda: len(scene.fips.list()) == 2 and scene.ingress() not in ([], ["192.0.2.7"]))
        await eventually(lambda: scene.users("site") == ())

    play(scenario, "192.0.2.0/28")


def test_of_an_exhausted_pool_one_waits_is_told_and_served_when_another_leaves() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.service("first")
        await scene.is_at("192.0.2.1", name="first")
        await scene.service()
        assert (await scene.said("SyncLoadBalancerFailed")).startswith(
            'pool "default" has no free address: release one'
        )
        assert not scene.held()
        await scene.client.delete(SERVICE, "first", "default")
        await scene.is_at("192.0.2.1")

    play(scenario, ONE)


def test_a_service_waits_for_the_name_it_wishes_for() -> None:
    async def scenario(scene: Scene) -> None:
        first = await scene.fip()
        await scene.fip("site")
        await scene.service(loadBalancerIP="site")
        assert (await scene.said("SyncLoadBalancerFailed")).startswith('pool "default" has no free address')
        await scene.client.delete(FLOATING_IP, first["metadata"]["name"])
        await scene.is_at("192.0.2.1")

    play(scenario, ONE)


def test_whose_port_is_taken_when_the_address_comes_is_told_and_served_when_it_is_given_back() -> None:
    async def scenario(scene: Scene) -> None:
        first = await scene.fip()
        await scene.fip("site")
        for name in ("web", "late"):
            await scene.service(name, loadBalancerIP="site")
        await scene.client.delete(FLOATING_IP, first["metadata"]["name"])
        await eventually(lambda: scene.ingress() + scene.ingress("late") == ["192.0.2.1"])
        winner, loser = ("web", "late") if scene.ingress() else ("late", "web")
        await scene.told(loser, lambda seen: any(f"in use by Service default/{winner}" in text for _, text in seen))
        assert scene.users("site") in ((), (f"default/{winner}",))
        await scene.client.delete(SERVICE, winner, "default")
        await scene.is_at("192.0.2.1", name=loser)

    play(scenario, ONE)


class Halting(Flaky):
    """The Service ``brief`` cannot be written, so that it is never bound."""

    def _check(self, method: str, target: str) -> None:
        if method != "GET" and "services/brief" in target:
            raise unavailable("halted")


def test_whose_port_was_claimed_by_one_that_goes_before_it_is_bound_is_served() -> None:
    async def scenario(found: Inside) -> None:
        scene = Scene(found.client, Informers(found.client))
        await scene.pool("default", ONE)
        first = await scene.fip()
        await scene.fip("site")
        await scene.service(loadBalancerIP="site")
        await scene.client.delete(FLOATING_IP, first["metadata"]["name"])
        await scene.client.patch(FLOATING_IP, "site", {"status": {"address": "192.0.2.1"}}, subresource="status")
        await scene.service("brief", loadBalancerIP="site")
        halting = Client(Halting(found.transport), "test")
        async with working(halting, ground(ONE)) as informers:
            informers.of(EVENT)
            scene = Scene(found.client, informers)
            assert "in use by Service default/brief" in await scene.said("SyncLoadBalancerFailed")
            await scene.client.delete(SERVICE, "brief", "default")
            await scene.is_at("192.0.2.1")

    anew(scenario)


def test_a_foreign_class_is_left_alone_without_a_word() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.service("other", loadBalancerClass="example.com/lb", loadBalancerIP="whatever")
        await scene.service()
        await scene.is_at("192.0.2.1")
        found = await scene.client.get(SERVICE, "other", "default")
        assert (found["metadata"].get("finalizers"), found["status"]) == (None, {"loadBalancer": {}})
        events = (await scene.client.list(EVENT, "default")).items
        assert not any(each["involvedObject"]["name"] == "other" for each in events)

    play(scenario, ONE)


def test_without_pools_nothing_happens_until_there_is_one() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.service(loadBalancerIP="free text")
        await scene.service("plain")
        await scene.client.patch(
            SERVICE, "plain", {"status": {"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}]}}}, "default",
            subresource="status",
        )  # fmt: skip
        await scene.service("open")
        await scene.pool("mine", "192.0.2.0/28")
        await eventually(lambda: len(scene.ingress("open")) == 1)
        told = await scene.told("web", lambda seen: len(seen) == 2)
        assert (
            told[0][1]
            == 'there is no FloatingIPPool in region "local": create one, as `pierhead up --floating-cidr` does'
        )
        assert 'spec.loadBalancerIP "free text"' in told[1][1]
        assert {reason for reason, _ in told} == {"SyncLoadBalancerFailed"}
        assert not scene.held("plain")
        assert len(scene.fips.list()) == 1

    play(scenario)


def test_what_somebody_takes_out_of_the_status_or_the_finalizers_comes_back() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.service()
        await scene.is_at("192.0.2.1")
        await scene.client.patch(SERVICE, "web", {"status": None}, "default", subresource="status")
        await scene.said("UpdatedLoadBalancer")
        await scene.is_at("192.0.2.1")
        await scene.client.patch(SERVICE, "web", {"metadata": {"finalizers": None}}, "default")
        await eventually(scene.held)

    play(scenario, ONE)
