"""A value for every field of every type that the log can hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect

from protocol import codec

TYPES: dict[str, type[msgspec.Struct]] = dict(codec._TYPES)
"""All messages, commands, notices and events, by name."""


def sample(kind: type[Any], text: Callable[[str], str] = lambda _path: "text") -> Any:
    """A value of a type with every field set; `text` gives each free string, from its path.

    `text` gives short words of letters and digits, which every pattern of ours takes but those
    that have a grammar of their own.
    """
    return msgspec.convert(_plain(inspect.type_info(kind), "", text, 0), kind)


def _plain(info: Any, path: str, text: Callable[[str], str], depth: int) -> Any:
    match info:
        case inspect.StructType():
            values = {
                field.encode_name: _plain(field.type, f"{path}.{field.name}", text, depth + 1)
                for field in info.fields
            }
            return values | ({info.tag_field: info.tag} if info.tag_field else {})
        case inspect.StrType(pattern=str(pattern)) if "audio|video" in pattern:
            return "video/VP8"
        case inspect.StrType(pattern=str(pattern)) if "0-9A-Fa-f" in pattern:
            return ":".join(["AB"] * 32)
        case inspect.StrType():
            return text(path)
        case inspect.LiteralType():
            return info.values[0]
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return max(7, info.ge or 0) if info.le is None or info.le >= 7 else info.le
        case inspect.FloatType():
            return 1.5
        case inspect.BytesType():
            return text(path).encode()
        case inspect.VarTupleType() | inspect.ListType():
            return [_plain(info.item_type, path, text, depth + 1)]
        case inspect.TupleType():
            return [
                _plain(item, f"{path}{n}", text, depth + 1)
                for n, item in enumerate(info.item_types)
            ]
        case inspect.DictType():
            return {text(path + ".key"): _plain(info.value_type, path + ".value", text, depth + 1)}
        case inspect.UnionType():
            some = [each for each in info.types if not isinstance(each, inspect.NoneType)]
            some.sort(key=lambda each: not isinstance(each, inspect.StrType))
            return _plain(some[0], path, text, depth + 1)
        case inspect.AnyType():
            return text(path)
        case inspect.EnumType():
            return next(iter(info.cls)).value
    raise AssertionError(f"no sample of {info}")
