"""JSON as it was written, and Go's words for what is no JSON."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api import codec
from pierhead.api.codec import text
from pierhead.errors import ApiError


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("", "unexpected end of JSON input"),
        ("  ", "unexpected end of JSON input"),
        ("{", "unexpected end of JSON input"),
        ('{"a', "unexpected end of JSON input"),
        ('{"a":tru', "unexpected end of JSON input"),
        ("x", "invalid character 'x' looking for beginning of value"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("[1 2]", "invalid character '2' after array element"),
        ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
        ("{'a':1}", r"invalid character '\'' looking for beginning of object key string"),
        ("{}{}", "invalid character '{' after top-level value"),
        ('"\n"', r"invalid character '\n' in string literal"),
        (r'"\x"', "invalid character 'x' in string escape code"),
        (r'"\u12g4"', r"invalid character 'g' in \u hexadecimal character escape"),
        ("-x", "invalid character 'x' in numeric literal"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("1ex", "invalid character 'x' in exponent of numeric literal"),
        ("01", "invalid character '1' after top-level value"),
        ("nil", "invalid character 'i' in literal null (expecting 'u')"),
        ("NaN", "invalid character 'N' looking for beginning of value"),
    ],
)
def test_complaints(body: str, complaint: str) -> None:
    with pytest.raises(text.NoJson) as caught:
        text.parse(body.encode())
    assert str(caught.value) == complaint


def test_depth_has_a_text_of_its_own() -> None:
    with pytest.raises(text.NoJson, match="exceeded max depth"):
        text.parse(b"[" * 100_000 + b"]" * 100_000)


@given(st.text(alphabet='{}[]":,0123.e-+truefalsn \\u', max_size=12))
def test_go_and_python_agree_on_what_is_json(body: str) -> None:
    try:
        json.loads(body)
    except ValueError:
        with pytest.raises(text.NoJson):
            text.parse(body.encode())
    else:
        text.parse(body.encode())


@given(st.dictionaries(st.text(max_size=4), st.text(max_size=4) | st.dictionaries(st.text(max_size=4), st.integers())))
def test_keys_are_counted_whatever_they_look_like(tree: dict[str, object]) -> None:
    inner = sum(len(value) for value in tree.values() if isinstance(value, dict))
    for separators in ((",", ":"), (" , ", " :\n")):
        assert text.keys(json.dumps(tree, separators=separators).encode()) == len(tree) + inner


def test_any_json_is_a_patch_and_anything_else_a_bad_request() -> None:
    assert codec.parse_json(b'[{"op":"add"}]') == [{"op": "add"}]
    assert codec.parse_json(rb'"\ud800"') == "\ufffd"
    with pytest.raises(ApiError) as caught:
        codec.parse_json(b"")
    assert caught.value.message == "error decoding patch: unexpected end of JSON input"


@pytest.mark.parametrize("depth", [sys.getrecursionlimit(), 100_000])
def test_repeated_keys_are_not_looked_for_at_any_depth(depth: int) -> None:
    with pytest.raises(ApiError) as caught:
        codec.repeated_keys(b"[" * depth + b"]" * depth)
    assert caught.value.message == "error decoding patch: exceeded max depth"


def test_repeated_keys_have_paths() -> None:
    found = codec.repeated_keys(b'{"metadata":{"labels":{"x":"1","x":"2"}},"a":[{"b":1,"b":2}]}')
    assert found == ['duplicate field "metadata.labels.x"', 'duplicate field "a[0].b"']
