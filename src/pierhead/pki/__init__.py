"""The region's own CA, its server certificate and its bearer tokens, kept as files in the data directory.

Law: secrets are made once, written whole or not at all, readable by their owner only; a warm start reads files and imports no
cryptography.
"""
