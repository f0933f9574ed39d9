"""Floating IPs by kubectl: what is shown, what explains itself, and how it says no."""

from __future__ import annotations

import json
import os
import subprocess

from floating import balanced
from pierhead.testing import Region

MANIFEST = """
apiVersion: pierhead.dev/v1
kind: FloatingIPPool
metadata: {name: default}
spec:
  ranges: [192.0.2.0/29]
---
apiVersion: pierhead.dev/v1
kind: FloatingIP
metadata: {name: shop}
spec: {address: 192.0.2.3, displayName: the shop}
"""


def kubectl(region: Region, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"KUBECONFIG": str(region.kubeconfig), "HOME": str(region.kubeconfig.parent)}
    return subprocess.run(
        ["kubectl", *arguments], env=variables, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


def test_one_manifest_has_a_pool_and_an_address_of_it(pierhead: Region) -> None:
    assert kubectl(pierhead, "apply", "-f", "-", stdin=MANIFEST).stdout == (
        "floatingippool.pierhead.dev/default created\nfloatingip.pierhead.dev/shop created\n"
    )
    assert kubectl(pierhead, "apply", "-f", "-", stdin=MANIFEST).stdout == (
        "floatingippool.pierhead.dev/default unchanged\nfloatingip.pierhead.dev/shop unchanged\n"
    )
    heading, shop = rows(kubectl(pierhead, "get", "fip").stdout)
    assert heading == ["NAME", "ADDRESS", "DISPLAY NAME", "SERVICES", "POOL", "AGE"]
    assert shop[:5] == ["shop", "192.0.2.3", "the shop", "<none>", "default"]
    heading, pool = rows(kubectl(pierhead, "get", "fippool", "-o", "wide").stdout)
    assert heading == ["NAME", "RANGES", "USED", "FREE", "AGE", "REGION", "ZONES"]
    assert pool[:2] == ["default", "192.0.2.0/29"]


def test_a_remark_is_edited_and_an_address_is_not(pierhead: Region) -> None:
    kubectl(pierhead, "apply", "-f", "-", stdin=MANIFEST)
    change = MANIFEST.replace("the shop", "our shop")
    assert "floatingip.pierhead.dev/shop configured" in kubectl(pierhead, "apply", "-f", "-", stdin=change).stdout
    done = kubectl(
        pierhead, "patch", "fip", "shop", "--type=merge", "-p", json.dumps({"spec": {"address": "192.0.2.4"}})
    )
    assert (done.returncode, done.stderr) == (
        1, 'The FloatingIP "shop" is invalid: spec.address: Invalid value: "192.0.2.4": field is immutable\n'
    )  # fmt: skip


def test_no_is_said_with_the_names_of_those_who_are_in_the_way(pierhead: Region) -> None:
    kubectl(pierhead, "apply", "-f", "-", stdin=MANIFEST)
    web, api = balanced("web", "shop"), balanced("api", "192.0.2.3")
    assert kubectl(pierhead, "create", "-f", "-", stdin=_manifest(web)).returncode == 0
    done = kubectl(pierhead, "create", "-f", "-", stdin=_manifest(api))
    assert done.stderr == (
        'The Service "api" is invalid: spec.ports[0]: Invalid value: 80: '
        "TCP port 80 of 192.0.2.3 is in use by Service default/web\n"
    )
    done = kubectl(pierhead, "delete", "fip", "shop")
    assert done.returncode == 1
    assert done.stderr == (
        'Error from server (Conflict): Operation cannot be fulfilled on floatingips.pierhead.dev "shop": '
        "it is in use by Service default/web\n"
    )
    done = kubectl(pierhead, "delete", "fippool", "default")
    assert done.stderr.endswith('"default": it is in use by FloatingIP shop\n')
    shrunk = MANIFEST.split("---")[0].replace("192.0.2.0/29", "192.0.2.4")
    done = kubectl(pierhead, "apply", "-f", "-", stdin=shrunk)
    assert 'must keep 192.0.2.3, which belongs to FloatingIP "shop"' in done.stderr


def test_the_kinds_explain_themselves(pierhead: Region) -> None:
    text = kubectl(pierhead, "explain", "fip.spec").stdout
    assert "displayName\t<string>\n    A remark for people. Not unique, and nothing is found by it." in text
    listed = kubectl(pierhead, "api-resources", "--api-group", "pierhead.dev", "--no-headers").stdout
    assert [row.split()[:4] for row in listed.splitlines()][:2] == [
        ["floatingippools", "fippool", "pierhead.dev/v1", "false"],
        ["floatingips", "fip", "pierhead.dev/v1", "false"],
    ]


def test_a_name_may_be_an_address_of_either_family(pierhead: Region) -> None:
    six = MANIFEST.split("---")[0].replace("192.0.2.0/29", "2001:db8::/125")
    kubectl(pierhead, "apply", "-f", "-", stdin=six)
    named = {"apiVersion": "pierhead.dev/v1", "kind": "FloatingIP", "metadata": {"name": "2001:db8::5"}}
    assert kubectl(pierhead, "create", "-f", "-", stdin=json.dumps(named)).returncode == 0
    assert kubectl(pierhead, "get", "fip", "2001:db8::5", "-o", "jsonpath={.status.address}").stdout == "2001:db8::5"
    assert kubectl(pierhead, "delete", "fip", "2001:db8::5").returncode == 0


def _manifest(service: dict[str, object]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "Service"} | service)
