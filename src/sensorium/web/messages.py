"""Messages of the page to the server, as schemas, and the form of a frame."""

import json
import struct
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

LONGEST = 4096
"""bytes of a message of the page"""
AHEAD = 3
"""frames that the server sends ahead of the last one shown"""
CRASHES, WINDOW = 3, 60.0
"""a scene that crashes this often within so many seconds is not restarted"""

Name = Annotated[str, Field(max_length=200)]
Key = Literal["left", "right", "up", "down", "space"]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Message(BaseModel):
    """A message of the page: no other fields, no conversions of types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Open(Message):
    """Open a scene in place of the present one."""

    type: Literal["open"]
    agent: Name
    scene: Name
    seed: Count = 0


class Set(Message):
    """A control has a new value."""

    type: Literal["set"]
    name: Name
    value: bool | Whole | FiniteFloat | Name | Annotated[list[Count], Field(max_length=1000)]


class Press(Message):
    """A button was pressed."""

    type: Literal["press"]
    name: Name


class Keys(Message):
    """The keys that are held."""

    type: Literal["keys"]
    held: Annotated[list[Key], Field(max_length=5)]


class Pointer(Message):
    """The pointer over a panel; x and y are shares of its width and height."""

    type: Literal["pointer"]
    panel: Name
    x: Share
    y: Share
    down: bool


class Shown(Message):
    """A frame was drawn."""

    type: Literal["shown"]
    frame: Count


SCHEMA: TypeAdapter[Any] = TypeAdapter(Annotated[Open | Set | Press | Keys | Pointer | Shown, Field(discriminator="type")])


def parsed(text: str | bytes) -> dict[str, Any]:
    """The message in a text. Errors: ValueError, in one sentence."""
    data = text.encode(errors="replace") if isinstance(text, str) else text
    if len(data) > LONGEST:
        raise ValueError(f"the message has {len(data)} bytes; at most {LONGEST} are allowed")
    try:
        return SCHEMA.validate_json(data).model_dump()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"the message is not understood: {first['msg']}{f' ({place})' if place else ''}"[:300]) from None


def problem(message: str, fatal: bool = False) -> dict[str, Any]:
    """A problem, as one sentence for the visitor."""
    return {"type": "problem", "message": message, "fatal": fatal}


def merged(earlier: dict[str, Any], later: dict[str, Any], growing: list[str], reset: list[str]) -> dict[str, Any]:
    """The values of two frames as one: the points of `growing` panels are added, unless the later frame begins them anew; others replace."""
    added = {name: [*earlier[name], *later.get(name, [])] for name in growing if name in earlier and name not in reset}
    return {**earlier, **later, **added}


def frame(number: int, values: dict[str, Any], reset: list[str]) -> bytes:
    """A frame: the length of its JSON (uint32, little-endian), JSON, and the bytes of its pictures, which are arrays uint8 [h, w, 3]."""
    pictures = {name: np.ascontiguousarray(value) for name, value in values.items() if isinstance(value, np.ndarray)}
    blobs, offset = [], 0
    for name, picture in pictures.items():
        height, width, _ = picture.shape
        blobs.append({"panel": name, "offset": offset, "length": picture.nbytes, "width": width, "height": height})
        offset += picture.nbytes
    plain = {name: value for name, value in values.items() if name not in pictures}
    text = json.dumps({"frame": number, "values": plain, "reset": reset, "blobs": blobs}, allow_nan=False, separators=(",", ":")).encode()
    return b"".join([struct.pack("<I", len(text)), text, *(picture.tobytes() for picture in pictures.values())])
