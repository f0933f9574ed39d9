"""The agent of one node: its pods, their probes and logs, and the node's own object and heartbeat.

Law: knows the API only through ``client``, decides nothing that ``core`` can decide, and is the only part that starts processes.
What runs a container is behind ``runtime.Runtime``.
"""
