"""A file of registrations: a list in YAML or JSON. What is wrong with it is said with its line."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pierhead.core import registrations
from pierhead.core.registrations import Registration, Wrong
from pierhead.errors import UsageError

SHAPE = "write a list: - {name: db-1, ip: 192.0.2.10, ports: [pg=5432], labels: {app: db}}"


def read(path: Path, namespace: str) -> list[Registration]:
    """``-`` is standard input.

    Raises:
        UsageError: the file cannot be read, or a line of it makes no sense.
    """
    source = "standard input" if str(path) == "-" else str(path)
    try:
        document = yaml.compose(_text(path), yaml.SafeLoader)
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}", SHAPE) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is not text", SHAPE) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{source}, line {line}: {error.problem}", SHAPE) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{source} is neither YAML nor JSON", SHAPE) from error
    if not isinstance(document, yaml.SequenceNode):
        raise UsageError(f"{source} {'holds no list' if document else 'is empty'}", SHAPE)
    return list(_each(source, document, namespace))


def _text(path: Path) -> str:
    """Standard input may have been closed by whoever started us; then there is nothing to read."""
    if str(path) != "-":
        return path.read_text()
    return sys.stdin.read() if sys.stdin else ""


def _each(source: str, document: yaml.SequenceNode, namespace: str) -> Iterator[Registration]:
    lines: dict[tuple[str, str], int] = {}
    for item in document.value:
        line = item.start_mark.line + 1
        if not isinstance(item, yaml.MappingNode):
            raise UsageError(f"{source}, line {line}: this is no registration", SHAPE)
        try:
            found = registrations.read(_fields(item), namespace)
        except Wrong as error:
            raise UsageError(f"{source}, line {_line(item, error.field)}: {error}", "nothing was registered") from error
        except yaml.MarkedYAMLError as error:
            raise UsageError(f"{source}, line {line}: {error.problem}", SHAPE) from error
        first = lines.setdefault(found.key, line)
        if first != line:
            raise UsageError(
                f"{source}, line {line}: pod/{found.name} stands in line {first} already", "name each once"
            )
        yield found


def _fields(item: yaml.MappingNode) -> Mapping[str, Any]:
    """All scalars as the texts that stand there: 010 is no number, and no is no verdict."""
    keys = [getattr(key, "value", None) for key, _ in item.value]
    for key in keys:
        if keys.count(key) > 1:
            raise Wrong(str(key), f'field "{key}" stands there twice')
    loader = yaml.BaseLoader("")
    try:
        return {str(key): value for key, value in loader.construct_mapping(item, deep=True).items()}
    finally:
        loader.dispose()


def _line(item: yaml.MappingNode, field: str) -> int:
    """That of the field, or of the whole where it is missing."""
    marks = [key.start_mark for key, _ in item.value if getattr(key, "value", None) == field]
    return int(marks[-1].line if marks else item.start_mark.line) + 1
