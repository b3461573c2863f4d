"""Cards: stages serialised to plain data and back. A card cannot run code: its names are looked up in a table."""

import importlib
import json
import math
import reprlib
import types
import typing
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from sensorium.core.errors import Failure, nearest
from sensorium.core.migrations import FORMAT, migrated

NAMES: dict[str, str] = {}
"""names allowed in cards -> import path, e.g. "cart-pole" -> "sensorium.envs.cart_pole:CartPole"; filled by the registry"""


def named(name: str) -> type:
    """The dataclass registered under a name. Errors: core.errors.Failure for an unknown name."""
    if name not in NAMES:
        raise Failure(nearest(name, list(NAMES), "stage, world or agent") + " (is the card from a newer Sensorium?)")
    module, _, attribute = NAMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def name_of(kind: type) -> str:
    """The name of a dataclass in cards. Errors: KeyError where it is not registered."""
    place = f"{kind.__module__}:{kind.__qualname__}"
    for name, where in NAMES.items():
        if where == place:
            return name
    raise KeyError(f"{place} has no name: add it to the registry")


def plain(value: Any) -> Any:
    """A dataclass as {"is": name, field: value, ...}, tuples as lists, numbers and strings unchanged. Errors: TypeError for other types."""
    if is_dataclass(value) and not isinstance(value, type):
        return {"is": name_of(type(value)), **{f.name: plain(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a card holds dataclasses, numbers, strings and tuples of them, not {type(value).__name__}")


def build(data: Any) -> Any:
    """The inverse of `plain`. Errors: core.errors.Failure for unknown names or fields, wrong types and missing fields."""
    try:
        return _build(data)
    except RecursionError:
        raise Failure("the card is damaged (nested too deeply)") from None


def _build(data: Any) -> Any:
    if isinstance(data, list):
        return tuple(_build(item) for item in data)
    if not isinstance(data, dict):
        return data
    kind = named(str(data.get("is", "")))
    known = {f.name: typing.get_type_hints(kind)[f.name] for f in fields(kind)}
    values = {name: _build(value) for name, value in data.items() if name != "is"}
    for name, value in values.items():
        if name not in known:
            raise Failure(f"{data['is']}: " + nearest(name, list(known), "field"))
        if not _fits(value, known[name]):
            raise Failure(f"{data['is']}: field '{name}' cannot be {reprlib.repr(value)}")
    try:
        return kind(**values)
    except TypeError as error:
        raise Failure(f"the card's {data['is']} is incomplete ({error})") from None


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value from a card is valid for a field of this type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, typing.NewType):
        return _fits(value, kind.__supertype__)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return not isinstance(kind, type) or isinstance(value, kind)


def read(folder: Path) -> dict[str, Any]:
    """The card of a stage's folder, migrated to the current format. Errors: core.errors.Failure where it is missing or damaged."""
    path = folder / "card.json"
    try:
        card = json.loads(path.read_text())
    except FileNotFoundError:
        raise Failure(f"{folder} holds no agent (no card.json)") from None
    except (OSError, ValueError, RecursionError) as error:
        raise Failure(f"{path} is damaged ({error})") from None
    try:
        card = migrated(card) if isinstance(card, dict) else {}
    except RecursionError:
        raise Failure(f"{path} is damaged (nested too deeply)") from None
    if card.get("format") != FORMAT or not isinstance(card.get("stage"), dict):
        raise Failure(f"{path} is not a card that this version of Sensorium reads (formats 1 to {FORMAT})")
    return card


def differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """The fields in which two plain values differ, as (dotted field, old, new)."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [*old, *(name for name in new if name not in old)]
        found = [differences(old.get(name), new.get(name), f"{path}.{name}" if path else name) for name in names]
        return [difference for part in found for difference in part]
    return [] if old == new else [(path, old, new)]
