"""The three patch formats of the API: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch.

Law: a patch never changes what it was given, and fails with nothing but an ApiError. What comes out is a tree that nobody has
checked against the schema yet. Own code instead of a library: the real server's answers follow its own two libraries, in what
they let pass and in what they refuse, and the formats are smaller than their differences.
"""

from pierhead.api.patch.merge import merge_patch
from pierhead.api.patch.operations import json_patch, unknown_members
from pierhead.api.patch.strategic import strategic_merge_patch
from pierhead.api.patch.values import go_text

__all__ = ["go_text", "json_patch", "merge_patch", "strategic_merge_patch", "unknown_members"]
