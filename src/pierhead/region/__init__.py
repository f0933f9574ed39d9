"""A region: all roles (store, API server, controllers, node, proxy) composed in one process.

Law: the one place where the roles meet. Nothing else knows that all of them can live in one process; roles know each other
only through the API and the five contracts.
"""
