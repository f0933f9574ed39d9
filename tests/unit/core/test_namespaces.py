"""What the status of a namespace says while it is emptied."""

from __future__ import annotations

from builders import view
from pierhead.api.views import Namespace
from pierhead.core import namespaces


def test_what_is_left_is_counted_and_named() -> None:
    left = namespaces.remains({"configmaps.": [["example.com/x"], []], "services.": []})
    assert left
    told = {found.type: (found.status, found.message) for found in namespaces.conditions(Namespace(), left, "now")}
    remaining = "Some resources are remaining: configmaps. has 2 resource instances"
    holding = "Some content in the namespace has finalizers remaining: example.com/x in 1 resource instances"
    assert told["NamespaceContentRemaining"] == ("True", remaining)
    assert told["NamespaceFinalizersRemaining"] == ("True", holding)
    assert told["NamespaceDeletionContentFailure"][0] == "False"
    assert not namespaces.remains({"services.": []})


def test_a_condition_that_keeps_its_status_keeps_its_time() -> None:
    left = namespaces.remains({"pods.": [[]]})
    first = namespaces.conditions(Namespace(), left, "2026-01-01T00:00:00Z")
    tree = {
        "status": {
            "conditions": [
                {"type": c.type, "status": c.status, "lastTransitionTime": c.last_transition_time} for c in first
            ]
        }
    }
    assert namespaces.conditions(view(Namespace, tree), left, "2026-01-01T00:00:09Z") == first


def test_a_failure_is_told() -> None:
    found = namespaces.conditions(Namespace(), namespaces.remains({}, "no"), "now")[2]
    assert (found.status, found.reason, found.message) == ("True", "ContentDeletionFailed", "no")
