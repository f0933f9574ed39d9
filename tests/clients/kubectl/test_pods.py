"""Pods that run: run, logs, wait, describe, new images, deletion with and without grace, drain; and what is not served yet."""

from __future__ import annotations

from typing import Any

from clients.kubectls import Kubectl
from e2e.backends import eventually

SLEEP = ("--", "sleep", "1000")


def replica_set(name: str, script: str, replicas: int = 2) -> dict[str, Any]:
    container = {"name": "c", "image": "host", "command": ["sh", "-c", script]}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
            },
        },
    }


def ready(live: Kubectl, *selection: str) -> None:
    live("wait", "pods", *selection, "--for=condition=Ready", "--timeout=30s")


# -- run ------------------------------------------------------------------------------------------------------


def test_run(live: Kubectl) -> None:
    assert live("run", "p", "--image=host", "--labels=app=p", "--command", *SLEEP) == "pod/p created\n"
    ready(live, "p")
    assert live.rows("get", "pods", "--show-labels")[1][:4] == ["p", "1/1", "Running", "0"]
    told = live.words("describe", "pod", "p")
    for text in ("Normal Scheduled", "Successfully assigned", "Normal Started", "Started container p", "Ready True"):
        assert text in told


def test_run_and_expose(live: Kubectl) -> None:
    made = live("run", "p", "--image=host", "--port=9301", "--expose", "--command", *SLEEP)
    assert set(made.splitlines()) == {"service/p created", "pod/p created"}
    found = live.object("svc", "p")["spec"]
    assert (found["ports"][0]["port"], found["selector"]) == (9301, {"run": "p"})


def test_run_to_the_end(live: Kubectl) -> None:
    live("run", "p", "--image=host", "--restart=Never", "--command", "--", "sh", "-c", "echo done; exit 3")
    live("wait", "pod/p", "--for=jsonpath={.status.phase}=Failed", "--timeout=30s")
    assert live.rows("get", "pods")[1][:3] == ["p", "0/1", "Error"]
    assert live("logs", "p") == "done\n"


# -- logs -----------------------------------------------------------------------------------------------------


def test_logs(live: Kubectl) -> None:
    live("run", "p", "--image=host", "--command", "--", "sh", "-c", "for i in 1 2 3; do echo line $i; done; sleep 1000")
    ready(live, "p")
    eventually(lambda: live("logs", "p") == "line 1\nline 2\nline 3\n", "three lines")
    assert live("logs", "p", "--tail=1") == "line 3\n"
    assert live("logs", "pod/p", "-c", "p", "--limit-bytes=6") == "line 1"
    stamp, _, line = live("logs", "p", "--tail=1", "--timestamps").partition(" ")
    assert (stamp[-1], line) == ("Z", "line 3\n")
    assert live("logs", "p", "--since=1h").count("\n") == 3
    assert "container none is not valid for pod p" in live.refused("logs", "p", "-c", "none")
    assert 'pods "none" not found' in live.refused("logs", "none")


def test_logs_are_followed(live: Kubectl) -> None:
    script = "echo one; while :; do sleep 0.05; echo more; done"
    live("run", "p", "--image=host", "--command", "--", "sh", "-c", script)
    ready(live, "p")
    with live.following("logs", "-f", "p") as lines:
        assert [next(lines) for _ in range(3)] == ["one\n", "more\n", "more\n"]
        live("delete", "pod", "p", "--grace-period=1")
        assert set(lines) <= {"more\n"}


def test_logs_of_the_run_before(live: Kubectl) -> None:
    live("run", "p", "--image=host", "--command", "--", "sh", "-c", "echo I was here; exit 1")
    live("wait", "pod/p", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "--timeout=30s")
    assert live("logs", "p", "--previous") == "I was here\n"
    live("run", "q", "--image=host", "--command", *SLEEP)
    ready(live, "q")
    assert 'previous terminated container "q" in pod "q" not found' in live.refused("logs", "q", "--previous")


def test_logs_of_many(live: Kubectl) -> None:
    live("create", "-f", live.file("set.yaml", replica_set("web", "echo hello; sleep 1000")))
    live("wait", "rs/web", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=30s")
    eventually(lambda: live("logs", "-l", "app=web") == "hello\nhello\n", "a line of each")
    assert sorted(live("logs", "-l", "app=web", "--prefix").splitlines()) == sorted(
        f"[{name}/c] hello" for name in live("get", "pods", "-o", "name").split()
    )
    assert live("logs", "rs/web") == "hello\n"


# -- new images, deletion, drain --------------------------------------------------------------------------------


def test_another_image_starts_the_container_anew(live: Kubectl) -> None:
    live("run", "p", "--image=host", "--command", *SLEEP)
    ready(live, "p")
    assert live("set", "image", "pod/p", "p=nginx") == "pod/p image updated\n"
    waiting = "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImageNeverPull"
    live("wait", "pod/p", waiting, "--timeout=30s")
    assert live.rows("get", "pods")[1][:3] == ["p", "0/1", "ErrImageNeverPull"]
    live("set", "image", "pod/p", "p=host")
    ready(live, "p")
    assert live.object("pod", "p")["status"]["containerStatuses"][0]["restartCount"] == 1
    assert "Container p definition changed, will be restarted" in live("events", "--for", "pod/p")


def test_delete_with_grace(live: Kubectl) -> None:
    live("run", "p", "--image=host", "--command", "--", "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    ready(live, "p")
    live("delete", "pod", "p", "--wait=false", "--grace-period=600")
    found = live.object("pod", "p")["metadata"]
    assert found["deletionGracePeriodSeconds"] == 600
    assert live.rows("get", "pods")[1][2] == "Terminating"
    assert live("delete", "pod", "p", "--grace-period=1") == 'pod "p" deleted\n'
    assert live("get", "pods", "-o", "name") == ""


def test_delete_by_force(live: Kubectl) -> None:
    live("run", "p", "--image=host", "--command", *SLEEP)
    ready(live, "p")
    done = live.result("delete", "pod", "p", "--grace-period=0", "--force")
    assert done.stdout == 'pod "p" force deleted\n'
    assert "Immediate deletion does not wait for confirmation" in done.stderr
    assert live("get", "pods", "-o", "name") == ""
    live("run", "q", "--image=host", "--command", *SLEEP)
    assert live("delete", "pod", "q", "--now") == 'pod "q" deleted\n'


def test_drain(live: Kubectl) -> None:
    live("create", "-f", live.file("set.yaml", replica_set("web", "sleep 1000")))
    live("run", "alone", "--image=host", "--labels=app=alone", "--command", *SLEEP)
    live("wait", "rs/web", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=30s")
    ready(live, "alone")
    before = set(live("get", "pods", "-l", "app=web", "-o", "name").split())
    draining = ("drain", "node-1", "--pod-selector=app in (web,alone)", "--timeout=30s", "--grace-period=1")
    try:
        assert "Pods that declare no controller (use --force to override)" in live.refused(*draining)
        assert live("get", "pods", "-o", "name").count("\n") == 3
        assert "/alone (server dry run)\n" in live(*draining, "--force", "--dry-run=server")
        assert set(live("get", "pods", "-l", "app=web", "-o", "name").split()) == before
        drained = live(*draining, "--force")
        assert "pod/alone evicted\n" in drained
        assert drained.endswith("node/node-1 drained\n")
        after = set(live("get", "pods", "-o", "name").split())
        assert len(after) == 2
        assert not after & before
        assert live("get", "pods", "--field-selector", "status.phase=Running", "-o", "name") == ""
    finally:
        live("uncordon", "node-1")
    live("wait", "rs/web", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=30s")


# -- not yet --------------------------------------------------------------------------------------------------


def test_what_is_not_served_yet_says_so(live: Kubectl) -> None:
    live("run", "p", "--image=host", "--command", *SLEEP)
    ready(live, "p")
    for command, says in (
        (("exec", "p", "--", "ls"), "running a command in a container is not served yet"),
        (("attach", "p"), "attaching to a container is not served yet"),
        (("port-forward", "p", ":80"), "forwarding a port is not served yet"),
        (("cp", "p:/etc/hosts", "hosts"), "running a command in a container is not served yet"),
        (("get", "--raw", "/api/v1/nodes/node-1/proxy/healthz"), "the API server forwards no requests yet"),
    ):
        assert says in live.refused(*command)
