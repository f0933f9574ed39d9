"""What a proxy does with packets, as values: the ForwardingTable, how it is built, compared and walked.

Law: pure. Services, EndpointSlices, the network and the place of the proxy go in; tables, changes and verdicts come out. Every back
end (userspace, nftables, eBPF) takes the same changes; nothing here knows how any of them holds a table. Addresses are text in
canonical form, because they are compared and never computed with.
"""
