"""What the site reads from the code: commands, recipes, results with their curves, and the modules of the API. Nothing of it is written by hand, so it cannot be out of date."""

import ast
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "sensorium"
CURVES = ROOT / "build" / "curves"
PACKAGES = ("core", "nets", "envs", "data", "es", "rl", "imitation", "policies")
"""packages whose modules are all part of the API"""

PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "src/sensorium/systems/attention_neuron/README.md": "systems/attention-neuron.md",
    "src/sensorium/systems/world_models/README.md": "systems/world-models.md",
    "src/sensorium/systems/proto_rl/README.md": "systems/proto-rl.md",
    "src/sensorium/systems/rnd/README.md": "systems/rnd.md",
}
"""files of the repository -> the pages that include them"""

MARK = re.compile(r"^<!-- generated: (\w+)(?: (\S+))? -->$", re.MULTILINE)
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")


def fill_in(text: str) -> str:
    """A page with each `<!-- generated: WHAT [ARGUMENT] -->` replaced."""
    return MARK.sub(lambda mark: "\n".join(WRITERS[mark[1]](*filter(None, [mark[2]]))), text)


def moved(text: str, file: Path, all_links: bool = True) -> str:
    """The text of a file of the repository with its relative links, or only those to files that a page includes, as they lead from the root of the site."""

    def target(link: re.Match[str]) -> str:
        if re.match(r"[a-z]+:|/", link[2]):
            return link[0]
        path = os.path.relpath((file.parent / link[2]).resolve(), ROOT)
        if not all_links and path not in PAGES:
            return link[0]
        place = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}")
        return f"{link[1]}/{place}{link[3]}"

    return LINK.sub(target, text)


# the command line


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return ["", *("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines), ""]


def commands() -> Iterator[str]:
    """Every command as its own `--help` describes it."""
    from sensorium.usage import LINES, parser

    os.environ["COLUMNS"] = "100"
    choices = next(action.choices for action in parser()._actions if action.dest == "command")
    for name in LINES:
        yield from (f"## `sensorium {name}`", "", "```text", choices[name].format_help().rstrip(), "```", "")


def recipes() -> list[str]:
    """Every recipe: stages, its own flags, minutes on two cores, extras."""
    from sensorium import registry
    from sensorium.commands.files import chain

    rows = []
    for name in registry.table("RECIPES"):
        recipe = registry.recipe(name)
        flags = ", ".join(f"`--{flag.replace('_', '-')}`" for flag in recipe.arguments)
        hours = f"{recipe.minutes['laptop'] / 60:.2g}"
        rows.append((f"`{name}`", registry.system_of(name), chain(list(recipe.stages())), flags, hours, ", ".join(recipe.extras)))
    return table(("recipe", "system", "stages", "flags", "hours, `laptop`", "extras"), rows)


def names(kind: str) -> list[str]:
    """The names of all entries of a kind: worlds, tables, imports."""
    from sensorium import registry

    found = registry.WORLDS if kind == "WORLDS" else registry.table(kind)
    return ["", ", ".join(f"`{name}`" for name in found), ""]


# results


def published(name: str) -> str:
    """The published number of a recipe: the last part of what it says to expect."""
    from sensorium import registry

    return registry.recipe(name).expected.rpartition("; ")[2].replace("+-", "±")


def number(result: dict[str, Any], sd: bool = True) -> str:
    """A measured score as `mean ± sd [low, high]`."""
    digits = 1 if abs(result["mean"]) < 10 else 0
    low, high = result["ci95"]
    spread = f" ± {result['sd']:.{digits}f}" if sd else ""
    return f"{result['mean']:.{digits}f}{spread} [{low:.{digits}f}, {high:.{digits}f}]"


@dataclass(frozen=True)
class Agent:
    """A trained agent as its cards describe it."""

    folder: Path
    cards: dict[str, dict[str, Any]]
    """stage -> its card, in training order"""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def published(self) -> str:
        """The published number of its recipe, which is not that of an agent trained with other settings."""
        return published(self.last["recipe"]) if self.name == self.last["recipe"] else "in the tables of its system"

    @property
    def minutes(self) -> str:
        """Minutes of all stages that say how long they took."""
        known = [facts["results"]["minutes"] for facts in self.cards.values() if "minutes" in facts.get("results", {})]
        return f"{sum(known):.{int(sum(known) < 10)}f}" if known else "not recorded"

    @property
    def last(self) -> dict[str, Any]:
        """The card of the stage whose policy plays."""
        return list(self.cards.values())[-1]

    @property
    def command(self) -> str:
        """What trains such an agent, with the flags that its cards show: numbers of its last stage, the kind of observations, and the rounds."""
        from sensorium import registry

        facts, names = self.last, list(self.cards)
        recipe, stage = registry.recipe(facts["recipe"]), facts["stage"]
        found = {
            name: stage[name]
            for name, default in recipe.arguments.items()
            if isinstance(stage.get(name), int | float) and stage[name] != default
        }
        if "observations" in recipe.arguments and not stage["world"]["pixels"]:
            found["observations"] = "states"
        last = names[-1].partition("-")[2]
        if "rounds" in recipe.arguments and last != list(recipe.stages(facts["preset"]))[-1]:
            found["rounds"] = int(last.rpartition("-")[2])
        flags = [f"--{name.replace('_', '-')} {value}" for name, value in found.items()]
        return " ".join(["sensorium train", facts["recipe"], *flags, f"--preset {facts['preset']} --seed {facts['seed']}"])

    def evaluations(self, facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """What was evaluated -> its result."""
        return {what: result for what, result in facts.get("results", {}).items() if isinstance(result, dict) and "mean" in result}


def agents() -> list[Agent]:
    """The trained agents of the zoo, and those of which the checkout keeps only cards and curves."""
    from sensorium.core import card, checkpoint

    folders = sorted(
        (path for root in ("zoo", "docs/cards") for path in (ROOT / root).iterdir() if path.is_dir()), key=lambda path: path.name
    )
    return [Agent(folder, {path.name: card.read(path) for path in checkpoint.stages_of(folder)}) for folder in folders]


def results() -> list[str]:
    """The scores of each agent beside the published number, and the minutes of its training."""
    rows = []
    for agent in agents():
        first = (f"[`{agent.name}`](#{agent.name.replace('.', '')})", agent.published, agent.minutes)
        for what, result in agent.evaluations(agent.last).items():
            rows.append((first[0], what, number(result, sd=False), first[1], first[2]))
            first = ("", "", "")
    return table(("agent", "evaluated", "mean [95 % interval]", "published", "minutes"), rows)


def details() -> Iterator[str]:
    """Each agent: every evaluation in its cards, and its learning curves."""
    for agent in agents():
        yield from (f"### `{agent.name}`", "")
        yield f"`{agent.command}`, {agent.minutes} minutes."
        yield f"Published: {agent.published}."
        rows = [
            (stage, what, number(result), str(result["episodes"]), result.get("how", ""))
            for stage, card in agent.cards.items()
            for what, result in agent.evaluations(card).items()
        ]
        yield from table(("stage", "evaluated", "mean ± sd [95 % interval]", "episodes", "how"), rows)
        yield from (f"![learning curves of {agent.name}](../build/curves/{agent.name}.png)", "")


SCORES = ("evaluation/mean", "score/agent", "score/mean")
"""mean returns: of test episodes under two names, and of the episodes that a stage learns from; a stage without them shows its loss"""


def draw_curves() -> None:
    """A picture of the learning curves of each agent, in `build/curves`."""
    from matplotlib import pyplot, style

    from sensorium.core.checkpoint import stages_of
    from sensorium.core.log import rows
    from sensorium.viz.curves import BLUE, ORANGE, STYLE, canvas, counted, smooth

    CURVES.mkdir(parents=True, exist_ok=True)
    for agent in agents():
        stages = stages_of(agent.folder)
        figure, axes = canvas(columns=len(stages), squeeze=False)
        for axis, stage in zip(axes[0], stages, strict=True):
            log = rows(stage / "metrics.jsonl")
            along = next(name for name in ("frames", "agent-steps", "step") if name in log[0])
            metrics = [name for name in SCORES if sum(name in row for row in log) > 2] or ["loss"]
            for metric, colour in zip(metrics, (BLUE, ORANGE), strict=False):
                x, y = zip(*((row[along], row[metric]) for row in log if metric in row), strict=True)
                axis.plot(x, y, color=colour, alpha=0.3, linewidth=1)
                axis.plot(x, smooth(y, max(1, len(y) // 20)), color=colour, label=metric)
            axis.set(title=stage.name, xlabel=along.replace("-", " "))
            axis.legend()
        counted(*axes[0])
        with style.context(STYLE):
            figure.savefig(CURVES / f"{agent.name}.png", dpi=110)
        pyplot.close(figure)


# notes


def notes() -> list[str]:
    """The pages of `docs/notes`, whichever there are."""
    pages = sorted(path.stem for path in (ROOT / "docs" / "notes").glob("*.md") if path.stem != "index")
    return ["```{toctree}", ":maxdepth: 1", "", *pages, "```"] if pages else []


# the API


def modules(package: str) -> list[str]:
    """The modules of a package, those of its sub-packages too; of `equations`, one of each system."""
    if package == "equations":
        return [module_name(path) for path in sorted((SOURCE / "systems").glob("*/equations.py"))]
    if package == "sensorium":
        return ["sensorium", "sensorium.gym", "sensorium.nn", "sensorium.sb3"]
    return [module_name(path) for path in sorted((SOURCE / package).rglob("*.py")) if path.stat().st_size > 0 and has_members(path)]


def module_name(path: Path) -> str:
    """The dotted name of a module of the library."""
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


def public(path: Path) -> list[ast.FunctionDef | ast.ClassDef]:
    """The functions and classes of a module that have no leading underscore."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node for node in ast.parse(path.read_text()).body if isinstance(node, kinds) and not node.name.startswith("_")]


def has_members(path: Path) -> bool:
    """Whether a file defines anything public."""
    return bool(public(path))


def file_of(module: str) -> Path:
    """The file of a module."""
    path = SOURCE.parent / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def api(package: str) -> Iterator[str]:
    """The documentation of every module of a package, from its docstrings."""
    for module in modules(package):
        yield from (f"## `{module}`", "", "```{eval-rst}", f".. automodule:: {module}", "   :members:", "```", "")


def undocumented() -> list[str]:
    """Modules, functions and classes of the API that have no docstring."""
    missing = []
    for module in (name for package in ("sensorium", *PACKAGES, "equations") for name in modules(package)):
        path = file_of(module)
        missing += [] if ast.get_docstring(ast.parse(path.read_text())) else [module]
        missing += [f"{module}.{node.name}" for node in public(path) if not ast.get_docstring(node)]
    return missing


WRITERS: dict[str, Callable[..., Any]] = {
    "api": api, "commands": commands, "details": details, "names": names, "notes": notes, "recipes": recipes, "results": results,
}  # fmt: skip
