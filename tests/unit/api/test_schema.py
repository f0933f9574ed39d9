"""The schema table: generated, complete, and true about the fields everything else relies on."""

import subprocess
import sys
from pathlib import Path

import pytest

from pierhead.api import schema
from pierhead.api.kind import Kind
from pierhead.api.kinds import SERVED

ROOT = Path(__file__).parents[3]


def test_the_checked_in_file_is_what_its_sources_give() -> None:
    script = ROOT / "scripts/schema/generate.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", SERVED, ids=lambda kind: kind.name)
def test_every_kind_explains_itself_and_its_fields(kind: Kind) -> None:
    found = schema.message(kind.message)
    assert found.description
    assert [field.name for field in found.fields.values() if not field.description] == []


@pytest.mark.parametrize("kind", SERVED, ids=lambda kind: kind.name)
def test_every_kind_has_a_message_with_an_identity_and_metadata(kind: Kind) -> None:
    fields = schema.message(kind.message).fields
    assert list(fields)[:3] == ["kind", "apiVersion", "metadata"]


def test_every_message_a_field_names_is_there() -> None:
    named = {field.message for message in schema.messages().values() for field in message.fields.values()}
    assert named - {""} <= schema.messages().keys()


def test_an_unknown_message_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError):
        schema.message("api.core.v1.Nothing")


def test_a_list_knows_how_patches_and_apply_tell_its_items_apart() -> None:
    ports = schema.message("api.core.v1.ServiceSpec").fields["ports"]
    assert (ports.merge_key, ports.patch_strategy) == ("port", "merge")
    assert (ports.list_type, ports.map_keys) == ("map", ("port", "protocol"))


def test_pointers_structs_and_plain_values() -> None:
    port = schema.message("api.core.v1.ServicePort").fields
    assert (port["port"].always, port["port"].required) == (True, True)
    assert (port["targetPort"].type, port["targetPort"].always, port["targetPort"].pointer) == (
        "intorstring",
        True,
        False,
    )
    assert (port["appProtocol"].pointer, port["nodePort"].pointer) == (True, False)


def test_what_go_embeds_keeps_its_number_in_protobuf() -> None:
    volume = schema.message("api.core.v1.Volume").fields["emptyDir"]
    assert (volume.within, volume.number) == (2, 2)
    probe = schema.message("api.core.v1.Probe").fields["httpGet"]
    assert (probe.within, probe.number) == (1, 2)
