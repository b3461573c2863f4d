"""One self-contained HTML page with text, tables, images and videos; it needs no other file and no network."""

import base64
import html
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sensorium.core.checkpoint import write as write_file
from sensorium.core.checkpoint import writing

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>
body {{ font: 17px/1.55 Georgia, serif; color: #1c2833; background: #fbfaf7; max-width: 880px; margin: 0 auto; padding: 2.5em 1.2em 5em }}
h1 {{ font-size: 2em; line-height: 1.2; margin: 0 0 .3em }} h2 {{ margin: 2.2em 0 .4em; font-size: 1.3em }}
p {{ margin: .5em 0 }} .facts, td, th, .caption {{ font: 14px/1.5 system-ui, sans-serif }} .facts {{ color: #5d6d7e }} .caption {{ color: #5d6d7e; margin: .2em 0 1.2em }}
img, video {{ max-width: 100%; border-radius: 6px; background: white; margin: .6em 0 0 }}
table {{ border-collapse: collapse; margin: 1em 0; width: 100% }} td, th {{ text-align: left; padding: .35em .7em; border-bottom: 1px solid #d9d5cb }} td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums }}
</style></head><body>{body}</body></html>
"""


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs of plain text, and figures as pairs (html, caption)."""

    title: str
    paragraphs: tuple[str, ...] = ()
    shown: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Page:
    """The contents of a report."""

    title: str
    lead: str
    facts: str
    sections: list[Section] = field(default_factory=list)


def video(path: Path) -> str:
    """A <video> with embedded MP4 data."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<video controls autoplay muted loop playsinline src="data:video/mp4;base64,{data}"></video>'


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """An HTML table; its first column is text, the others are numbers."""

    def line(cells: tuple[str, ...], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}{' class=n' if i else ''}>{html.escape(cell)}</{tag}>" for i, cell in enumerate(cells)) + "</tr>"

    return "<table>" + line(head, "th") + "".join(line(row, "td") for row in rows) + "</table>"


def compose(parts: Sequence[tuple[str, Callable[[], Section | None]]]) -> list[Section]:
    """Make sections one after another, each by its function, with progress and an estimate on stderr; those that are None are left out."""
    made, began = [], time.perf_counter()
    for number, (name, make) in enumerate(parts):
        seconds = time.perf_counter() - began
        left = f", about {seconds / number * (len(parts) - number):.0f} s left" if number and seconds > 2 else ""
        print(f"report {number + 1}/{len(parts)}: {name}{left}", file=sys.stderr, flush=True)
        made.append(make())
    return [section for section in made if section is not None]


def write(folder: Path, page: Page, name: str = "report.html") -> Path:
    """Write a page to a folder; returns its path."""
    parts = [f"<h1>{html.escape(page.title)}</h1><p>{html.escape(page.lead)}</p><p class=facts>{html.escape(page.facts)}</p>"]
    for section in page.sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>" + "".join(f"<p>{html.escape(text)}</p>" for text in section.paragraphs))
        parts += [f"{shown}<p class=caption>{html.escape(caption)}</p>" for shown, caption in section.shown]
    path = folder / name
    with writing(folder):
        write_file(path, PAGE.format(title=html.escape(page.title), body="\n".join(parts)).encode())
    return path
