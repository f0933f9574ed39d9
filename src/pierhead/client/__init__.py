"""The only way to the API for everyone who is not the API server.

Law: a client speaks the Kubernetes API over a ``Transport`` and knows nothing of who answers. Loops read through informers, one
per kind and process, which decode an event once and share the views read-only; they write through ``Client`` and treat every
write as one that may fail.
"""
