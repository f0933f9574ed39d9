"""The checks of single values, and how a message quotes one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api import rules


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("web", []),
        ("0-9", []),
        ("a.b", ["must not contain dots"]),
        ("A", [rules.dns1123_label("_")[0]]),
        ("a" * 64, ["must be no more than 63 characters"]),
        ("é" * 32, ["must be no more than 63 characters", rules.dns1123_label("_")[0]]),
        ("a\n", [rules.dns1123_label("_")[0]]),
    ],
)
def test_a_label_has_one_part(value: str, texts: list[str]) -> None:
    assert rules.dns1123_label(value) == texts


@pytest.mark.parametrize("value", ["a", "a.b-c", "1.2"])
def test_a_subdomain_is_labels_and_dots(value: str) -> None:
    assert rules.dns1123_subdomain(value) == []
    assert rules.dns1123_subdomain(value + ".") != []


def test_a_qualified_name_has_at_most_one_slash() -> None:
    assert rules.qualified_name("example.com/Name_1") == []
    assert rules.qualified_name("/x") == ["prefix part must be non-empty"]
    assert rules.qualified_name("a/" + "x" * 64) == ["name part must be no more than 63 bytes"]
    assert len(rules.qualified_name("a/b/c")) == 1
    assert rules.qualified_name("")[0] == "name part must be non-empty"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("10.0.0.1", ""),
        ("::1", ""),
        ("10.0.0", rules.IP_TEXT),
        ("", rules.IP_TEXT),
        ("fe80::1%eth0", rules.IP_TEXT),
        ("010.0.0.1", "must not have leading 0s"),
        ("1::00002", "must not have leading 0s"),
        ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
    ],
)
def test_addresses_are_read_strictly(value: str, text: str) -> None:
    assert rules.ip_address(value) == ([text] if text else [])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("10.0.0.0/8", ""),
        ("fd00::/112", ""),
        ("10.0.0.0", rules.CIDR_TEXT),
        ("10.0.0.0/33", rules.CIDR_TEXT),
        ("10.0.0.0/-1", rules.CIDR_TEXT),
        ("10.0.0.0/" + "9" * 5000, rules.CIDR_TEXT),
        ("010.0.0.0/8", "must not have leading 0s in IP or prefix length"),
        ("10.0.0.0/08", "must not have leading 0s in IP or prefix length"),
        ("10.0.0.1/8", "must not have bits set beyond the prefix length"),
        ("::ffff:10.0.0.0/120", "must not have an IPv4-mapped IPv6 address"),
    ],
)
def test_networks_are_read_strictly(value: str, text: str) -> None:
    assert rules.cidr(value) == ([text] if text else [])


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("0.0.0.0", "unspecified (0.0.0.0)"),
        ("127.1.2.3", "loopback range"),
        ("::ffff:127.0.0.1", "loopback range"),
        ("169.254.0.1", "link-local range"),
        ("fe80::1", "link-local range"),
        ("224.0.0.251", "link-local multicast range"),
        ("ff12::1", "link-local multicast range"),
    ],
)
def test_an_ordinary_address_does_not_mean_here(value: str, word: str) -> None:
    assert word in rules.ordinary_address(value)[0]


def test_loopback_passes_where_pods_live_there() -> None:
    assert rules.ordinary_address("127.64.0.2", loopback=True) == []
    assert rules.ordinary_address("239.0.0.1") == rules.ordinary_address("10.0.0.1") == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", '"a"'),
        ('a"b\\\n', r'"a\"b\\\n"'),
        ("\x00\x7f é \u200b", r'"\x00\x7f é \u200b"'),
        (80, "80"),
        (True, "true"),
        (None, "null"),
        (["a", "<b>"], r'["a","\u003cb\u003e"]'),
    ],
)
def test_values_are_shown_as_go_shows_them(value: object, shown: str) -> None:
    assert rules.shown(value) == shown


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("2001:db8::1", []),
        ("nothing", []),
        ("2001:DB8::1", ['p: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical format ("2001:db8::1")']),
        (
            "010.0.0.1",
            [
                'p: non-standard IP address "010.0.0.1" will be considered invalid in a future Kubernetes release: use "10.0.0.1"'
            ],
        ),
    ],
)
def test_warnings_name_the_form_that_is_meant(value: str, texts: list[str]) -> None:
    assert rules.address_warnings("p", value) == texts


def test_an_ambiguous_network_names_both_readings() -> None:
    texts = rules.cidr_warnings("p", "10.0.0.1/8")
    assert texts == [
        'p: CIDR value "10.0.0.1/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.0.0.1/32"?)'
    ]
    assert rules.cidr_warnings("p", "10.0.0.0/8") == []


@given(st.text())
def test_no_text_breaks_a_check(value: str) -> None:
    checks = (
        rules.dns1123_label,
        rules.dns1123_subdomain,
        rules.path_segment,
        rules.qualified_name,
        rules.label_value,
        rules.port_name,
        rules.ip_address,
        rules.ordinary_address,
        rules.cidr,
    )
    for check in checks:
        assert all(isinstance(text, str) for text in check(value))
    rules.shown(value)
    assert rules.family(value) in ("", "IPv4", "IPv6")
    rules.cidr_warnings("p", value)


@given(st.ip_addresses())
def test_what_is_written_canonically_passes_and_is_not_warned_of(value: object) -> None:
    text = str(value)
    assert rules.ip_address(text) in ([], ["must not be an IPv4-mapped IPv6 address"])
    assert rules.address_warnings("p", text) == [] or rules.ip_address(text)
