"""An object in the body of a write, or behind a patch: checked against its schema, and judged as ``fieldValidation`` asks."""

from __future__ import annotations

from pierhead.api import Tree, codec
from pierhead.api.codec import Decoded
from pierhead.api.kind import Kind
from pierhead.apiserver.options import WriteOptions
from pierhead.apiserver.patches import applied, undecodable
from pierhead.apiserver.registry import Context
from pierhead.apiserver.request import Request, body_media
from pierhead.errors import ApiError, bad_request


def given(request: Request, kind: Kind, options: WriteOptions, context: Context) -> Tree:
    """The object that the body is.

    Raises:
        ApiError: 400 for a body that is none, or for what Strict refuses; 415.
    """
    return judged(kind, codec.decode(kind, request.body, body_media(request)), options, context)


def judged(kind: Kind, decoded: Decoded, options: WriteOptions, context: Context) -> Tree:
    """Raises: ApiError 400 when Strict finds problems."""
    if options.validation == "Strict" and (found := decoded.strict):
        text = f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}'
        raise bad_request(f"{text}: strict decoding error: {found}")
    if options.validation == "Warn":
        context.warnings.extend(decoded.warnings)
    return decoded.tree


def patched(request: Request, kind: Kind, old: Tree, options: WriteOptions, context: Context) -> Tree:
    """What the patch in the body makes of ``old``.

    Raises:
        ApiError: 400, 415, 422.
    """
    found = applied(request, kind, old)
    try:
        decoded = codec.check(kind, found.tree)
    except ApiError as error:
        raise undecodable(request, old, found, error.message) from error
    problems = [*found.doubles, *decoded.problems]
    if options.validation == "Strict" and (refused := [*found.unknown, *problems]):
        raise undecodable(request, old, found, f"strict decoding error: {', '.join(refused)}")
    if options.validation == "Warn":
        context.warnings.extend(problems)
    return decoded.tree
