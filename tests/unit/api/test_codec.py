"""Bodies in, canonical bytes out: what is accepted, what is said about the rest, and what is written."""

import json
from collections.abc import Callable
from types import NoneType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pierhead.api import codec
from pierhead.api.codec import scalars, shapes
from pierhead.api.codec.reading import ROOT, Reading
from pierhead.api.kind import Kind
from pierhead.api.kinds import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    ENDPOINTS,
    EVENT,
    KINDS,
    LEASE,
    NODE,
    POD,
    REPLICA_SET,
    SERVICE,
)
from pierhead.errors import ApiError


def service(spec: Any = None, **rest: Any) -> dict[str, Any]:
    spec = {"ports": [{"port": 80}]} if spec is None else spec
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec, **rest}


def decode(body: Any, kind: Kind = SERVICE, media: codec.Media = "json") -> codec.Decoded:
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return codec.decode(kind, raw, media)


def refusal(body: Any, kind: Kind = SERVICE, media: codec.Media = "json") -> str:
    with pytest.raises(ApiError) as caught:
        decode(body, kind, media)
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")
    return caught.value.message


def outcome(call: Callable[[], Any]) -> Any:
    """What came of it; None when it was refused as it should be."""
    try:
        return call()
    except ApiError as error:
        return None if (error.code, error.reason) == (400, "BadRequest") else error


def written(tree: Any, kind: Kind = SERVICE) -> str:
    return codec.encode(kind, decode(tree, kind).tree).decode()


# -- what is read ---------------------------------------------------------------------------------------------


def test_a_clean_body_is_the_tree_it_says() -> None:
    found = decode(service())
    assert found.tree == service(status={})
    assert (found.problems, found.warnings, found.strict) == ((), [], "")


def test_kind_and_api_version_may_be_left_out() -> None:
    body = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    assert decode(body).tree == service(status={})


def test_null_is_an_object_with_nothing_in_it() -> None:
    assert decode("null").tree == {"kind": "Service", "apiVersion": "v1", "metadata": {}, "spec": {}, "status": {}}


def test_null_is_no_value() -> None:
    assert decode(service({"ports": None, "selector": None})).tree["spec"] == {}
    assert decode({"metadata": None, "spec": None}).tree["metadata"] == {}


def test_null_in_a_map_is_the_empty_value() -> None:
    assert decode({"metadata": {"labels": {"a": None}}}).tree["metadata"] == {"labels": {"a": ""}}


def test_empty_values_go_and_empty_pointers_stay() -> None:
    tree = decode(
        service({"type": "", "selector": {}, "loadBalancerClass": "", "allocateLoadBalancerNodePorts": False})
    ).tree
    assert tree["spec"] == {"loadBalancerClass": "", "allocateLoadBalancerNodePorts": False}


def test_unknown_fields_are_pruned_and_told_in_the_order_of_the_body() -> None:
    body = service({"ports": [{"port": 80, "speed": 3}], "colour": "red"}, extra=1)
    body["metadata"]["foo"] = "bar"
    found = decode(body)
    texts = ["metadata.foo", "spec.ports[0].speed", "spec.colour", "extra"]
    assert found.warnings == [f'unknown field "{path}"' for path in texts]
    assert found.strict == ", ".join(found.warnings)
    assert found.tree == service(status={})


def test_of_repeated_fields_the_last_counts() -> None:
    found = decode(
        '{"metadata":{"name":"web","name":"web2","labels":{"x":"1","x":"2"}},'
        '"spec":{"ports":[{"port":80,"port":81}],"type":"ClusterIP","type":"NodePort"}}'
    )
    texts = ["metadata.name", "metadata.labels.x", "spec.ports[0].port", "spec.type"]
    assert found.warnings == [f'duplicate field "{path}"' for path in texts]
    assert found.tree["metadata"] == {"name": "web2", "labels": {"x": "2"}}
    assert found.tree["spec"] == {"ports": [{"port": 81}], "type": "NodePort"}


def test_a_repeated_object_is_read_into_the_first_one() -> None:
    assert decode('{"metadata":{"name":"a"},"metadata":{"uid":"u"}}').tree["metadata"] == {"name": "a", "uid": "u"}


def test_field_names_have_one_case() -> None:
    found = decode(service({"Ports": [{"port": 80}], "ports": [{"Port": 80, "port": 82}]}))
    assert found.warnings == ['unknown field "spec.Ports"', 'unknown field "spec.ports[0].Port"']
    assert found.tree["spec"] == {"ports": [{"port": 82}]}


def test_a_colon_in_a_text_is_no_key() -> None:
    body = service()
    body["metadata"]["annotations"] = {"a:b": 'x":"y":', "c\\": ":"}
    assert decode(body).tree["metadata"] == body["metadata"]


def test_at_most_a_hundred_problems_are_told() -> None:
    assert len(decode(service(**{f"x{number}": 1 for number in range(200)})).problems) == 100


def test_quantities_and_times_become_canonical() -> None:
    container = {"name": "c", "resources": {"requests": {"cpu": "0.5", "memory": 1024}}}
    pod = decode(
        {"spec": {"containers": [container]}, "status": {"startTime": "2024-01-31T01:00:00.5+02:00"}}, POD
    ).tree
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": "1024"}
    assert pod["status"]["startTime"] == "2024-01-30T23:00:00Z"


def test_what_utf8_cannot_say_is_replaced() -> None:
    assert decode(r'{"metadata":{"name":"a\ud800"}}').tree["metadata"]["name"] == "a\ufffd"
    assert decode(b'{"metadata":{"name":"a\xff"}}').tree["metadata"]["name"] == "a\ufffd"
    assert decode(r'{"metadata":{"finalizers":["\ud83d\ude00\udc00"]}}').tree["metadata"]["finalizers"] == ["😀\ufffd"]


def test_what_utf8_cannot_say_is_replaced_in_what_errors_and_warnings_quote() -> None:
    assert decode(r'{"spec":{"\ud800":1}}').problems == ('unknown field "spec.\ufffd"',)
    with pytest.raises(ApiError) as caught:
        decode(r'{"kind":"\ud800"}')
    assert caught.value.message.startswith('\ufffd in version "v1" cannot be handled as a Service: no kind "\ufffd"')


# -- wrong types, in Go's words -------------------------------------------------------------------------------

_FIELD = 'Service in version "v1" cannot be handled as a Service: json: cannot unmarshal'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (service([]), "array into Go struct field Service.spec of type v1.ServiceSpec"),
        (service({"ports": [{"port": "80"}]}), "string into Go struct field ServicePort.spec.ports.port of type int32"),
        (
            service({"ports": [{"port": 80.5}]}),
            "number 80.5 into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            '{"spec":{"ports":[{"port":80.0}]}}',
            "number 80.0 into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            '{"spec":{"ports":[{"port":99999999999999999999999}]}}',
            "number 99999999999999999999999 into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            service({"ports": [{"targetPort": True}]}),
            "bool into Go struct field ServicePort.spec.ports.targetPort of type int32",
        ),
        (service({"type": 3}), "number into Go struct field ServiceSpec.spec.type of type v1.ServiceType"),
        (
            service({"ipFamilies": "IPv4"}),
            "string into Go struct field ServiceSpec.spec.ipFamilies of type []v1.IPFamily",
        ),
        (service({"selector": []}), "array into Go struct field ServiceSpec.spec.selector of type map[string]string"),
        ({"metadata": "x"}, "string into Go struct field Service.metadata of type v1.ObjectMeta"),
        ({"metadata": {"labels": {"a": True}}}, "bool into Go struct field ObjectMeta.metadata.labels of type string"),
        (
            {"metadata": {"creationTimestamp": 5}},
            "number into Go struct field ObjectMeta.metadata.creationTimestamp of type string",
        ),
    ],
)
def test_wrong_types(body: Any, text: str) -> None:
    assert refusal(body) == f"{_FIELD} {text}"


def test_the_first_wrong_type_is_told() -> None:
    assert refusal(service({"type": 3, "clusterIP": 4})).endswith("type v1.ServiceType")


def test_a_type_with_a_decoder_of_its_own_ends_the_reading() -> None:
    assert "targetPort" in refusal(service({"type": 3, "ports": [{"targetPort": {}}]}))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("yesterday", ' as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"'),
        ("2024-01-01", ' as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T"'),
        ("2024-01-01T00:00:00", ' as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00"'),
        ("2024-13-01T00:00:00Z", ": month out of range"),
        ("2024-02-30T00:00:00Z", ": day out of range"),
        ("0000-01-01T00:00:00Z", ": year out of range"),
        ("9999-12-31T23:59:59-01:00", ": year out of range"),
        ("2024-01-01T00:00:00Zx", ': extra text: "x"'),
    ],
)
def test_what_is_no_time(text: str, complaint: str) -> None:
    assert refusal({"metadata": {"creationTimestamp": text}}).endswith(f': parsing time "{text}"{complaint}')


def test_a_micro_time_has_six_digits() -> None:
    assert decode({"spec": {"renewTime": "2024-01-31T00:00:00.000001Z"}}, LEASE).tree["spec"]
    assert refusal({"spec": {"renewTime": "2024-01-01T00:00:00Z"}}, LEASE).endswith('cannot parse "Z" as ".000000"')


def test_what_is_no_base64() -> None:
    assert refusal({"binaryData": {"a": "%%%"}}, CONFIG_MAP).endswith("illegal base64 data at input byte 0")
    assert refusal({"binaryData": {"a": "YWE"}}, CONFIG_MAP).endswith("illegal base64 data at input byte 0")
    assert decode({"binaryData": {"a": "YW\nE="}}, CONFIG_MAP).tree["binaryData"] == {"a": "YWE="}


def test_what_is_no_quantity() -> None:
    pod = {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "much"}}}]}}
    assert "quantities must match the regular expression" in refusal(pod, POD)


# -- who it says it is ----------------------------------------------------------------------------------------

_NO_META = "the object provided is unrecognized (must be of type Service): couldn't get version/kind; json parse error:"
_META = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("[]", f"{_NO_META} json: cannot unmarshal array into Go value of type {_META} (5b5d)"),
        ('"x"', f"{_NO_META} json: cannot unmarshal string into Go value of type {_META} (227822)"),
        ('{"kind":', f'{_NO_META} unexpected end of JSON input ({{"kind":)'),
        ("", f"{_NO_META} unexpected end of JSON input (<empty>)"),
        ('{"kind":3}', f'{_NO_META} json: cannot unmarshal number into Go struct field .kind of type string ({{"kind":3}})'),
        ("{}{}", f"{_NO_META} invalid character '{{' after top-level value ({{}}{{}})"),
        ({"kind": "Pod"}, 'Pod in version "v1" cannot be handled as a Service: converting (v1.Pod) to (core.Service): unknown conversion'),
        (
            {"kind": "Foo"},
            ('Foo in version "v1" cannot be handled as a Service: '
            'no kind "Foo" is registered for version "v1" in scheme "pkg/api/legacyscheme/scheme.go:30"'),
        ),
        (
            {"apiVersion": "apps/v1"},
            ('Service in version "v1" cannot be handled as a Service: '
            'no kind "Service" is registered for version "apps/v1" in scheme "pkg/api/legacyscheme/scheme.go:30"'),
        ),
        (
            {"apiVersion": "a/b/c"},
            ("the object provided is unrecognized (must be of type Service): "
            'unexpected GroupVersion string: a/b/c ({"apiVersion": "a/b/c"})'),
        ),
    ],
)  # fmt: skip
def test_identity(body: Any, text: str) -> None:
    assert refusal(body) == text


def test_another_version_of_the_same_kind() -> None:
    text = "the API version in the data (discovery.k8s.io/v1beta1) does not match the expected API version (discovery.k8s.io/v1)"
    assert refusal({"apiVersion": "discovery.k8s.io/v1beta1"}, ENDPOINT_SLICE) == text


# -- a tree instead of a body ---------------------------------------------------------------------------------


def test_a_patched_tree_is_judged_like_a_body() -> None:
    found = codec.check(SERVICE, service({"colour": "red", "type": None}))
    assert (found.tree["spec"], found.problems) == ({}, ('unknown field "spec.colour"',))
    with pytest.raises(ApiError, match=r"number 80\.5 into Go struct field"):
        codec.check(SERVICE, service({"ports": [{"port": 80.5}]}))
    with pytest.raises(ApiError, match="cannot unmarshal array"):
        codec.check(SERVICE, [])


# -- what is written ------------------------------------------------------------------------------------------


def test_fields_are_written_in_the_order_of_go_and_maps_sorted() -> None:
    body = {
        "spec": {"type": "ClusterIP", "selector": {"b": "1", "a": "2"}, "ports": [{"port": 80, "name": "http"}]},
        "metadata": {"labels": {"z": "1", "y": "2"}, "name": "web"},
    }
    assert written(body) == (
        '{"kind":"Service","apiVersion":"v1","metadata":{"name":"web","resourceVersion":"","labels":{"y":"2","z":"1"}},'
        '"spec":{"ports":[{"name":"http","port":80,"targetPort":0}],"selector":{"a":"2","b":"1"},"type":"ClusterIP"},'
        '"status":{"loadBalancer":{}}}'
    )


def test_what_go_always_writes() -> None:
    assert written({"addressType": "IPv4"}, ENDPOINT_SLICE).endswith(
        '"addressType":"IPv4","endpoints":null,"ports":null}'
    )
    assert written({}, EVENT).endswith(
        '"involvedObject":{},"source":{},"firstTimestamp":null,"lastTimestamp":null,"eventTime":null,'
        '"reportingComponent":"","reportingInstance":""}'
    )
    assert json.loads(written({"status": {"nodeInfo": {}}}, NODE))["status"]["daemonEndpoints"] == {
        "kubeletEndpoint": {"Port": 0}
    }


def test_a_template_has_no_resource_version_of_its_own() -> None:
    template = json.loads(written({}, REPLICA_SET))["spec"]["template"]
    assert template == {"metadata": {}, "spec": {"containers": None}}


def test_what_could_end_a_script_in_html_is_escaped() -> None:
    assert r'{"a":"\u003c\u0026\u003e"}' in written({"metadata": {"name": "e", "labels": {"a": "<&>"}}}, ENDPOINTS)


def test_a_stamp_is_the_revision_of_the_write() -> None:
    value = codec.encode(SERVICE, service())
    first = codec.stamp(value, 7)
    assert json.loads(first)["metadata"] == {"name": "web", "resourceVersion": "7"}
    assert codec.stamp(first, 12) == codec.stamp(value, 12)


# -- bombs, and anything at all -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bomb", [b"[" * 200_000, b'{"a":' * 200_000, b'{"metadata":{"managedFields":[{"fieldsV1":' + b'{"a":' * 5000]
)
def test_depth_is_refused(bomb: bytes) -> None:
    assert refusal(bomb)


def test_depth_in_json_without_schema_is_refused() -> None:
    deep = b'{"a":' * 900 + b"1" + b"}" * 900
    body = b'{"metadata":{"managedFields":[{"x":1,"fieldsV1":' + deep + b"}]}}"
    assert isinstance(outcome(lambda: codec.encode(SERVICE, decode(body).tree)), bytes | NoneType)


@given(st.binary(max_size=200), st.sampled_from(("json", "yaml", "protobuf")), st.sampled_from(KINDS))
@settings(max_examples=300, deadline=None)
def test_bytes_are_an_object_or_a_bad_request(body: bytes, media: codec.Media, kind: Kind) -> None:
    assert isinstance(outcome(lambda: codec.encode(kind, codec.decode(kind, body, media).tree)), bytes | NoneType)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def _tree(shape: scalars.Shape, depth: int = 0) -> st.SearchStrategy[Any]:
    """Mostly what fits the shape, now and then what does not."""
    if isinstance(shape, shapes.Struct) and depth < 4:
        slots = list(shape.slots.values())
        chosen = st.lists(st.sampled_from(slots), max_size=4, unique_by=lambda slot: slot.name)
        return chosen.flatmap(
            lambda found: st.fixed_dictionaries({slot.name: _tree(slot.shape, depth + 1) for slot in found})
        )
    if isinstance(shape, shapes.Many):
        return st.lists(_tree(shape.inner, depth + 1), max_size=2)
    if isinstance(shape, shapes.Table):
        return st.dictionaries(st.text(max_size=2), _tree(shape.inner, depth + 1), max_size=2)
    fits = {
        scalars.Text: st.text(max_size=3),
        scalars.Truth: st.booleans(),
        scalars.Integer: st.integers(-3, 3),
        scalars.IntOrString: st.integers(0, 9) | st.text(max_size=2),
        scalars.Time: st.just("2024-01-31T00:00:00Z") | st.just("2024-01-02T00:00:00.000000Z"),
        scalars.Quantity: st.sampled_from(("1", "100m", "1000m", "1Gi")),
        scalars.Bytes: st.sampled_from(("", "YWE=")),
    }
    return st.one_of(fits.get(type(shape), _json), fits.get(type(shape), _json), _json)


@given(st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), _tree(shapes.of_object(kind.message)))))
@settings(max_examples=100, deadline=None)
def test_the_quick_look_and_the_careful_reading_agree(drawn: tuple[Kind, Any]) -> None:
    kind, tree = drawn
    tree = tree | {"kind": kind.name, "apiVersion": kind.api_version}
    shape = shapes.of_object(kind.message)
    try:
        shape.count(tree)
    except scalars.Odd:
        return
    reading = Reading()
    assert shape.read(tree, ROOT, reading) == tree
    assert (reading.refusal, reading.problems) == ("", ())


@given(st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), _tree(shapes.of_object(kind.message)))))
@settings(max_examples=100, deadline=None)
def test_what_is_written_reads_as_what_it_was(drawn: tuple[Kind, Any]) -> None:
    kind, tree = drawn
    found = outcome(lambda: codec.check(kind, tree | {"kind": kind.name, "apiVersion": kind.api_version}))
    if found is None:
        return
    value = codec.encode(kind, found.tree)
    again = codec.decode(kind, value, "json")
    assert codec.encode(kind, again.tree) == value
    assert not again.problems
