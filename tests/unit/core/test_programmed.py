"""The condition ``Programmed``: what it says, and when saying it again is worth a write."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from builders import view
from pierhead.api.proxystatuses import ENDPOINT_NOT_ALLOWED
from pierhead.api.views import Condition, ProxyStatus, Service
from pierhead.core.programmed import Terms, behind, condition_of, is_news, is_tentative, judge, reached

REFUSED = "TCP 10.96.0.7:80 needs root"


def service(**fields: Any) -> Service:
    metadata = {"name": "web", "namespace": "default", "uid": "u", "generation": 3}
    return view(Service, {"metadata": metadata, "spec": {"clusterIP": "10.96.0.7"}} | fields)


def proxy(*nodes: str, name: str = "", services: str = "9", refusals: tuple[dict[str, Any], ...] = ()) -> ProxyStatus:
    """``name``: else that of the first node."""
    status = {"nodes": nodes, "programmed": {"services": services}, "refusals": refusals}
    return view(ProxyStatus, {"metadata": {"name": name or nodes[0]}, "status": status})


def refusal(port: int = 80, *, name: str = "web", reason: str = "PortNotPermitted", message: str = REFUSED) -> Any:
    found = {"namespace": "default", "name": name, "protocol": "TCP", "address": "10.96.0.7", "port": port}
    return found | {"reason": reason, "message": message}


def said(found: Condition | None) -> tuple[str, str, str]:
    assert found is not None
    return found.status, found.reason, found.message


def test_it_is_programmed_when_all_live_nodes_carry_it() -> None:
    found = judge(service(), (), [proxy("a", "b"), proxy("c")], ["a", "b", "c"])
    assert found == Condition("Programmed", "True", "Programmed", "3/3 nodes", observed_generation=3)


def test_nodes_are_behind_whose_proxy_has_not_reported_so_far() -> None:
    proxies = [proxy("a", services="9"), proxy("b", services="8"), proxy("c", services="")]
    assert behind(9, proxies, ["a", "b", "c", "d"]) == {"b", "c", "d"}
    assert behind(8, proxies, ["a", "b"]) == frozenset()
    assert [reached(found) for found in proxies] == [9, 8, 0]


def test_nobody_speaks_for_a_node_that_has_a_proxy_of_its_own() -> None:
    proxies = [proxy("a", "b", "c", refusals=(refusal(),)), proxy("b", services="8")]
    assert behind(9, proxies, ["a", "b", "c"]) == {"b"}
    assert said(judge(service(), (), proxies, ["b", "c"]))[2] == f"1/2 nodes: {REFUSED}"


def test_who_is_waited_for_is_named() -> None:
    found = judge(service(), ["c", "b"], [proxy("a")], ["a", "b", "c"])
    assert said(found) == ("False", "Pending", "1/3 nodes: not yet on b, c")


def test_of_many_a_few_are_named() -> None:
    many = [f"n{number}" for number in range(9)]
    assert said(judge(service(), many, [], many))[2] == "0/9 nodes: not yet on n0, n1, n2, and more"


def test_a_refused_frontend_says_why_in_the_words_of_the_event() -> None:
    found = judge(service(), (), [proxy("a", refusals=(refusal(), refusal(81, name="other"))), proxy("b")], ["a", "b"])
    assert said(found) == ("False", "PortNotPermitted", f"1/2 nodes: {REFUSED}")


def test_what_several_nodes_refuse_is_said_once_and_in_order() -> None:
    both = (refusal(443, reason="AddressInUse", message="taken"), refusal())
    found = judge(service(), (), [proxy("a", "b", refusals=both), proxy("c", refusals=both[:1])], ["a", "b", "c"])
    assert said(found) == ("False", "PortNotPermitted", f"0/3 nodes: {REFUSED}; taken")


def test_a_refused_endpoint_is_not_the_services_matter() -> None:
    found = judge(service(), (), [proxy("a", refusals=(refusal(reason=ENDPOINT_NOT_ALLOWED),))], ["a"])
    assert said(found)[0] == "True"


def test_what_was_refused_before_says_nothing() -> None:
    """Its proxy has not seen this generation yet."""
    found = judge(service(), ["a"], [proxy("a", refusals=(refusal(),))], ["a"])
    assert said(found)[1] == "Pending"


def test_what_a_dead_node_refuses_says_nothing() -> None:
    assert said(judge(service(), (), [proxy("a"), proxy("b", refusals=(refusal(),))], ["a"]))[0] == "True"


NODES = st.frozensets(st.sampled_from("abcd"))


@given(NODES, st.lists(st.tuples(NODES, st.integers(0, 9), st.booleans()), max_size=4))
def test_true_means_that_every_live_node_holds_it_and_refuses_nothing(
    live: frozenset[str], reports: list[tuple[frozenset[str], int, bool]]
) -> None:
    proxies = [
        proxy(*nodes, name=f"proxy-{place}", services=str(number), refusals=(refusal(),) if refuses else ())
        for place, (nodes, number, refuses) in enumerate(reports)
    ]
    waiting = behind(5, proxies, live)
    held = {node for nodes, number, _ in reports if number >= 5 for node in nodes}
    refusing = {node for nodes, _, refuses in reports if refuses for node in nodes}
    assert waiting == live - held
    found = judge(service(), waiting, proxies, live)
    if not live:
        assert found is None
        return
    status, _, message = said(found)
    assert message.partition(" ")[0] == f"{len((live & held) - refusing)}/{len(live)}"
    assert (status == "True") == (live <= held and not live & refusing)


def test_a_load_balancer_needs_its_address() -> None:
    balanced = service(spec={"type": "LoadBalancer"})
    assert said(judge(balanced, (), [proxy("a")], ["a"]))[:2] == ("False", "AddressNotAssigned")
    bound = service(spec={"type": "LoadBalancer"}, status={"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}})
    assert said(judge(bound, (), [proxy("a")], ["a"]))[0] == "True"
    assert Terms.of(balanced) != Terms.of(bound)


def test_somebody_elses_load_balancer_is_not_waited_for() -> None:
    elsewhere = service(spec={"type": "LoadBalancer", "loadBalancerClass": "example.com/x"})
    assert said(judge(elsewhere, (), [proxy("a")], ["a"]))[0] == "True"


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"type": "ExternalName", "externalName": "x.example"}])
def test_where_nothing_is_to_be_carried_that_is_programmed(spec: dict[str, str]) -> None:
    assert said(judge(service(spec=spec), (), [proxy("a")], ["a"]))[0] == "True"


def test_nobody_can_say_without_a_live_node() -> None:
    assert judge(service(), (), [proxy("a")], []) is None


def test_what_changes_by_itself_before_long() -> None:
    for reason, tentative in (("Pending", True), ("AddressNotAssigned", True), ("AddressInUse", False)):
        assert is_tentative(Condition("Programmed", "False", reason)) is tentative


def test_another_generation_state_or_refusal_is_news_and_another_count_is_not() -> None:
    true = Condition("Programmed", "True", "Programmed", "1/1 nodes", observed_generation=1)
    false = Condition("Programmed", "False", "AddressInUse", "0/1 nodes: taken", observed_generation=1)
    assert is_news(None, true)
    assert is_news(true, false)
    assert is_news(true, replace(true, observed_generation=2))
    assert not is_news(true, replace(true, message="2/2 nodes"))
    assert is_news(false, replace(false, message="0/1 nodes: taken by somebody else"))
    assert not is_news(false, replace(false, last_transition_time="2026-01-01T00:00:00Z"))


def test_its_own_condition_is_found_among_others() -> None:
    conditions = [{"type": "example.com/Ready", "status": "True"}, {"type": "Programmed", "status": "False"}]
    found = condition_of(service(status={"conditions": conditions}))
    assert found is not None
    assert found.status == "False"
    assert condition_of(service()) is None
