"""`kubectl apply` of many objects in one file: OpenAPI v3 describes no List, so kubectl looks for it in v2 before it goes on."""

from __future__ import annotations

import json
from pathlib import Path

from e2e.backends import Namespace

ITEMS = [
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}, "spec": {"ports": [{"port": 80}]}},
]


def test_a_list_is_applied_item_by_item(home: Namespace, tmp_path: Path) -> None:
    manifest = tmp_path / "list.json"
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": ITEMS}))
    assert home.kubectl("apply", "-f", str(manifest)).split("\n")[:2] == ["configmap/a created", "service/b created"]
    assert home.kubectl("apply", "-f", str(manifest)).split("\n")[:2] == [
        "configmap/a unchanged",
        "service/b unchanged",
    ]


def test_what_get_wrote_can_be_applied_and_deleted(home: Namespace, tmp_path: Path) -> None:
    written = tmp_path / "written.yaml"
    home.kubectl("create", "configmap", "a")
    written.write_text(home.kubectl("get", "configmaps", "-o", "yaml", "--field-selector=metadata.name=a"))
    home.kubectl("apply", "-f", str(written))
    assert home.kubectl("delete", "-f", str(written)).startswith('configmap "a" deleted')
