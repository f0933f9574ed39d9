"""The seed, sentence by sentence: each test quotes what it shows, over real sockets and real processes."""

from __future__ import annotations

import os
import socket
from collections import Counter
from functools import partial
from typing import Any

import pytest

from e2e.backends import Namespace, answers, ask, ask_udp, asking, eventually, pod, service, spread
from running import Region

APP = {"app": "MyApp"}


def test_a_service_is_a_logical_set_of_pods_and_a_way_to_reach_them(home: Namespace) -> None:
    """A Service is an abstraction which defines a logical set of Pods and a policy by which to access them."""
    home.apply(*(pod(f"p{number}", 9376, APP) for number in range(3)), pod("other", 9376, {"app": "Other"}))
    home.create("services", service("my-service", [{"port": 8080, "targetPort": 9376}], APP))
    home.wait_endpoints("my-service", 3)
    address = home.cluster_ip("my-service")
    eventually(lambda: answers(address, 8080), "an answer")
    counts = spread(address, 8080, 90)
    assert set(counts) == {"p0", "p1", "p2"}
    assert min(counts.values()) >= 10


def test_frontends_do_not_keep_track_of_backends(home: Namespace) -> None:
    """While the actual Pods that compose the backend set may change, the frontend clients should not need to be aware of that or
    keep track of the list of backends themselves."""
    home.create("services", service("images", [{"port": 8080, "targetPort": 9376}], APP))
    home.apply(pod("first", 9376, APP), pod("second", 9376, APP))
    home.wait_endpoints("images", 2)
    address = home.cluster_ip("images")
    eventually(lambda: answers(address, 8080), "an answer")
    with asking(address, 8080) as seen:
        home.apply(pod("third", 9376, APP))
        home.wait_endpoints("images", 3)
        home.delete("pods/first")
        home.delete("pods/second")
        eventually(lambda: home.call("GET", "pods/second")[0] == 404, "the second pod gone")
        before = seen["third", "9376"]
        eventually(lambda: seen["third", "9376"] > before + 20, "the third pod alone")
    assert {name for name, _ in seen} == {"first", "second", "third"}


def test_a_definition_can_be_posted(home: Namespace) -> None:
    """Like all of the REST objects, a Service definition can be POSTed to the apiserver to create a new instance."""
    definition = service("my-service", [{"protocol": "TCP", "port": 80, "targetPort": 9376}], APP)
    status, made = home.call("POST", "services", definition)
    assert status == 201
    assert home.get("services/my-service")["spec"] == made["spec"]
    assert home.call("POST", "services", definition)[1]["reason"] == "AlreadyExists"


def test_the_seeds_manifest_targets_its_pods(region: Region) -> None:
    """This specification will create a new Service object named "my-service" which targets TCP port 9376 on any Pod with the
    "app=MyApp" label."""
    assert "my-service" in region.kubectl("apply", "-f", "examples/my-service-8080.yaml")
    home = Namespace(region, "default")
    try:
        home.apply(pod("my-pod", 9376, APP))
        assert len(home.wait_endpoints("my-service", 1)) == 1
        address = home.cluster_ip("my-service")
        assert eventually(lambda: answers(address, 8080), "an answer").split()[:2] == ["my-pod", "9376"]
    finally:
        region.kubectl("delete", "service/my-service", "pod/my-pod", "--ignore-not-found")


def test_a_cluster_ip_is_assigned(home: Namespace) -> None:
    """This Service will also be assigned an IP address (sometimes called the "cluster IP"), which is used by the service proxies."""
    made = [home.create("services", service(f"s{number}", [{"port": 80}])) for number in range(5)]
    addresses = {found["spec"]["clusterIP"] for found in made}
    assert len(addresses) == 5
    assert all(address.startswith("127.") for address in addresses)


def test_the_selector_is_evaluated_continuously(home: Namespace) -> None:
    """The Service's selector will be evaluated continuously and the results will be POSTed to an Endpoints object also named
    "my-service"."""
    home.create("services", service("my-service", [{"port": 80, "targetPort": 9376}], APP))
    assert home.wait_endpoints("my-service", 0) == set()
    home.apply(pod("a", 9376, APP), pod("b", 9376, {"app": "Other"}))
    (first,) = home.wait_endpoints("my-service", 1)
    home.patch("pods/b", {"metadata": {"labels": APP}})
    assert first in home.wait_endpoints("my-service", 2)
    home.patch("pods/a", {"metadata": {"labels": {"app": None}}})
    assert first not in home.wait_endpoints("my-service", 1)
    home.patch("services/my-service", {"spec": {"selector": {"app": "Nobody"}}})
    home.wait_endpoints("my-service", 0)


def test_any_target_port(home: Namespace) -> None:
    """Note that a Service can map an incoming port to any targetPort."""
    home.apply(pod("p", 12345, APP))
    home.create("services", service("s", [{"port": 8080, "targetPort": 12345}], APP))
    home.wait_endpoints("s", 1)
    assert eventually(lambda: answers(home.cluster_ip("s"), 8080), "an answer").split()[:2] == ["p", "12345"]


def test_the_target_port_is_the_port_by_default(home: Namespace) -> None:
    """By default the targetPort will be set to the same value as the port field."""
    home.apply(pod("p", 8080, APP))
    assert home.create("services", service("s", [{"port": 8080}], APP))["spec"]["ports"][0]["targetPort"] == 8080
    home.wait_endpoints("s", 1)
    assert eventually(lambda: answers(home.cluster_ip("s"), 8080), "an answer").split()[:2] == ["p", "8080"]


def test_a_target_port_can_be_a_name_with_a_number_of_its_own_in_each_pod(home: Namespace) -> None:
    """Perhaps more interesting is that targetPort can be a string, referring to the name of a port in the backend Pods. The actual
    port number assigned to that name can be different in each backend Pod."""
    home.apply(pod("one", 9376, APP, port_name="http"), pod("two", 9377, APP, port_name="http"))
    home.create("services", service("s", [{"port": 8080, "targetPort": "http"}], APP))
    assert {port for _, port in home.wait_endpoints("s", 2)} == {9376, 9377}
    address = home.cluster_ip("s")
    eventually(lambda: answers(address, 8080), "an answer")
    seen = {tuple(ask(address, 8080).split()[:2]) for _ in range(60)}
    assert seen == {("one", "9376"), ("two", "9377")}


def test_the_next_version_may_change_the_number_without_breaking_clients(home: Namespace) -> None:
    """For example, you can change the port number that pods expose in the next version of your backend software, without breaking
    clients."""
    home.create("services", service("s", [{"port": 8080, "targetPort": "http"}], APP))
    home.apply(pod("v1", 9376, APP, port_name="http"))
    home.wait_endpoints("s", 1)
    address = home.cluster_ip("s")
    eventually(lambda: answers(address, 8080), "an answer")
    with socket.create_connection((address, 8080), timeout=5) as kept, asking(address, 8080) as seen:
        home.apply(pod("v2", 9377, APP, port_name="http"))
        home.wait_endpoints("s", 2)
        kept.sendall(b"open before")
        assert b"open before" in kept.recv(4096)
        home.delete("pods/v1")
        eventually(lambda: home.call("GET", "pods/v1")[0] == 404, "v1 gone")
        before = seen["v2", "9377"]
        eventually(lambda: seen["v2", "9377"] > before + 20, "v2 alone")
    assert set(seen) == {("v1", "9376"), ("v2", "9377")}


def test_tcp_and_udp(home: Namespace) -> None:
    """Services support TCP and UDP for protocols."""
    home.apply(pod("p", 9376, APP))
    ports = [{"name": proto.lower(), "protocol": proto, "port": 8080, "targetPort": 9376} for proto in ("TCP", "UDP")]
    home.create("services", service("s", ports, APP))
    home.wait_endpoints("s", 1)
    address = home.cluster_ip("s")
    assert eventually(lambda: answers(address, 8080), "an answer over TCP").split() == ["p", "9376", "hi"]
    assert ask_udp(address, 8080, "datagram").split() == ["p", "9376", "datagram"]


def test_the_default_protocol_is_tcp(home: Namespace) -> None:
    """The default is TCP."""
    assert home.create("services", service("s", [{"port": 80}]))["spec"]["ports"][0]["protocol"] == "TCP"


def test_several_ports_each_reach_their_own(home: Namespace) -> None:
    """Many Services need to expose more than one port. For this case, we support multiple port definitions on a Service object."""
    home.apply(pod("a", 9376, APP), pod("b", 9377, APP))
    ports = [{"name": "one", "port": 8081, "targetPort": 9376}, {"name": "two", "port": 8082, "targetPort": 9377}]
    home.create("services", service("s", ports, APP))
    home.wait_endpoints("s", 4)
    address = home.cluster_ip("s")
    assert eventually(lambda: answers(address, 8081), "the first port").split()[1] == "9376"
    assert eventually(lambda: answers(address, 8082), "the second port").split()[1] == "9377"


def test_several_ports_need_names(home: Namespace) -> None:
    """When using multiple ports you must give all of your ports names, so that endpoints can be disambiguated."""
    status, refused = home.call("POST", "services", service("s", [{"port": 80}, {"port": 443}]))
    assert status == 422
    assert [cause["field"] for cause in refused["details"]["causes"]] == ["spec.ports[0].name", "spec.ports[1].name"]
    assert home.call("GET", "services/s")[0] == 404


def test_the_default_type_is_cluster_ip(home: Namespace) -> None:
    """This is the default ServiceType: ClusterIP."""
    assert home.create("services", service("s", [{"port": 80}]))["spec"]["type"] == "ClusterIP"


def test_a_service_without_a_selector_serves_hand_made_endpoints(home: Namespace) -> None:
    """The set of Pods targeted by a Service is (usually) determined by a Label Selector (see below for why you might want a Service
    without a selector)."""
    home.create("services", service("s", [{"port": 8080, "targetPort": 9376}]))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
        subsets = [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": number}]}]
        home.create("endpoints", {"metadata": {"name": "s"}, "subsets": subsets})

        def accepted() -> socket.socket | None:
            try:
                return socket.create_connection((home.cluster_ip("s"), 8080), timeout=5)
            except OSError:
                return None

        with eventually(accepted, "a connection") as client:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"from outside the region")
                assert client.recv(100) == b"from outside the region"


def test_without_an_endpoint_a_client_is_refused_at_once(home: Namespace) -> None:
    """A policy by which to access them: where there is nobody, a client learns it at once."""
    home.create("services", service("s", [{"port": 8080}], APP))
    home.wait_endpoints("s", 0)
    with pytest.raises(ConnectionRefusedError):
        ask(home.cluster_ip("s"), 8080)


# -- publishing Services --------------------------------------------------------------------------------------


def balanced(name: str, port: int, wish: str = "", **spec: Any) -> dict[str, Any]:
    """A Service of type LoadBalancer for the pods of the app."""
    asked = {"type": "LoadBalancer"} | ({"loadBalancerIP": wish} if wish else {}) | spec
    return service(name, [{"port": port, "targetPort": 9376}], APP, **asked)


def test_a_service_can_be_exposed_onto_a_floating_ip(home: Namespace, address: str) -> None:
    """For some parts of your application (e.g. frontends) you may want to expose a Service onto a Floating IP address."""
    home.apply(pod("p", 9376, APP))
    home.create("services", balanced("frontend", 8080, address))
    home.wait_endpoints("frontend", 1)
    assert eventually(lambda: answers(address, 8080), "an answer").split() == ["p", "9376", "hi"]
    assert home.ingress("frontend") == [address]
    assert address in home.kubectl("get", "service", "frontend")


def test_a_load_balancer_without_a_wish_is_given_a_floating_ip_of_its_own(home: Namespace) -> None:
    """LoadBalancer: Exposes the service externally using a floating IP."""
    home.apply(pod("p", 9376, APP))
    home.create("services", balanced("s", 8080))
    (address,) = eventually(lambda: home.ingress("s"), "a floating IP")
    assert eventually(lambda: answers(address, 8080), "an answer").split()[0] == "p"
    home.delete("services/s")
    eventually(lambda: home.call("GET", "services/s")[0] == 404, "the Service gone")
    owners = home.region.call("GET", "/apis/pierhead.dev/v1/floatingips")[1]["items"]
    assert address not in {found["status"]["address"] for found in owners}
    eventually(lambda: not answers(address, 8080), "nobody at its address")


def answers_go_on(seen: Counter[tuple[str, str]]) -> None:
    before = seen.total()
    eventually(lambda: seen.total() > before + 20, "more answers")


def test_to_have_a_floating_ip_the_type_must_be_load_balancer_and_it_may_change_both_ways(
    home: Namespace, address: str
) -> None:
    """To associate a service with a floating IP, the service type must be LoadBalancer."""
    home.apply(pod("p", 9376, APP))
    home.create("services", balanced("s", 8080, address, type="ClusterIP"))
    home.wait_endpoints("s", 1)
    cluster_ip = home.cluster_ip("s")
    eventually(lambda: answers(cluster_ip, 8080), "an answer at the cluster IP")
    with asking(cluster_ip, 8080) as seen:
        for _ in range(3):
            assert answers(address, 8080) == ""
            home.patch("services/s", {"spec": {"type": "LoadBalancer", "loadBalancerIP": address}})
            eventually(lambda: answers(address, 8080), "an answer at the floating IP")
            home.patch("services/s", {"spec": {"type": "ClusterIP"}})
            eventually(lambda: not answers(address, 8080), "nobody at the floating IP")
            answers_go_on(seen)
    assert set(seen) == {("p", "9376")}
    assert home.cluster_ip("s") == cluster_ip
    assert home.ingress("s") == []


def test_a_load_balancer_stands_in_front_of_the_pods_behind_the_service(home: Namespace, address: str) -> None:
    """In this case, the service acts as a public-facing load balancer in front of the pod fleets behind the service."""
    home.apply(*(pod(f"p{number}", 9376, APP) for number in range(3)))
    ports = [{"name": proto.lower(), "protocol": proto, "port": 8080, "targetPort": 9376} for proto in ("TCP", "UDP")]
    home.create("services", service("s", ports, APP, type="LoadBalancer", loadBalancerIP=address))
    home.wait_endpoints("s", 3)
    eventually(lambda: answers(address, 8080), "an answer")
    counts = spread(address, 8080, 90)
    assert set(counts) == {"p0", "p1", "p2"}
    assert min(counts.values()) >= 10
    assert ask_udp(address, 8080, "datagram").split()[1:] == ["9376", "datagram"]
    home.delete("pods/p0")
    eventually(lambda: home.call("GET", "pods/p0")[0] == 404, "one pod gone")
    assert set(spread(address, 8080, 40)) == {"p1", "p2"}


def test_many_services_share_a_floating_ip_while_their_ports_differ(home: Namespace, address: str) -> None:
    """Pi: several Services can be bound to one floating IP while no (protocol, port) clashes."""
    home.apply(pod("p", 9376, APP))
    for number in range(5):
        home.create("services", balanced(f"s{number}", 8080 + number, address))
    for number in range(5):
        assert eventually(partial(answers, address, 8080 + number), "an answer").split()[0] == "p"
    status, refused = home.call("POST", "services", balanced("late", 8082, address))
    assert status == 422
    (cause,) = refused["details"]["causes"]
    assert cause["field"] == "spec.ports[0]"
    assert f"TCP port 8082 of {address} is in use by Service {home.name}/s2" in cause["message"]
    home.create("services", service("udp", [{"port": 8082, "protocol": "UDP", "targetPort": 9376}], APP,
                                    type="LoadBalancer", loadBalancerIP=address))  # fmt: skip
    eventually(lambda: home.ingress("udp"), "the same port of another protocol")
    assert ask_udp(address, 8082).split()[0] == "p"


def test_a_service_has_one_floating_ip_at_a_time(home: Namespace, address: str) -> None:
    """Pi: a Service binds at most one floating IP."""
    home.apply(pod("p", 9376, APP))
    home.create("services", balanced("s", 8080))
    (first,) = eventually(lambda: home.ingress("s"), "a floating IP of its own")
    eventually(lambda: answers(first, 8080), "an answer")
    home.patch("services/s", {"spec": {"loadBalancerIP": address}})
    eventually(lambda: answers(address, 8080), "an answer at the wished one")
    eventually(lambda: not answers(first, 8080), "nobody at the other")
    assert home.ingress("s") == [address]


def test_a_floating_ip_in_use_is_not_released(home: Namespace, address: str) -> None:
    """Pi: releasing a floating IP is refused with 409 while any Service uses it; it outlives the Services."""
    home.create("services", balanced("s", 8080, address))
    path = f"/apis/pierhead.dev/v1/floatingips/{address}"
    status, refused = home.region.call("DELETE", path)
    assert (status, refused["reason"]) == (409, "Conflict")
    assert f"it is in use by Service {home.name}/s" in refused["message"]
    home.kubectl("delete", "service", "s", "--wait")
    assert home.region.call("GET", path)[1]["status"]["address"] == address


def test_a_node_port_answers_on_the_machines_own_address(home: Namespace) -> None:
    """Kubernetes: a NodePort is reached at the node's address; in loopback mode that is 127.0.0.1."""
    home.apply(pod("p", 9376, APP))
    made = home.create("services", service("s", [{"port": 8080, "targetPort": 9376}], APP, type="NodePort"))
    home.wait_endpoints("s", 1)
    number = made["spec"]["ports"][0]["nodePort"]
    assert eventually(lambda: answers("127.0.0.1", number), "an answer").split()[0] == "p"


def test_a_port_that_somebody_else_holds_is_said_and_served_when_he_leaves(home: Namespace, address: str) -> None:
    """A policy by which to access them: who answers in the place of the pods is named, and no longer than he is there."""
    home.apply(pod("p", 9376, APP))
    with socket.create_server((address, 8080)):
        home.create("services", balanced("s", 8080, address))
        home.wait_endpoints("s", 1)
        fields = "--field-selector=reason=AddressInUse"

        def told() -> str:
            return home.kubectl("get", "events", fields, "-o", "jsonpath={.items[*].message}")

        text = eventually(told, "an Event")
        assert f"process {os.getpid()} (" in text
        assert f"answers at TCP {address}:8080 in place of this Service" in text
    assert eventually(lambda: answers(address, 8080), "an answer").split()[0] == "p"
