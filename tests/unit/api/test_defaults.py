"""Defaults of the schema table, and those of pods that depend on their neighbours."""

from typing import Any

import pytest

from pierhead.api.defaults import fill

POD = "api.core.v1.Pod"


def pod(spec: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {"spec": spec}
    fill(POD, tree)
    found: dict[str, Any] = tree["spec"]
    return found


def test_a_service_and_its_ports() -> None:
    tree: dict[str, Any] = {"spec": {"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}}
    fill("api.core.v1.Service", tree)
    assert tree["spec"] == {
        "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
        "type": "ClusterIP",
        "sessionAffinity": "None",
    }


def test_what_is_no_pointer_exists_before_it_is_given() -> None:
    tree: dict[str, Any] = {}
    fill("api.core.v1.Service", tree)
    assert tree == {"spec": {"type": "ClusterIP", "sessionAffinity": "None"}}


def test_a_message_without_defaults_is_left_alone() -> None:
    tree: dict[str, Any] = {"data": {"a": "1"}}
    fill("api.core.v1.ConfigMap", tree)
    assert tree == {"data": {"a": "1"}}


def test_a_pod() -> None:
    assert pod({"containers": [{"name": "c", "image": "host"}]}) == {
        "containers": [
            {
                "name": "c",
                "image": "host",
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "Always",
            }
        ],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "enableServiceLinks": True,
    }


def test_what_is_given_stays() -> None:
    spec = pod({"containers": [], "terminationGracePeriodSeconds": 0, "enableServiceLinks": False})
    assert (spec["terminationGracePeriodSeconds"], spec["enableServiceLinks"]) == (0, False)


def test_two_objects_never_share_a_default() -> None:
    assert pod({})["securityContext"] is not pod({})["securityContext"]


def test_probes_and_hooks() -> None:
    container = {
        "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 3},
        "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
    }
    found = pod({"containers": [container]})["containers"][0]
    http = {"path": "/", "port": 80, "scheme": "HTTP"}
    probe = {"httpGet": http, "timeoutSeconds": 1, "periodSeconds": 3, "successThreshold": 1, "failureThreshold": 3}
    assert found["livenessProbe"] == probe
    assert found["lifecycle"]["preStop"]["httpGet"] == http


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"), ("nginx:latest", "Always"), ("nginx:1.2", "IfNotPresent"), ("reg:5000/nginx", "Always"),
        ("reg:5000/a/b:1", "IfNotPresent"), ("reg:5000/a/b@sha256:00", "IfNotPresent"),
    ],
)  # fmt: skip
def test_an_image_that_may_change_is_always_pulled(image: str, policy: str) -> None:
    assert pod({"containers": [{"image": image}]})["containers"][0]["imagePullPolicy"] == policy


def test_a_volume_without_a_source_is_an_empty_directory() -> None:
    volumes = pod({"volumes": [{"name": "d"}, {"name": "w", "configMap": {"name": "c"}}]})["volumes"]
    assert volumes == [{"name": "d", "emptyDir": {}}, {"name": "w", "configMap": {"name": "c", "defaultMode": 420}}]


def test_ports_of_the_hosts_network_are_the_hosts() -> None:
    spec = pod({"hostNetwork": True, "containers": [{"ports": [{"containerPort": 80}]}]})
    assert spec["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP", "hostPort": 80}]


def test_limits_are_requested_by_pods_and_not_by_templates() -> None:
    resources = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}
    found = pod({"containers": [{"resources": dict(resources)}]})["containers"][0]
    assert found["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}
    tree: dict[str, Any] = {"spec": {"template": {"spec": {"containers": [{"resources": dict(resources)}]}}}}
    fill("api.apps.v1.ReplicaSet", tree)
    assert tree["spec"]["replicas"] == 1
    assert tree["spec"]["template"]["spec"]["containers"][0]["resources"] == resources
