"""Content negotiation and parameters."""

from __future__ import annotations

import pytest

from pierhead.apiserver.request import Form, Request, body_media
from pierhead.errors import ApiError

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def form(accept: str, *, agent: str = "test", query: str = "") -> Form:
    return Request("GET", "/", {"accept": accept, "user-agent": agent}, query).form


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Form()),
        ("application/json", Form()),
        ("*/*", Form()),
        ("application/yaml", Form(yaml=True)),
        ("application/json;stream=watch", Form()),
        ("application/yaml;q=0.5, application/json", Form()),
        ("text/html, application/yaml;q=0.9, */*;q=0.1", Form(yaml=True)),
        ("application/vnd.kubernetes.protobuf", Form()),
        (TABLE, Form(view="Table")),
        (f"{TABLE},application/json", Form(view="Table")),
        (TABLE.replace("v1", "v1beta1"), Form(view="Table", version="v1beta1")),
        (f"{TABLE.replace('v1', 'v9')},application/json", Form()),
        (TABLE.replace("Table", "PartialObjectMetadata"), Form(view="PartialObjectMetadata")),
    ],
)
def test_the_first_form_we_write_is_taken(accept: str, expected: Form) -> None:
    assert form(accept) == expected


@pytest.mark.parametrize("accept", ["text/html", "garbage", "application/*", "application/cbor"])
def test_nothing_acceptable_is_406_and_says_what_there_is(accept: str) -> None:
    with pytest.raises(ApiError) as refused:
        form(accept)
    assert refused.value.code == 406
    assert refused.value.message.startswith("406: Not Acceptable\n\nAvailable representations: application/json, ")


def test_a_view_of_an_unknown_version_is_406() -> None:
    with pytest.raises(ApiError, match="only the following media types are accepted"):
        form(TABLE.replace("v1", "v9"))


@pytest.mark.parametrize(
    ("agent", "query", "pretty"),
    [
        ("curl/8.0", "", True),
        ("Mozilla/5.0", "", True),
        ("kubectl/v1.36", "", False),
        ("kubectl/v1.36", "pretty=1", True),
        ("kubectl/v1.36", "pretty=true", True),
        ("curl/8.0", "pretty=false", False),
        ("x", "pretty", False),
    ],
)
def test_people_get_indented_answers(agent: str, query: str, pretty: bool) -> None:
    assert form("", agent=agent, query=query).pretty is pretty


def test_of_a_repeated_parameter_the_first_counts() -> None:
    assert Request("GET", "/", {}, "a=1&a=2&b").query == {"a": "1", "b": ""}


@pytest.mark.parametrize(("text", "number"), [("5", 5), ("-1", -1), ("+2", 2), ("", None)])
def test_integers(text: str, number: int | None) -> None:
    assert Request("GET", "/", {}, f"limit={text.replace('+', '%2B')}").number("limit") == number


@pytest.mark.parametrize("text", ["x", "1.5", "1x", "--1", "٣"])
def test_what_is_no_integer_is_400_in_the_words_of_go(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        Request("GET", "/", {}, f"limit={text}").number("limit")
    assert refused.value.message == f'strconv.ParseInt: parsing "{text}": invalid syntax'


@pytest.mark.parametrize(
    ("headers", "manager"),
    [({"user-agent": "kubectl/v1.36 (linux)"}, "kubectl"), ({}, "unknown"), ({"user-agent": "x" * 200}, "x" * 128)],
)
def test_the_field_manager_is_the_user_agent_up_to_its_slash(headers: dict[str, str], manager: str) -> None:
    assert Request("POST", "/", headers).manager == manager
    assert Request("POST", "/", headers, "fieldManager=me").manager == "me"


def test_bodies_are_json_yaml_or_protobuf() -> None:
    assert body_media(Request("POST", "/", {})) == "json"
    assert body_media(Request("POST", "/", {"content-type": "application/yaml; charset=utf-8"})) == "yaml"
    with pytest.raises(ApiError) as refused:
        body_media(Request("POST", "/", {"content-type": "text/plain"}))
    assert refused.value.code == 415
