"""How a region was started is read as it was told."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from pierhead.api import Tree, configz
from pierhead.api.network import Network

NETWORK = Network(
    "namespace",
    (ip_network("10.96.0.0/16"), ip_network("fd00:10:96::/112")),
    (ip_network("10.244.0.0/16"),),
    (ip_network("192.0.2.10/31"),),
    node_ports=range(30000, 30100),
    node_address="10.97.0.2",
    machine_address="10.97.0.1",
    region="north",
)


def test_it_is_read_as_it_was_told() -> None:
    told = configz.tell(NETWORK)
    assert told["pierhead.dev"]["serviceRanges"] == ("10.96.0.0/16", "fd00:10:96::/112")
    assert configz.read(told) == NETWORK


@pytest.mark.parametrize("tree", [{}, {"kubeproxy.config.k8s.io": {}}, {"pierhead.dev": None}, {"pierhead.dev": {}}])
def test_what_is_none_of_ours_is_said_so(tree: Tree) -> None:
    with pytest.raises(ValueError, match="configuration"):
        configz.read(tree)
