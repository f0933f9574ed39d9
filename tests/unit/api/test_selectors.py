"""Label and field selectors: what they select, and what the real parser says to those it cannot read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api.selectors import (
    FieldSelector,
    FieldTerm,
    LabelSelector,
    Requirement,
    from_labels,
    from_tree,
    parse_fields,
    parse_labels,
    selector_causes,
)
from pierhead.errors import ApiError

LABELS = {"app": "web", "n": "3", "in": "notin"}


@pytest.mark.parametrize(
    "text",
    ["", "app", "app=web", "app==web", "app!=db", "none!=x", "!none", "app in (db, web)", "app notin (db)", "none notin (x)",
     "n>2", "n<4", "app=web,n=3", " app = web , !none ", "in in (notin)", "in=notin"],
)  # fmt: skip
def test_a_selector_that_matches(text: str) -> None:
    assert parse_labels(text).matches(LABELS)


@pytest.mark.parametrize(
    "text",
    ["none", "app=db", "none=x", "app!=web", "!app", "app in (db)", "app in ()", "app notin (web)", "n>3", "n<3", "app>1", "none<1",
     "app=web,n=4", "app="],
)  # fmt: skip
def test_a_selector_that_does_not(text: str) -> None:
    assert not parse_labels(text).matches(LABELS)


def test_an_empty_value_is_a_value() -> None:
    for text in ("a=", "a in ()", "a in (,)", "a in (,b)", "a in (b,)", "a=,a"):
        assert parse_labels(text).matches({"a": ""})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("n in (1", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("n in 1", "unable to parse requirement: found '1' expected: '('"),
        ("n in (=)", "unable to parse requirement: found '=', expected: ',', ')' or identifier"),
        ("n=a b", "found 'b', expected: ',' or 'end of string'"),
        ("n=1,", "found '', expected: identifier after ','"),
        ("n=(", "unable to parse requirement: found '(', expected: identifier"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        (
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
    ],
)
def test_what_cannot_be_read(text: str, why: str) -> None:
    with pytest.raises(ApiError) as failure:
        parse_labels(text)
    assert (failure.value.code, failure.value.reason, failure.value.message) == (400, "BadRequest", why)


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("A/b/c=1", 'unable to parse requirement: <nil>: Invalid value: "A/b/c": a valid label key must consist of '),
        (
            "a=-",
            'unable to parse requirement: values[0][a]: Invalid value: "-": a valid label must be an empty string or ',
        ),
    ],
)
def test_keys_and_values_must_be_those_of_labels(text: str, beginning: str) -> None:
    with pytest.raises(ApiError) as failure:
        parse_labels(text)
    assert failure.value.message.startswith(beginning)


def test_a_selector_object() -> None:
    expressions = [
        {"key": "n", "operator": "In", "values": ["3", "4"]},
        {"key": "x", "operator": "NotIn", "values": ["y"]},
        {"key": "in", "operator": "Exists"},
        {"key": "none", "operator": "DoesNotExist"},
    ]
    assert from_tree({"matchLabels": {"app": "web"}, "matchExpressions": expressions}).matches(LABELS)
    assert not from_tree({"matchExpressions": [{"key": "n", "operator": "In", "values": ["4"]}]}).matches(LABELS)


def test_an_empty_selector_object_selects_everything_and_a_missing_one_nothing() -> None:
    assert from_tree({}).matches({})
    assert not from_tree(None).matches({})
    assert from_labels({}).matches(LABELS)


@pytest.mark.parametrize(
    ("tree", "field", "message"),
    [
        ({"key": "a", "operator": "Foo"}, "operator", 'Invalid value: "Foo": not a valid selector operator'),
        (
            {"key": "a", "operator": "In"},
            "values",
            "Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ),
        (
            {"key": "a", "operator": "Exists", "values": ["x"]},
            "values",
            "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
    ],
)
def test_an_expression_that_makes_no_sense(tree: Any, field: str, message: str) -> None:
    (cause,) = selector_causes("spec.selector", {"matchExpressions": [tree]})
    assert (cause.field, cause.message) == (f"spec.selector.matchExpressions[0].{field}", message)


NAMES = st.from_regex(r"[a-z]([a-z0-9.-]{0,3}[a-z0-9])?", fullmatch=True).filter(
    lambda name: name not in ("in", "notin")
)
MAYBE = st.just("") | NAMES
REQUIREMENTS = st.one_of(
    st.builds(Requirement, NAMES, st.sampled_from(["exists", "!"])),
    st.builds(Requirement, NAMES, st.sampled_from(["=", "==", "!="]), st.tuples(MAYBE)),
    st.builds(Requirement, NAMES, st.sampled_from(["gt", "lt"]), st.tuples(st.integers(0, 99).map(str))),
    st.builds(
        Requirement,
        NAMES,
        st.sampled_from(["in", "notin"]),
        st.sets(MAYBE, min_size=1, max_size=3).map(lambda found: tuple(sorted(found))),
    ),
)


@given(st.lists(REQUIREMENTS, max_size=4))
def test_a_label_selector_reads_what_it_shows(requirements: list[Requirement]) -> None:
    selector = LabelSelector(tuple(requirements))
    assert parse_labels(str(selector)) == selector


@given(st.text("ab=!<>(), in\\\t", max_size=12) | st.text(max_size=8))
def test_any_text_is_a_selector_that_shows_itself_or_a_bad_request(text: str) -> None:
    for parse in (parse_labels, parse_fields):
        shown, code = None, 400
        try:
            shown = str(parse(text))
        except ApiError as error:
            code = error.code
        assert code == 400
        assert shown is None or str(parse(shown)) == shown


def test_a_field_selector() -> None:
    fields = {"metadata.name": "a", "spec.type": "NodePort"}
    for text in ("metadata.name=a", "metadata.name==a,spec.type!=ClusterIP", "spec.none=", "", ",,"):
        assert parse_fields(text).matches(fields)
    for text in ("metadata.name!=a", "spec.type=ClusterIP", "spec.none!="):
        assert not parse_fields(text).matches(fields)
    assert parse_fields("b=1,a!=2").paths == ("a", "b")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("garbage", "invalid selector: 'garbage'; can't understand 'garbage'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
        ("a=\\", "invalid field selector: invalid escape sequence: \\"),
    ],
)
def test_a_field_selector_that_cannot_be_read(text: str, why: str) -> None:
    with pytest.raises(ApiError) as failure:
        parse_fields(text)
    assert failure.value.message == why


@given(st.lists(st.builds(FieldTerm, NAMES, st.booleans(), st.text("a,=\\!", max_size=4)), max_size=3))
def test_a_field_selector_reads_what_it_shows(terms: list[FieldTerm]) -> None:
    parsed = parse_fields(str(FieldSelector(tuple(terms))))
    assert sorted(parsed.terms) == sorted(terms)
