"""Reads a network's size from its model gin file, where gin itself is not installed.

A file of gin/models binds the fields of T5Config to plain values; nothing more is understood here.
"""

import ast
import dataclasses
import pathlib
import re
from typing import Any

from rec_align.models.t5 import T5Config

_FIELDS = {field.name for field in dataclasses.fields(T5Config)}


def read_config(name_or_path: str, **changed: Any) -> T5Config:
    """The config of a model file.

    Args:
      name_or_path: "tiny" for gin/models/tiny.gin, or the path of a file like it.
      **changed: fields that are not to be as in the file.

    Raises:
      ValueError: there is no such file, or it does more than bind fields of T5Config to values.
    """
    path = _find(name_or_path)
    text = path.read_text(encoding="utf-8")
    if re.search(r"^\s*include\b", text, re.M) or "t5.T5Config:" not in text:
        raise ValueError(
            f"{path}: without gin only a file like gin/models/base.gin is read, which binds the "
            "fields of t5.T5Config and includes nothing"
        )
    block = text.split("t5.T5Config:", 1)[1]
    fields = {}
    for name, value in re.findall(r"^ +(\w+) = (.+)$", block, re.M):
        fields[name] = _literal(name, value)
    return T5Config(**(fields | changed))


def parse_fields(assignments: list[str]) -> dict[str, Any]:
    """["dtype='bfloat16'", "dropout_rate=0.1"] -> fields of T5Config.

    Raises:
      ValueError: one is not NAME=VALUE with a field of T5Config and a Python value.
    """
    fields = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ValueError(f"{assignment!r}: write NAME=VALUE, for instance dropout_rate=0.1")
        fields[name] = _literal(name, value)
    return fields


def _literal(name: str, value: str) -> Any:
    if name not in _FIELDS:
        raise ValueError(f"T5Config has no field {name!r}; it has {', '.join(sorted(_FIELDS))}")
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError) as error:
        raise ValueError(
            f"{name}={value}: give a plain value, for instance 64 or \"'bfloat16'\""
        ) from error


def _find(name_or_path: str) -> pathlib.Path:
    package = pathlib.Path(__file__).parents[1]
    places = [pathlib.Path(name_or_path)]
    if re.fullmatch(r"\w+", name_or_path):
        file = f"gin/models/{name_or_path}.gin"
        places = [root / file for root in (pathlib.Path(), package, package.parent)]
    for path in places:
        if path.is_file():
            return path
    raise ValueError(
        f"no model file {' or '.join(map(str, places))}: give the name of a file of gin/models, or "
        "the path of your own"
    )
