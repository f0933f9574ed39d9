"""Mode ``namespace``: traffic while all that is ours changes and dies. ``./dev bench chaos`` does the same at length."""

from __future__ import annotations

from benchmarks import chaos
from e2e.test_namespace import AS_ROOT


@AS_ROOT
def test_no_connection_fails_while_endpoints_change_and_everything_of_ours_is_killed() -> None:
    extent = chaos.Extent(new=5_000, kept=50, changes=1_000, services=1_000)
    counts = {found.figure: found.value for found in chaos.run(extent)}
    assert counts["new connections made"] >= extent.new
    assert counts["new connections failed"] == 0
    assert counts["requests answered over kept connections"] >= 10 * extent.kept
    assert counts["requests failed over kept connections"] == 0
    assert counts["changes of endpoints"] >= extent.changes
