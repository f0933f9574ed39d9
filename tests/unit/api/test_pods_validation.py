"""What a pod's spec must look like: one row for each rule, in Kubernetes' words."""

from __future__ import annotations

from typing import Any

import pytest

from pierhead.api import Tree
from pierhead.api.defaults import fill
from pierhead.api.pods_validation import spec_causes, template_causes
from pierhead.api.pods_warnings import spec_warnings


def found(**changes: Any) -> list[str]:
    """What is wrong with a pod whose spec is right but for the changes."""
    spec: Tree = {"containers": [{"name": "c", "image": "host"}]} | changes
    fill("api.core.v1.Pod", {"metadata": {}, "spec": spec})
    return [f"{cause.field}: {cause.message}" for cause in spec_causes("spec", spec)]


def container(**changes: Any) -> list[str]:
    here = "spec.containers[0]."
    return [text.removeprefix(here) for text in found(containers=[{"name": "c", "image": "host"} | changes])]


def probe(kind: str = "readinessProbe", **changes: Any) -> list[str]:
    return [text.removeprefix(f"{kind}.") for text in container(**{kind: {"tcpSocket": {"port": 80}} | changes})]


def beginning(texts: list[str]) -> list[str]:
    """Long texts up to their explanation."""
    return [
        text.partition(": a lowercase")[0].partition(": name part must")[0].partition(" (e.g.")[0] for text in texts
    ]


def test_a_good_pod() -> None:
    assert found(volumes=[{"name": "v", "emptyDir": {}}, {"name": "w"}], hostname="h", nodeSelector={"a": "b"}) == []


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        ({"containers": []}, ["spec.containers: Required value"]),
        (
            {"containers": [{"name": "c", "image": "x"}, {"name": "c", "image": "x"}]},
            ['spec.containers[1].name: Duplicate value: "c"'],
        ),
        (
            {"restartPolicy": "Sometimes"},
            ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"'],
        ),
        (
            {"dnsPolicy": "X"},
            [
                'spec.dnsPolicy: Unsupported value: "X": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"'
            ],
        ),
        ({"dnsPolicy": "None"}, ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
        (
            {"activeDeadlineSeconds": 0},
            ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
        ),
        ({"nodeName": "A_b"}, ['spec.nodeName: Invalid value: "A_b"']),
        ({"hostname": "a.b"}, ['spec.hostname: Invalid value: "a.b": must not contain dots']),
        (
            {"readinessGates": [{"conditionType": "a b"}]},
            ['spec.readinessGates[0].conditionType: Invalid value: "a b"'],
        ),
        ({"volumes": [{"name": "v"}, {"name": "v"}]}, ['spec.volumes[1].name: Duplicate value: "v"']),
        ({"volumes": [{"emptyDir": {}}]}, ["spec.volumes[0].name: Required value"]),
        (
            {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]},
            ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        ({"volumes": [{"name": "v", "secret": {}}]}, ["spec.volumes[0].secret.secretName: Required value"]),
        (
            {"topologySpreadConstraints": [{"maxSkew": 0, "whenUnsatisfiable": "X"}]},
            [
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
                (
                    'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "X": '
                    'supported values: "DoNotSchedule", "ScheduleAnyway"'
                ),
            ],
        ),
        (
            {"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 1}]},
            [
                (
                    'spec.tolerations[0].effect: Invalid value: "NoSchedule": '
                    "effect must be 'NoExecute' when `tolerationSeconds` is set"
                )
            ],
        ),
        (
            {"tolerations": [{"operator": "Equal", "effect": "X"}]},
            [
                (
                    'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, '
                    'which means "match all values and all keys"'
                ),
                (
                    'spec.tolerations[0].effect: Unsupported value: "X": '
                    'supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"'
                ),
            ],
        ),
        (
            {
                "hostNetwork": True,
                "containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 80, "hostPort": 81}]}],
            },
            [
                (
                    "spec.containers[0].ports[0].hostPort: Invalid value: 81: "
                    "must match `containerPort` when `hostNetwork` is true"
                )
            ],
        ),
        (
            {
                "containers": [
                    {"name": name, "image": "x", "ports": [{"containerPort": 80, "hostPort": 80}]} for name in "ab"
                ]
            },
            ['spec.containers[1].ports[0].hostPort: Duplicate value: "TCP//80"'],
        ),
        (
            {"securityContext": {"fsGroup": -1}},
            ["spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
        ),
    ],
)
def test_a_spec(changes: Tree, texts: list[str]) -> None:
    assert beginning(found(**changes)) == texts


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        ({"name": ""}, ["name: Required value"]),
        ({"name": "A_b"}, ['name: Invalid value: "A_b"']),
        ({"image": ""}, ["image: Required value"]),
        ({"image": " x"}, ['image: Invalid value: " x": must not have leading or trailing whitespace']),
        ({"ports": [{"containerPort": 0}]}, ["ports[0].containerPort: Required value"]),
        (
            {"ports": [{"name": "toolongportname1", "containerPort": 70000, "protocol": "x"}]},
            [
                'ports[0].name: Invalid value: "toolongportname1": must be no more than 15 characters',
                "ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
                'ports[0].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"',
            ],
        ),
        (
            {"ports": [{"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 2}]},
            ['ports[1].name: Duplicate value: "a"'],
        ),
        (
            {"env": [{"name": "a=b"}, {"name": ""}]},
            [
                (
                    'env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of '
                    "printable ASCII characters other than '='"
                ),
                "env[1].name: Required value",
            ],
        ),
        (
            {"env": [{"name": "A", "valueFrom": {}}]},
            [
                (
                    'env[0].valueFrom: Invalid value: "": must specify one of: '
                    "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
                )
            ],
        ),
        (
            {"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]},
            ['env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]},
            ["env[0].valueFrom.secretKeyRef.key: Required value"],
        ),
        ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}]}, []),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, ['volumeMounts[0].name: Not found: "v"']),
        (
            {"imagePullPolicy": "X"},
            ['imagePullPolicy: Unsupported value: "X": supported values: "Always", "IfNotPresent", "Never"'],
        ),
        (
            {"resources": {"limits": {"cpu": "100m"}, "requests": {"cpu": "1", "memory": "-1"}}},
            [
                'resources.requests[cpu]: Invalid value: "1": must be less than or equal to cpu limit of 100m',
                'resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0',
            ],
        ),
        (
            {"securityContext": {"runAsUser": -1}},
            ["securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
        ),
    ],
)
def test_a_container(changes: Tree, texts: list[str]) -> None:
    assert beginning(container(**changes)) == texts


def test_a_field_that_no_variable_can_have() -> None:
    (text,) = container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}])
    assert text.startswith(
        'env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.x": supported values: "metadata.name", '
    )


def test_probes() -> None:
    assert probe() == []
    assert container(readinessProbe={}) == ["readinessProbe: Required value: must specify a handler type"]
    assert probe(exec={"command": ["x"]}) == ["tcpSocket: Forbidden: may not specify more than 1 handler type"]
    assert probe(tcpSocket={"port": 0}) == ["tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive"]
    assert probe(tcpSocket={"port": "a--b"}) == [
        'tcpSocket.port: Invalid value: "a--b": must not contain consecutive hyphens'
    ]
    assert probe(periodSeconds=-1) == ["periodSeconds: Invalid value: -1: must be greater than or equal to 0"]
    assert probe(terminationGracePeriodSeconds=5) == [
        "terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes"
    ]
    assert probe("livenessProbe", successThreshold=2) == ["successThreshold: Invalid value: 2: must be 1"]
    assert container(startupProbe={"exec": {}}) == ["startupProbe.exec.command: Required value"]
    assert container(readinessProbe={"httpGet": {"port": 80, "scheme": "X"}}) == [
        'readinessProbe.httpGet.scheme: Unsupported value: "X": supported values: "HTTP", "HTTPS"'
    ]


def test_a_template_is_checked_like_a_pod() -> None:
    template = {"metadata": {"labels": {"a": "-"}}, "spec": {}}
    causes = template_causes("spec.template", template)
    assert [cause.field for cause in causes][:2] == ["spec.template.labels", "spec.template.spec.containers"]


def test_warnings() -> None:
    variables = [{"name": "a"}, {"name": "b"}, {"name": "a"}]
    ports = [{"containerPort": 1, "protocol": "TCP"}, {"containerPort": 1, "protocol": "TCP"}]
    spec = {
        "nodeSelector": {"beta.kubernetes.io/os": "linux"},
        "containers": [{"env": variables, "ports": ports}, {"ports": [{"containerPort": 1, "protocol": "UDP"}]}],
    }
    assert spec_warnings("spec", spec) == [
        'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
        'spec.containers[0].env[2]: hides previous definition of "a", which may be dropped when using apply',
        "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
    ]


def terms(*found: Tree) -> Tree:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(found)}}}


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ([], [": Required value: must have at least one node selector term"]),
        ([{"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}], []),
        (
            [{"matchExpressions": [{"key": "a", "operator": "Gt"}]}],
            [
                "[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'"
            ],
        ),
        (
            [{}, {"matchExpressions": [{"key": "a", "operator": "Near"}]}],
            ['[1].matchExpressions[0].operator: Invalid value: "Near": not a valid selector operator'],
        ),
        ([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}], []),
        (
            [{"matchFields": [{"key": "spec", "operator": "Exists"}]}],
            [
                '[0].matchFields[0].operator: Invalid value: "Exists": not a valid selector operator',
                '[0].matchFields[0].key: Invalid value: "spec": not a valid field selector key',
            ],
        ),
    ],
)
def test_what_is_wrong_with_an_affinity_to_nodes(given: list[Tree], texts: list[str]) -> None:
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    assert [text.removeprefix(path) for text in found(affinity=terms(*given))] == texts


def test_gates_have_names_each_once() -> None:
    texts = beginning(found(schedulingGates=[{"name": "a/b"}, {"name": "a/b"}, {}]))
    assert texts == [
        'spec.schedulingGates[1]: Duplicate value: "a/b"',
        *2 * ['spec.schedulingGates[2]: Invalid value: ""'],
    ]


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        ({"envFrom": [{"configMapRef": {"name": "a"}, "prefix": "A_"}, {"secretRef": {"name": "b"}}]}, []),
        ({"envFrom": [{}]}, ['envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`']),
        ({"envFrom": [{"secretRef": {}}]}, ["envFrom[0].secretRef.name: Required value"]),
        (
            {"envFrom": [{"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}}]},
            ['envFrom: Invalid value: "": may not have more than one field specified at a time'],
        ),
        ({"resources": {"limits": {"cpu": "1", "example.com/gpu": "1", "hugepages-2Mi": "2Mi"}}}, []),
        (
            {"resources": {"requests": {"cpus": "1"}}},
            [
                'resources.requests[cpus]: Invalid value: "cpus": must be a standard resource type or fully qualified',
                'resources.requests[cpus]: Invalid value: "cpus": must be a standard resource for containers',
            ],
        ),
        (
            {"resources": {"requests": {"pods": "1"}}},
            ['resources.requests[pods]: Invalid value: "pods": must be a standard resource for containers'],
        ),
    ],
)
def test_where_an_environment_comes_from_and_what_a_container_asks_for(
    changes: dict[str, Any], texts: list[str]
) -> None:
    assert container(**changes) == texts


def test_the_prefix_of_an_environment_is_part_of_names() -> None:
    assert container(envFrom=[{"secretRef": {"name": "b"}, "prefix": "a=b"}])[0].startswith("envFrom[0].prefix: ")
