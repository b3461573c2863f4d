"""The documents are run: every command and every Python block of the README, the tutorials and the how-tos; every relative link leads somewhere.

A document is run from top to bottom in a folder of its own that holds `zoo`. So that this takes seconds, `sensorium train` gets `--preset tiny`
where it has no preset, `sensorium evaluate` gets `--episodes 2` where it has no number, and a cart-pole has 200 steps. What would change the machine (pip, git, make) is not run:
extras have to stand in pyproject.toml, targets in the Makefile. A kind of block or a program that this file does not know is an error.
"""

import argparse
import importlib
import json
import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from sensorium import cli, registry
from sensorium.core.machine import one_thread
from sensorium.core.recipe import Recipe
from sensorium.doctor import EXTRAS
from sensorium.envs import patches, sensors
from sensorium.systems.attention_neuron.official import LAYOUTS
from sensorium.usage import parser
from sensorium.web import command
from tests.conftest import REFERENCE

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RUN = [ROOT / "README.md", *sorted(DOCS.glob("tutorials/*.md")), *sorted(DOCS.glob("how-to/*.md"))]
"""documents whose blocks are run"""
LINKED = [*ROOT.glob("*.md"), *sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("src/sensorium/systems/*/README.md"))]
"""documents whose links are followed"""


class Block(NamedTuple):
    """A fenced block of a document."""

    kind: str
    text: str
    line: int


def blocks(document: Path) -> Iterator[Block]:
    """The fenced blocks of a document, in order."""
    kind, begun, lines = "", 0, list[str]()
    for number, line in enumerate(document.read_text().splitlines(), 1):
        fence = re.match(r"\s*```(.*)$", line)
        if fence and begun:
            yield Block(kind, "\n".join(lines), begun)
            begun = 0
        elif fence:
            kind, begun, lines = fence[1].strip(), number, []
        elif begun:
            lines.append(line)
    assert not begun, f"{document}:{begun}: a block without an end"


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a block of shell, each as its words."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word == "&&" and words:
                yield words
                words = []
            elif word != "&&":
                words.append(word)


def of_documents(path: Path) -> str:
    return str(path.relative_to(ROOT))


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pip(words: list[str]) -> None:
    """`pip install`: what it installs is an extra or a requirement of ours."""
    needed = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    required = {re.split(r"[<>=\[; ]", line)[0] for line in needed}
    assert words[0] == "install"
    wanted = [w for w in words[1:] if w not in ("-e", "--index-url") and not w.startswith("https://")]
    assert wanted
    for target in wanted:
        name, _, extras = target.rstrip("]").partition("[")
        assert name in (".", "sensorium") or name in required, f"pip install {target}"
        assert {extra for extra in extras.split(",") if extra} <= set(PROJECT["optional-dependencies"]), f"pip install {target}"


def make(words: list[str]) -> None:
    """`make TARGET`: there is such a target."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert words
    assert set(words) <= set(targets), f"make {' '.join(words)}"


def completion(words: list[str]) -> None:
    """`eval`: what argcomplete prints for our command."""
    assert words == ["$(register-python-argcomplete sensorium)"]


class Shell:
    """Runs the blocks of one document."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.absent: list[str] = []
        """run folders of recipes whose extras this Python has not: commands that name them are parsed and not run"""
        self.programs: dict[str, Callable[[list[str]], None]] = {
            "sensorium": self.sensorium, "pip": pip, "make": make, "git": lambda words: None, "cd": lambda words: None,
            "export": lambda words: None, "eval": completion, "tensorboard": lambda words: None,
        }  # fmt: skip
        self.kinds: dict[str, Callable[[Block], None]] = {
            "bash": self.bash,
            "python": self.python,
            "json": lambda block: json.loads(block.text),
            "text": lambda block: None,  # what a command prints, or a tree of files
        }

    def run(self, document: Path) -> None:
        for block in blocks(document):
            place = f"{document.name}:{block.line}"
            assert block.kind in self.kinds, f"{place}: a block of an unknown kind '{block.kind}'; known: {', '.join(self.kinds)}"
            try:
                self.kinds[block.kind](block)
            except Exception as error:
                raise AssertionError(f"{place}: {error}\n{block.text}") from error

    def bash(self, block: Block) -> None:
        for program, *words in commands(block):
            assert program in self.programs, f"an unknown program: {program}; known: {', '.join(self.programs)}"
            self.programs[program](words)

    def python(self, block: Block) -> None:
        if not any(folder in block.text for folder in self.absent):
            exec(compile(block.text, "a document", "exec"), self.names)

    def sensorium(self, words: list[str]) -> None:
        if words[0] == "train" and "--preset" not in words:
            words = [*words, "--preset", "tiny"]
        if words[0] == "evaluate" and "--episodes" not in words:
            words = [*words, "--episodes", "2"]
        options, _ = parser().parse_known_args(words)
        if words[0] == "play":  # runs until it is interrupted
            return self.play(options)
        if words[0] == "train" and not installed(registry.recipe(options.recipe)):
            self.absent.append(options.out or f"runs/{options.recipe}")
        if not any(word.startswith(folder) for word in words for folder in self.absent):
            assert cli.main(words) == 0, "sensorium " + " ".join(words)

    def play(self, options: argparse.Namespace) -> None:
        """`sensorium play`: its folders hold agents."""
        assert command.agents(options.dirs)


def installed(recipe: Recipe) -> bool:
    """Whether the extras of a recipe are here: Python 3.12 has no PyBullet, 3.13 no dm_control."""
    return all(find_spec(EXTRAS[extra]) for extra in recipe.extras)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_cart_poles: None) -> Iterator[Path]:
    """A folder like a checkout, with the zoo, and with files in place of those that the authors published."""
    (tmp_path / "zoo").symlink_to(ROOT / "zoo")
    random = np.random.default_rng(0)
    for name, kind in (("cartpole_pi", "cart-pole"), ("carracing_pi", "car-racing")):
        np.savez(tmp_path / f"{name}.npz", params=random.normal(0, 0.1, LAYOUTS[kind].layout.size).astype(np.float32))
    shapes = {"car_racing_controller": [(867,)], "car_racing_rnn": [(256, 480), (480,), (291, 1024), (1024,)]}
    for name, parts in shapes.items():
        arrays = [random.integers(-900, 900, shape).tolist() for shape in parts]
        (tmp_path / f"{name}.json").write_text(json.dumps(arrays if len(arrays) > 1 else [*arrays, 900.0]))
        if (REFERENCE / "world_models" / f"{name}.json").exists():
            shutil.copy(REFERENCE / "world_models" / f"{name}.json", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    # as in the tests of reports
    monkeypatch.setattr("sensorium.systems.attention_neuron.figures.cart_pole.EPISODES", 30)
    with one_thread():
        yield tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("document", RUN, ids=of_documents)
def test_the_blocks_of_a_document_run(document, folder):
    Shell().run(document)


@pytest.mark.parametrize("document", LINKED, ids=of_documents)
def test_relative_links_lead_somewhere(document):
    text = re.sub(r"```.*?```|`[^`\n]+`", "", document.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            assert (document.parent / target.partition("#")[0]).exists(), f"{document.name}: {target}"


def test_unknown_blocks_and_programs_are_errors(tmp_path):
    for text in ("```ruby\nputs 1\n```\n", "```\nls\n```\n", "```bash\ncurl x\n```\n", "```bash\npip install 'sensorium[nothing]'\n```\n"):
        (tmp_path / "document.md").write_text(text)
        with pytest.raises(AssertionError, match=r"document.md:1"):
            Shell().run(tmp_path / "document.md")
    (tmp_path / "document.md").write_text("```bash\nmake nothing\n```\n")
    with pytest.raises(AssertionError, match="make nothing"):
        Shell().run(tmp_path / "document.md")


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


def test_every_treatment_of_the_how_to_is_one_that_exists():
    vectors, images = (DOCS / "how-to" / "evaluate-with-senses.md").read_text().split("## Patches of images")
    for text, parse, grammar in ((vectors, sensors.parse, sensors.GRAMMAR), (images, patches.parse, patches.GRAMMAR)):
        listed = re.findall(r"^\| `(\S+)` \|", text, re.MULTILINE)
        assert all(len(parse(spec)) == 1 for spec in listed)
        assert {spec.partition(":")[0] for spec in listed} == {spec.strip().partition(":")[0] for spec in grammar.split(",")}


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that writes parts of the site."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("generated")


def test_every_public_name_of_the_api_has_a_docstring(generated):
    assert generated.undocumented() == []


def test_every_package_of_the_api_has_a_page(generated):
    pages = "\n".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    assert all(f"<!-- generated: api {package} -->" in pages for package in ("sensorium", *generated.PACKAGES, "equations"))


def test_the_results_show_every_agent_and_its_published_number(generated, monkeypatch):
    monkeypatch.setenv("COLUMNS", os.environ.get("COLUMNS", "80"))
    page = generated.fill_in((DOCS / "results.md").read_text())
    assert all(page.count(f"`{path.name}`") >= 2 for root in ("zoo", "docs/cards") for path in (ROOT / root).iterdir() if path.is_dir())
    commands = ["take-cover --temperature 0.5", "scratch.walker_run --observations states", "scratch.pendulum_swingup", "ant-clone"]
    assert all(f"`sensorium train {command} --preset laptop --seed 0`" in page for command in commands)
    assert all(generated.published(name) for name in registry.table("RECIPES"))
    assert "553 [529, 579]" in page
    # 1092 is the published number of temperature 1.15
    (row,) = (line for line in page.splitlines() if "take-cover.0.50" in line and "768" in line and "tables of its system" in line)
    assert "1092" not in row


def test_the_command_line_is_described_by_its_own_help(generated, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    page = generated.fill_in((DOCS / "command-line.md").read_text())
    assert all(f"usage: sensorium {name} " in page for name in cli.COMMANDS)
    assert all(f"| `{name}` |" in page for name in registry.table("RECIPES"))


def test_links_of_an_included_file_lead_where_they_led(generated):
    text = "[a](../../../../docs/notes/rnd.md#x) [b](../rnd/README.md) [c](equations.py) [d](https://example.org) [e](#here)"
    moved = generated.moved(text, ROOT / "src/sensorium/systems/proto_rl/README.md")
    assert moved == (
        "[a](/notes/rnd.md#x) [b](/systems/rnd.md) [c](/../src/sensorium/systems/proto_rl/equations.py) [d](https://example.org) [e](#here)"
    )


def test_links_of_a_page_to_an_included_file_lead_to_its_page(generated):
    moved = generated.moved("[a](../../src/sensorium/systems/rnd/README.md) [b](index.md)", DOCS / "notes" / "rnd.md", all_links=False)
    assert moved == "[a](/systems/rnd.md) [b](index.md)"


def test_docstrings_are_plain_text(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    restructured = importlib.import_module("docstrings").restructured
    assert restructured(["Weights *w* and `x_`.", "", "parse('a')     what it takes"]) == [
        r"Weights \*w\* and \ ``x_``\ .", "", "::", "", "    parse('a')     what it takes", "",
    ]  # fmt: skip
    assert restructured(["- a_", "  b", "- c"]) == [r"- a\_", "  b", "- c", ""]
