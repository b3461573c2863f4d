"""Docstrings, which are plain text, as reStructuredText: code in single backticks, examples and aligned lines as they stand, nothing else marked up."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

BULLET = re.compile(r"(- |\d+\. )")


def restructured(lines: Iterable[str]) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    blocks = [list(block) for empty, block in groupby(lines, key=lambda line: not line.strip()) if not empty]
    return [line for block in blocks for line in (*marked_up(block), "")]


def marked_up(block: list[str]) -> Iterator[str]:
    """A block of lines between two empty ones: an example, a list, aligned lines or a paragraph."""
    if block[0].startswith(">>>"):
        yield from block
    elif BULLET.match(block[0]):
        for line in block:
            bullet = BULLET.match(line)
            yield bullet[0] + inline(line[bullet.end() :]) if bullet else "  " + inline(line.strip())
    elif any(re.match(r"\s", line) or re.search(r"\S {2,}\S", line) for line in block):
        yield from ("::", "", *("    " + line for line in block))
    else:
        yield from map(inline, block)


def inline(text: str) -> str:
    """A line with its code marked and everything else escaped."""
    parts = re.split(r"`([^`]+)`", text)
    marked = [f"\\ ``{part}``\\ " if i % 2 else re.sub(r"([\\*_|`])", r"\\\1", part) for i, part in enumerate(parts)]
    return "".join(marked).removeprefix("\\ ")
