"""What is changed with kubectl: create, apply, edit, patch, label, replace, scale, expose, delete, and waiting for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clients.kubectls import Kubectl
from e2e.backends import eventually, service
from pierhead.testing import Region

WEB = service("web", [{"name": "http", "port": 80, "targetPort": 8080}], {"app": "web"})
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-0", "labels": {"app": "web"}},
    "spec": {"containers": [{"name": "c", "image": "host", "ports": [{"containerPort": 8080}]}]},
}
SET = {
    "apiVersion": "apps/v1",
    "kind": "ReplicaSet",
    "metadata": {"name": "set"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "set"}},
        "template": {"metadata": {"labels": {"app": "set"}}, "spec": {"containers": [{"name": "c", "image": "host"}]}},
    },
}
MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "1"}}


def changed(found: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return found | {"spec": found["spec"] | spec}


# -- create ---------------------------------------------------------------------------------------------------


def test_create_a_namespace(kubectl: Kubectl) -> None:
    assert kubectl("create", "namespace", "shop") == "namespace/shop created\n"
    assert kubectl.refused("create", "ns", "shop") == (
        'Error from server (AlreadyExists): namespaces "shop" already exists\n'
    )
    assert "a lowercase RFC 1123 label must consist of" in kubectl.refused("create", "ns", "Shop")
    assert kubectl.refused("create", "cm", "m", "-n", "none") == (
        'error: failed to create configmap: namespaces "none" not found\n'
    )


@pytest.mark.parametrize(
    ("arguments", "type", "spec"),
    [
        (("clusterip", "a", "--tcp=80:8080"), "ClusterIP", {"port": 80, "targetPort": 8080}),
        (("nodeport", "a", "--tcp=80", "--node-port=30123"), "NodePort", {"port": 80, "nodePort": 30123}),
        (("loadbalancer", "a", "--tcp=80:http"), "LoadBalancer", {"port": 80, "targetPort": "http"}),
        (("externalname", "a", "--external-name=a.example.com"), "ExternalName", {}),
    ],
)
def test_create_a_service(kubectl: Kubectl, arguments: tuple[str, ...], type: str, spec: dict[str, Any]) -> None:
    assert kubectl("create", "service", *arguments) == "service/a created\n"
    found = kubectl.object("svc", "a")["spec"]
    assert found["type"] == type
    assert spec.items() <= (found.get("ports") or [{}])[0].items()
    assert found.get("externalName", "") == ("a.example.com" if type == "ExternalName" else "")


def test_create_a_headless_service(kubectl: Kubectl) -> None:
    kubectl("create", "service", "clusterip", "a", "--clusterip=None", "--tcp=80")
    assert kubectl.object("svc", "a")["spec"]["clusterIPs"] == ["None"]


def test_create_settings_and_secrets(kubectl: Kubectl) -> None:
    (kubectl.folder / "app.conf").write_text("listen = 80\n")
    made = kubectl("create", "configmap", "c", "--from-literal=a=1", "--from-file=app.conf")
    assert made == "configmap/c created\n"
    assert kubectl.object("cm", "c")["data"] == {"a": "1", "app.conf": "listen = 80\n"}
    assert kubectl("create", "secret", "generic", "s", "--from-literal=p=x") == "secret/s created\n"
    assert kubectl("get", "secret", "s", "-o", "jsonpath={.data.p} {.type}") == "eA== Opaque"
    assert kubectl("create", "serviceaccount", "robot") == "serviceaccount/robot created\n"


def test_create_from_files(kubectl: Kubectl) -> None:
    file = kubectl.file("all.yaml", WEB, POD, MAP)
    assert kubectl("create", "-f", file).splitlines() == [
        "service/web created",
        "pod/web-0 created",
        "configmap/m created",
    ]
    refused = kubectl.refused("create", "-f", file)
    assert [line.rpartition(": ")[2] for line in refused.splitlines()] == [
        'services "web" already exists', 'pods "web-0" already exists', 'configmaps "m" already exists'
    ]  # fmt: skip
    kubectl.file("unknown.yaml", MAP | {"dta": {}})
    assert 'unknown field "dta"' in kubectl.refused("create", "-f", "unknown.yaml")


def test_create_tries_without_writing(kubectl: Kubectl) -> None:
    file = kubectl.file("web.yaml", WEB)
    client = kubectl("create", "-f", file, "--dry-run=client", "-o", "json")
    assert "clusterIP" not in json.loads(client)["spec"]
    server = kubectl("create", "-f", file, "--dry-run=server", "-o", "json")
    assert json.loads(server)["spec"]["clusterIP"]
    assert kubectl("create", "ns", "x", "--dry-run=server") == "namespace/x created (server dry run)\n"
    assert kubectl("get", "svc,ns", "web", "x", "--ignore-not-found") == ""
    assert "must be between 1 and 65535" in kubectl.refused(
        "create", "-f", kubectl.file("bad.yaml", service("bad", [{"port": 0}])), "--dry-run=server"
    )


# -- apply and diff -------------------------------------------------------------------------------------------


def test_apply_creates_changes_and_leaves_alone(kubectl: Kubectl) -> None:
    file = kubectl.file("a.yaml", WEB, MAP)
    assert kubectl("apply", "-f", file) == "service/web created\nconfigmap/m created\n"
    assert kubectl("apply", "-f", file) == "service/web unchanged\nconfigmap/m unchanged\n"
    kubectl.file("a.yaml", changed(WEB, sessionAffinity="ClientIP"), MAP)
    assert kubectl("apply", "-f", file) == "service/web configured\nconfigmap/m unchanged\n"
    assert kubectl.object("svc", "web")["spec"]["sessionAffinity"] == "ClientIP"


def test_apply_takes_back_what_it_no_longer_says(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", kubectl.file("a.yaml", MAP | {"data": {"a": "1", "b": "2"}}))
    kubectl("patch", "cm", "m", "-p", '{"data":{"others":"3"}}')
    kubectl("apply", "-f", kubectl.file("a.yaml", MAP))
    assert kubectl.object("cm", "m")["data"] == {"a": "1", "others": "3"}
    two = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    kubectl("apply", "-f", kubectl.file("s.yaml", changed(WEB, ports=two)))
    kubectl("apply", "-f", kubectl.file("s.yaml", WEB))
    assert [port["name"] for port in kubectl.object("svc", "web")["spec"]["ports"]] == ["http"]


def test_apply_a_list_and_a_folder_and_standard_input(kubectl: Kubectl) -> None:
    several = {"apiVersion": "v1", "kind": "List", "items": [WEB, MAP]}
    assert kubectl("apply", "-f", kubectl.file("list.yaml", several)) == "service/web created\nconfigmap/m created\n"
    (kubectl.folder / "all").mkdir()
    kubectl.file("all/1.yaml", WEB)
    kubectl.file("all/2.yaml", MAP, POD)
    assert kubectl("apply", "-f", "all").split() == [
        "service/web",
        "unchanged",
        "configmap/m",
        "unchanged",
        "pod/web-0",
        "created",
    ]
    documents = (kubectl.folder / kubectl.file("both.yaml", WEB, MAP)).read_text()
    assert kubectl("apply", "-f", "-", stdin=documents) == "service/web unchanged\nconfigmap/m unchanged\n"


def test_apply_prunes_what_is_no_longer_there(kubectl: Kubectl) -> None:
    maps = [MAP | {"metadata": {"name": name, "labels": {"of": "app"}}} for name in "ab"]
    kubectl("apply", "-f", kubectl.file("maps.yaml", *maps))
    pruning = ("--prune", "-l", "of=app", "--prune-allowlist=core/v1/ConfigMap")
    done = kubectl("apply", "-f", kubectl.file("maps.yaml", maps[0]), *pruning)
    assert done == "configmap/a unchanged\nconfigmap/b pruned\n"


def test_apply_tries_without_writing(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", kubectl.file("a.yaml", WEB))
    bad = kubectl.file("bad.yaml", changed(WEB, clusterIP="10.96.0.77"))
    assert "may not change once set" in kubectl.refused("apply", "-f", bad, "--dry-run=server")
    good = kubectl.file("good.yaml", changed(WEB, sessionAffinity="ClientIP"))
    assert kubectl("apply", "-f", good, "--dry-run=server") == "service/web configured (server dry run)\n"
    assert kubectl.object("svc", "web")["spec"]["sessionAffinity"] == "None"


def test_diff_shows_what_apply_would_change(kubectl: Kubectl) -> None:
    file = kubectl.file("a.yaml", WEB)
    assert kubectl.result("diff", "-f", file).returncode == 1
    kubectl("apply", "-f", file)
    assert kubectl("diff", "-f", file) == ""
    kubectl.file("a.yaml", changed(WEB, sessionAffinity="ClientIP"))
    done = kubectl.result("diff", "-f", file)
    assert done.returncode == 1
    assert "-  sessionAffinity: None\n" in done.stdout
    assert "+  sessionAffinity: ClientIP\n" in done.stdout
    assert "clusterIP" not in "".join(line for line in done.stdout.splitlines() if line[:1] in "+-")


# -- edit, patch, label, annotate, set, replace ---------------------------------------------------------------


def editor(kubectl: Kubectl, script: str) -> dict[str, str]:
    """An editor that does this to the file it is given."""
    program = kubectl.folder / "editor"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"EDITOR": str(program)}


def test_edit(kubectl: Kubectl) -> None:
    kubectl("create", "-f", kubectl.file("a.yaml", WEB))
    edited = kubectl(
        "edit", "svc", "web", **editor(kubectl, 's="s/targetPort: 8080/targetPort: 9090/"; sed -i "$s" "$1"')
    )
    assert edited == "service/web edited\n"
    assert kubectl.object("svc", "web")["spec"]["ports"][0]["targetPort"] == 9090
    unchanged = kubectl.result("edit", "svc", "web", **editor(kubectl, ":"))
    assert (unchanged.returncode, unchanged.stderr) == (0, "Edit cancelled, no changes made.\n")
    refused = kubectl.result("edit", "svc", "web", **editor(kubectl, 'sed -i "s/port: 80$/port: 0/" "$1"'))
    assert refused.returncode == 1
    assert 'services "web" is invalid' in refused.stderr


@pytest.mark.parametrize(
    ("how", "patch"),
    [
        ("strategic", {"spec": {"ports": [{"port": 81, "name": "more"}]}}),
        ("merge", {"spec": {"ports": [{"port": 80, "name": "http"}, {"port": 81, "name": "more"}]}}),
        ("json", [{"op": "add", "path": "/spec/ports/-", "value": {"port": 81, "name": "more"}}]),
    ],
)
def test_patch(kubectl: Kubectl, how: str, patch: Any) -> None:
    kubectl("create", "-f", kubectl.file("a.yaml", WEB))
    call = ("patch", "svc", "web", f"--type={how}", "-p", json.dumps(patch))
    assert kubectl(*call, "--dry-run=server") == "service/web patched\n"
    assert len(kubectl.object("svc", "web")["spec"]["ports"]) == 1
    assert kubectl(*call) == "service/web patched\n"
    assert {port["name"] for port in kubectl.object("svc", "web")["spec"]["ports"]} == {"http", "more"}


def test_patch_again_or_badly(kubectl: Kubectl) -> None:
    kubectl("create", "-f", kubectl.file("a.yaml", WEB))
    call = ("patch", "svc", "web", "-p", '{"spec":{"sessionAffinity":"ClientIP"}}')
    assert kubectl(*call) == "service/web patched\n"
    assert kubectl(*call) == "service/web patched (no change)\n"
    assert 'Unsupported value: "Foo"' in kubectl.refused("patch", "svc", "web", "-p", '{"spec":{"type":"Foo"}}')
    assert kubectl.refused("patch", "svc", "none", "-p", "{}") == (
        'Error from server (NotFound): services "none" not found\n'
    )


def test_patch_a_status(pierhead: Region, kubectl: Kubectl) -> None:
    pierhead.apply(POD)
    status = '{"status":{"phase":"Running"},"spec":{"activeDeadlineSeconds":1}}'
    assert (
        kubectl("patch", "pod", "web-0", "--subresource=status", "--type=merge", "-p", status) == "pod/web-0 patched\n"
    )
    found = kubectl.object("pod", "web-0")
    assert found["status"]["phase"] == "Running"
    assert "activeDeadlineSeconds" not in found["spec"]
    assert kubectl("get", "pod", "web-0", "--subresource=status", "-o", "jsonpath={.status.phase}") == "Running"


@pytest.mark.parametrize(("verb", "field"), [("label", "labels"), ("annotate", "annotations")])
def test_label_and_annotate(kubectl: Kubectl, verb: str, field: str) -> None:
    done = {"label": "labeled", "annotate": "annotated"}[verb]
    kubectl("create", "-f", kubectl.file("a.yaml", MAP))

    def marks() -> dict[str, str]:
        found: dict[str, str] = kubectl.object("cm", "m")["metadata"].get(field, {})
        return found

    assert kubectl(verb, "cm", "m", "a=b", "c=d") == f"configmap/m {done}\n"
    assert marks() == {"a": "b", "c": "d"}
    assert "--overwrite is false" in kubectl.refused(verb, "cm", "m", "a=x")
    kubectl(verb, "cm", "m", "a=x", "--overwrite")
    kubectl(verb, "cm", "m", "c-")
    assert marks() == {"a": "x"}
    kubectl(verb, "cm", "--all", "of=all")
    assert marks() == {"a": "x", "of": "all"}
    assert 'configmaps "none" not found' in kubectl.refused(verb, "cm", "none", "a=b")


def test_set(pierhead: Region, kubectl: Kubectl) -> None:
    pierhead.apply(WEB, SET)
    assert kubectl("set", "selector", "svc", "web", "app=other") == "service/web selector updated\n"
    assert kubectl("set", "image", "rs/set", "c=other") == "replicaset.apps/set image updated\n"
    assert kubectl("set", "env", "rs/set", "A=b") == "replicaset.apps/set env updated\n"
    assert kubectl.object("svc", "web")["spec"]["selector"] == {"app": "other"}
    [container] = kubectl.object("rs", "set")["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["env"]) == ("other", [{"name": "A", "value": "b"}])


def test_replace(kubectl: Kubectl) -> None:
    file = kubectl.file("a.yaml", MAP)
    assert 'configmaps "m" not found' in kubectl.refused("replace", "-f", file)
    kubectl("create", "-f", file)
    before = kubectl.object("cm", "m")["metadata"]["uid"]
    kubectl("label", "cm", "m", "a=b")
    assert kubectl("replace", "-f", file) == "configmap/m replaced\n"
    metadata = kubectl.object("cm", "m")["metadata"]
    assert (metadata["uid"], metadata.get("labels")) == (before, None)
    assert kubectl("replace", "--force", "-f", file) == 'configmap "m" deleted\nconfigmap/m replaced\n'
    assert kubectl.object("cm", "m")["metadata"]["uid"] != before
    stale = kubectl.object("cm", "m")
    kubectl("label", "cm", "m", "a=b")
    assert "the object has been modified" in kubectl.refused("replace", "-f", kubectl.file("stale.yaml", stale))


# -- scale, expose, nodes -------------------------------------------------------------------------------------


def test_scale(kubectl: Kubectl) -> None:
    kubectl("create", "-f", kubectl.file("a.yaml", SET))
    assert kubectl("scale", "rs", "set", "--replicas=3") == "replicaset.apps/set scaled\n"
    eventually(lambda: len(kubectl("get", "pods", "-o", "name").split()) == 3, "three pods")
    kubectl("wait", "rs/set", "--for=jsonpath={.status.replicas}=3")
    assert "Expected replicas to be 5, was 3" in kubectl.refused(
        "scale", "rs/set", "--replicas=1", "--current-replicas=5"
    )
    assert kubectl("scale", "rs", "--all", "--replicas=0") == "replicaset.apps/set scaled\n"
    eventually(lambda: not kubectl("get", "pods", "-o", "name"), "no pods")


def test_expose(pierhead: Region, kubectl: Kubectl) -> None:
    pierhead.apply(POD, SET, WEB)
    assert kubectl("expose", "pod", "web-0", "--name=of-pod") == "service/of-pod exposed\n"
    assert (
        kubectl("expose", "rs", "set", "--port=80", "--target-port=http", "--name=of-set") == "service/of-set exposed\n"
    )
    assert kubectl("expose", "svc", "web", "--port=81", "--type=NodePort", "--name=again") == "service/again exposed\n"
    found = {name: kubectl.object("svc", name)["spec"] for name in ("of-pod", "of-set", "again")}
    assert {name: spec["selector"] for name, spec in found.items()} == {
        "of-pod": {"app": "web"}, "of-set": {"app": "set"}, "again": {"app": "web"}
    }  # fmt: skip
    assert found["of-pod"]["ports"][0]["port"] == 8080
    assert found["of-set"]["ports"][0]["targetPort"] == "http"
    assert found["again"]["type"] == "NodePort"


def test_cordon_and_taint(pierhead: Region, kubectl: Kubectl) -> None:
    pierhead.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    assert kubectl("cordon", "n1") == "node/n1 cordoned\n"
    assert "SchedulingDisabled" in kubectl("get", "node", "n1")
    assert kubectl("uncordon", "n1") == "node/n1 uncordoned\n"
    assert kubectl("taint", "nodes", "n1", "a=b:NoSchedule") == "node/n1 tainted\n"
    assert "Taints: a=b:NoSchedule" in kubectl.words("describe", "node", "n1")
    assert "already has a taint" in kubectl.refused("taint", "nodes", "n1", "a=c:NoSchedule")
    assert kubectl("taint", "nodes", "n1", "a-") == "node/n1 untainted\n"


# -- wait and delete ------------------------------------------------------------------------------------------


def test_wait(pierhead: Region, kubectl: Kubectl) -> None:
    pierhead.apply(POD, WEB)
    pierhead.ready("web-0")
    assert kubectl("wait", "pod/web-0", "--for=condition=Ready") == "pod/web-0 condition met\n"
    assert kubectl("wait", "svc/web", "--for=jsonpath={.spec.type}=ClusterIP") == "service/web condition met\n"
    assert "timed out waiting" in kubectl.refused("wait", "svc/web", "--for=condition=X", "--timeout=1s")
    assert kubectl("wait", "svc/none", "--for=delete") == ""


def test_delete_some(pierhead: Region, kubectl: Kubectl) -> None:
    pierhead.apply(
        *(MAP | {"metadata": {"name": name, "labels": {"odd": str(name in "ac").lower()}}} for name in "abcde")
    )
    assert kubectl("delete", "cm", "b", "--dry-run=server") == 'configmap "b" deleted (server dry run)\n'
    assert kubectl("delete", "cm", "b") == 'configmap "b" deleted\n'
    assert kubectl("delete", "cm", "-l", "odd=true") == 'configmap "a" deleted\nconfigmap "c" deleted\n'
    assert kubectl("delete", "cm", "--field-selector", "metadata.name=d") == 'configmap "d" deleted\n'
    assert kubectl("delete", "cm", "--all") == 'configmap "e" deleted\n'
    assert kubectl("delete", "cm", "--all") == "No resources found\n"
    assert 'configmaps "e" not found' in kubectl.refused("delete", "cm", "e")
    assert kubectl("delete", "cm", "e", "--ignore-not-found") == ""
    kubectl("create", "-f", kubectl.file("a.yaml", WEB, MAP))
    assert kubectl("delete", "-f", "a.yaml") == 'service "web" deleted\nconfigmap "m" deleted\n'


def test_delete_waits_for_finalizers_unless_told_not_to(pierhead: Region, kubectl: Kubectl) -> None:
    pierhead.apply(MAP | {"metadata": {"name": "m", "finalizers": ["example.com/hold"]}})
    assert "timed out waiting" in kubectl.refused("delete", "cm", "m", "--timeout=1s")
    assert kubectl("delete", "cm", "m", "--wait=false") == 'configmap "m" deleted\n'
    assert "timed out waiting" in kubectl.refused("wait", "cm/m", "--for=delete", "--timeout=1s")
    kubectl("patch", "cm", "m", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    kubectl("wait", "cm/m", "--for=delete")


@pytest.mark.parametrize("how", ["orphan", "foreground", "background"])
def test_delete_with_or_without_dependents(kubectl: Kubectl, how: str) -> None:
    kubectl("create", "-f", kubectl.file("a.yaml", SET))
    eventually(lambda: len(kubectl("get", "pods", "-o", "name").split()) == 2, "two pods")
    kubectl("delete", "rs", "set", f"--cascade={how}")
    if how == "orphan":
        pods = json.loads(kubectl("get", "pods", "-o", "json"))["items"]
        assert [pod["metadata"].get("ownerReferences") for pod in pods] == [None, None]
    elif how == "foreground":
        assert kubectl("get", "pods", "-o", "name") == ""
    else:
        eventually(lambda: not kubectl("get", "pods", "-o", "name"), "no pods")


def test_delete_a_namespace_with_what_is_in_it(pierhead: Region, kubectl: Kubectl) -> None:
    kubectl("create", "ns", "shop")
    kubectl("create", "-n", "shop", "-f", kubectl.file("a.yaml", WEB, MAP))
    assert kubectl("delete", "ns", "shop") == 'namespace "shop" deleted\n'
    assert kubectl("get", "cm,svc", "-n", "shop", "-o", "name") == ""
    assert "this namespace may not be deleted" in kubectl.refused("delete", "ns", "default")
