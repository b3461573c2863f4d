"""How the site is built: `make docs`. What can be read from the code (commands, recipes, results, API) is written by `generated.py` at build time."""

import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "docs")]

import docstrings  # noqa: E402
import generated  # noqa: E402
from docutils import nodes  # noqa: E402
from sphinx import addnodes  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402
from sphinx.util import logging  # noqa: E402

import sensorium  # noqa: E402

# dm_control, where it is installed, is imported for its source only
os.environ.setdefault("MUJOCO_GL", "disable")
project = "Sensorium"
version = release = sensorium.__version__
project_copyright = "the authors of Sensorium, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = f"Sensorium {version}"
html_show_sphinx = False
highlight_language = "text"
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
smartquotes = False  # options begin with two hyphens
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# of extras; what is documented does not need them
autodoc_mock_imports = ["dm_control", "mujoco"]
# names of other libraries are not looked up, there is no network; single capitals are type variables
nitpick_ignore_regex = [("py:.*", r"(?!sensorium\.).*"), ("py:class", r"sensorium\..*\.[A-Z]")]


def check_docstrings(app: Sphinx) -> None:
    """A public name without a docstring is a warning, and so an error in `make docs`."""
    for place in generated.undocumented():
        logging.getLogger(__name__).warning("%s has no docstring", place)


def fill_in(app: Sphinx, name: str, source: list[str]) -> None:
    """Replace each `<!-- generated: ... -->` of a page by what it names, and links to files that a page includes by links to that page."""
    source[0] = generated.moved(generated.fill_in(source[0]), Path(app.env.doc2path(name)), all_links=False)


def move_links(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    """Links of a file that a page includes lead from the page to where they led from the file."""
    content[0] = generated.moved(content[0], (ROOT / "docs" / path).resolve())


def docstring(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with `code` in single backticks."""
    lines[:] = docstrings.restructured(lines)


def hide_values(app: Sphinx, doctree: nodes.document) -> None:
    """Values of constants that are long tables, or paths of the machine that builds the site, are not shown."""
    for value in [*doctree.findall(addnodes.desc_annotation)]:
        text = value.astext()
        if text.startswith(" = ") and (len(text) > 60 or "Path(" in text):
            value.parent.remove(value)


def setup(app: Sphinx) -> None:
    """Check docstrings and draw the curves before the build."""
    app.connect("builder-inited", check_docstrings)
    app.connect("builder-inited", lambda _: generated.draw_curves())
    app.connect("source-read", fill_in)
    app.connect("include-read", move_links)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("doctree-read", hide_values)
