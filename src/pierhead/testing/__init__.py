"""A real API server inside a test: ``with region() as r``, or the pytest fixture ``pierhead``.

Law: to import this costs next to nothing, because pytest imports the plug-in in every run; what a region is made of is imported
when the first one starts, and what only some tests ask of it when one does. A region lives in a thread of its own, so that
clients which block can talk to it. Nothing of it outlives the process, whatever the test does; nothing needs Linux unless a
network is asked for.
"""

from pierhead.testing.region import Region, region

__all__ = ["Region", "region"]
