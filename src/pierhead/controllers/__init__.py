"""The loops that keep promises: read, call core, write.

Law: a controller reads through informers only (a live read where a decision must not rest on an old one), takes its decision from
``core``, and writes through the client. Events only add keys; ``reconcile`` looks at everything again and may be killed anywhere.
What it costs follows from what changed, never from how much there is. A controller that fails is logged with its key and tries
again; the others do not notice. After a write it waits until its informer has seen that, so it never decides twice on one state.
"""

from pierhead.controllers.controllers import Controllers

__all__ = ["Controllers"]
