"""What users write: the schema table, kinds, defaults, validation, selectors, quantities, patches, typed views.

Law: pure. Objects are decoded JSON trees (``Tree``); functions either return what they decided or fill the tree they were
given, and say which. No I/O, no clock, no chance: the time of a write and random names are arguments.
"""

from typing import Any, TypeAlias

Tree: TypeAlias = dict[str, Any]
"""One object as decoded JSON: dict, list, str, int, float, bool and None, nothing else."""
