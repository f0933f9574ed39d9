"""The REST API as an ASGI application: kubectl's way in, and everybody's.

    server → application → auth, router → resources → reads | writes | deletes | subresources → registry → store
                                        → stream → watch (the hub)
                                        → paths → health, discovery, openapi, metrics

Law: it decides nothing about a kind. What is particular stands in the kind's row, its schema and its strategy; one more kind is
no more code here. It knows the store by its Protocol alone, asks nodes only through ``NodeLink``, is nobody's client, and keeps
nothing of its own that has to survive a request or be shared with a second server: several can serve one store.
"""
