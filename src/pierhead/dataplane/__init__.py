"""The service proxy of a node, and ``DataPlane``: one of the five contracts.

Law: the proxier (informers → build → diff → commit → report) is the same for every back end; a back end only takes changes of
a ForwardingTable and answers what it could not do. Back ends pass one contract suite.
"""
