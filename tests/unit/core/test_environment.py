"""What a container finds in its environment (`core.environment`)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api.views import EnvFromSource, EnvVar, ObjectMeta, Service, ServicePort, ServiceSpec
from pierhead.core.environment import Facts, Unresolved, environment, expand, references, service_variables


def service(namespace: str, name: str, address: str, *ports: ServicePort) -> Service:
    return Service(ObjectMeta(namespace=namespace, name=name), spec=ServiceSpec(cluster_ip=address, ports=ports))


REDIS = service("shop", "redis-primary", "10.96.0.11", ServicePort(port=6379))
KUBERNETES = service("default", "kubernetes", "10.96.0.1", ServicePort(port=443, name="https"))
FACTS = Facts(
    fields={"metadata.name": "web-1", "metadata.namespace": "shop", "status.podIP": "127.64.0.7"},
    labels={"app": "web"},
    annotations={"example.com/owner": "jo"},
    config_maps={"settings": {"colour": "red", "a=b": "no"}},
    secrets={"login": {"password": "s3cret"}},
    common={"POD_IP": "127.64.0.7", "REDIS_SERVICE_HOST": "10.96.0.11"},
)


def variables(*entries: dict[str, Any]) -> list[EnvVar]:
    return msgspec.convert(list(entries), list[EnvVar])


def sources(*entries: dict[str, Any]) -> list[EnvFromSource]:
    return msgspec.convert(list(entries), list[EnvFromSource])


# -- Services -----------------------------------------------------------------------------------------------


def test_a_service_gives_the_variables_kubernetes_documents() -> None:
    assert service_variables([REDIS], "shop", links=True) == {
        "REDIS_PRIMARY_SERVICE_HOST": "10.96.0.11",
        "REDIS_PRIMARY_SERVICE_PORT": "6379",
        "REDIS_PRIMARY_PORT": "tcp://10.96.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP": "tcp://10.96.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP_PROTO": "tcp",
        "REDIS_PRIMARY_PORT_6379_TCP_PORT": "6379",
        "REDIS_PRIMARY_PORT_6379_TCP_ADDR": "10.96.0.11",
    }


def test_each_named_port_is_told_and_the_first_is_the_service_s_port() -> None:
    dns = service(
        "shop",
        "dns",
        "10.96.0.10",
        ServicePort(port=53, name="dns-udp", protocol="UDP"),
        ServicePort(port=9153, name="metrics"),
    )
    found = service_variables([dns], "shop", links=True)
    assert found["DNS_SERVICE_PORT"] == "53"
    assert found["DNS_SERVICE_PORT_DNS_UDP"] == "53"
    assert found["DNS_SERVICE_PORT_METRICS"] == "9153"
    assert found["DNS_PORT"] == "udp://10.96.0.10:53"
    assert found["DNS_PORT_53_UDP_PROTO"] == "udp"


def test_an_ipv6_address_is_bracketed_in_urls_only() -> None:
    found = service_variables([service("shop", "six", "fd00::7", ServicePort(port=80))], "shop", links=True)
    assert found["SIX_SERVICE_HOST"] == "fd00::7"
    assert found["SIX_PORT"] == "tcp://[fd00::7]:80"


def test_services_without_address_and_of_other_namespaces_are_not_told() -> None:
    headless = service("shop", "db", "None", ServicePort(port=5432))
    external = service("shop", "far", "", ServicePort(port=80))
    other = service("bank", "vault", "10.96.0.12", ServicePort(port=80))
    assert service_variables([headless, external, other], "shop", links=True) == {}


def test_without_links_only_the_api_server_is_told() -> None:
    found = service_variables([REDIS, KUBERNETES], "shop", links=False)
    assert {name.split("_")[0] for name in found} == {"KUBERNETES"}
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"


def test_a_service_named_kubernetes_of_the_pod_s_own_namespace_comes_first() -> None:
    own = service("shop", "kubernetes", "10.96.0.99", ServicePort(port=1))
    for order in ([own, KUBERNETES], [KUBERNETES, own]):
        assert service_variables(order, "shop", links=True)["KUBERNETES_SERVICE_HOST"] == "10.96.0.99"


# -- $(NAME) --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("a-$(A)-$(B)", "a-1-2"),
        ("$(NOBODY)", "$(NOBODY)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$(A)", "$$(A)"),
        ("$A ${A}", "$A ${A}"),
        ("$(A", "$(A"),
        ("$", "$"),
        ("$()", "$()"),
    ],
)
def test_references_are_expanded(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}, {"A": "no", "B": "2"}) == expected


@given(st.text("$()A", max_size=20))
def test_a_value_is_never_expanded_twice(text: str) -> None:
    assert expand(text, {"A": "$(A)"}) == expand(text, {})


# -- env and envFrom ------------------------------------------------------------------------------------------


def test_a_variable_may_refer_to_earlier_ones_and_to_services() -> None:
    env = variables(
        {"name": "HOST", "value": "$(REDIS_SERVICE_HOST)"},
        {"name": "URL", "value": "redis://$(HOST)/$(LATER)"},
        {"name": "LATER", "value": "0"},
        {"name": "OWN", "value": "$(POD_IP):80"},
    )
    assert environment(env, [], FACTS)["OWN"] == "127.64.0.7:80"
    assert environment(env, [], FACTS)["URL"] == "redis://10.96.0.11/$(LATER)"


def test_the_pod_s_own_variable_replaces_a_service_s() -> None:
    env = variables({"name": "REDIS_SERVICE_HOST", "value": "elsewhere"})
    assert environment(env, [], FACTS)["REDIS_SERVICE_HOST"] == "elsewhere"


def test_facts_about_the_pod() -> None:
    paths = ["metadata.name", "metadata.labels['app']", "metadata.annotations['example.com/owner']", "status.podIP"]
    env = variables(*({"name": f"V{i}", "valueFrom": {"fieldRef": {"fieldPath": p}}} for i, p in enumerate(paths)))
    found = environment(env, [], FACTS)
    assert [found[f"V{i}"] for i in range(4)] == ["web-1", "web", "jo", "127.64.0.7"]


def test_a_label_that_does_not_exist_is_empty() -> None:
    env = variables({"name": "V", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['x']"}}})
    assert environment(env, [], FACTS)["V"] == ""


def test_keys_of_config_maps_and_secrets() -> None:
    env = variables(
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
    )
    found = environment(env, [], FACTS)
    assert (found["COLOUR"], found["PASSWORD"]) == ("red", "s3cret")


def test_whole_config_maps_with_a_prefix_and_env_on_top() -> None:
    found = environment(
        variables({"name": "password", "value": "mine"}),
        sources({"prefix": "S_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "login"}}),
        FACTS,
    )
    assert found["S_colour"] == "red"
    assert found["password"] == "mine"
    assert "S_a=b" not in found


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        ({"configMapKeyRef": {"name": "no", "key": "k"}}, 'configmap "no" not found'),
        ({"secretKeyRef": {"name": "no", "key": "k"}}, 'secret "no" not found'),
        ({"configMapKeyRef": {"name": "settings", "key": "k"}}, "couldn't find key k in ConfigMap shop/settings"),
        ({"secretKeyRef": {"name": "login", "key": "k"}}, "couldn't find key k in Secret shop/login"),
        ({"fieldRef": {"fieldPath": "spec.hostname"}}, "unsupported fieldPath: spec.hostname"),
    ],
)
def test_what_does_not_exist_is_named(origin: dict[str, Any], text: str) -> None:
    with pytest.raises(Unresolved) as caught:
        environment(variables({"name": "V", "valueFrom": origin}), [], FACTS)
    assert str(caught.value) == text


def test_what_is_optional_may_be_missing() -> None:
    env = variables(
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k", "optional": True}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "login", "key": "k", "optional": True}}},
    )
    found = environment(env, sources({"configMapRef": {"name": "no", "optional": True}}), FACTS)
    assert "A" not in found
    assert "B" not in found


def test_which_objects_a_container_needs() -> None:
    env = variables({"name": "A", "valueFrom": {"configMapKeyRef": {"name": "one", "key": "k"}}})
    assert references(env, sources({"secretRef": {"name": "two"}}, {"configMapRef": {"name": "three"}})) == (
        {"one", "three"},
        {"two"},
    )
