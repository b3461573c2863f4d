"""`sensorium list`, `import`, `export`, `report` and `play`: what is in folders."""

import argparse
import inspect
import itertools
import re
import shutil
import sys
import textwrap
from pathlib import Path

from sensorium.commands.options import emit, prepare
from sensorium.core.errors import Usage


def list_(options: argparse.Namespace, _: list[str]) -> None:
    """`sensorium list`: recipes and trained agents."""
    from sensorium import registry
    from sensorium.core import card, checkpoint

    recipes, agents = [], []
    for name in registry.table("RECIPES"):
        recipe = registry.recipe(name)
        presets = {preset: list(recipe.stages(preset)) for preset in ("tiny", "laptop", "paper")}
        recipes.append({
            "name": name, "system": registry.system_of(name), "stages": presets["laptop"], "arguments": recipe.arguments, "preset": "laptop",
            "presets": list(presets), "expected": recipe.expected, "hours": {p: round(m / 60, 3) for p, m in recipe.minutes.items()}, "extras": list(recipe.extras),
        })  # fmt: skip
    for folder in checkpoint.shipped().values():
        facts = card.read(checkpoint.agent(folder))
        agents.append(
            {
                "name": folder.name,
                "folder": str(folder),
                "recipe": facts.get("recipe"),
                "seed": facts.get("seed"),
                "results": facts.get("results", {}),
            }
        )
    if options.json:
        return emit({"recipes": recipes, "agents": agents})
    print("recipes (sensorium train NAME)")
    for entry in recipes:
        print(paragraph(entry["name"], f"{chain(entry['stages'])}, {entry['hours']['laptop']:.2g} h on two cores", entry["expected"]))
    print("\ntrained agents (sensorium evaluate zoo/NAME)")
    for agent in agents:
        scores = ", ".join(
            f"{name} {value['mean']:.0f}" for name, value in agent["results"].items() if isinstance(value, dict) and "mean" in value
        )
        print(paragraph(agent["name"], f"seed {agent['seed']}: {scores}"))


def paragraph(name: str, *texts: str) -> str:
    """A name and texts in two columns, wrapped to the terminal's width."""
    width = max(shutil.get_terminal_size().columns, 60)
    lines = [line for text in texts for line in textwrap.wrap(text, width - 33, break_on_hyphens=False)]
    return "\n".join(f"  {name if i == 0 else '':30} {line}" for i, line in enumerate(lines))


def chain(stages: list[str]) -> str:
    """Stages in order, with numbered repetitions collapsed: "teacher -> (teach -> clone) x 8"."""
    names = [re.sub(r"-\d+$", "", stage) for stage in stages]
    kinds = list(dict.fromkeys(names))
    rounds = {kind: names.count(kind) for kind in kinds}
    parts = []
    for count, group in itertools.groupby(kinds, rounds.__getitem__):
        joined = " -> ".join(group)
        parts.append(joined if count == 1 else f"({joined}) x {count}")
    return " -> ".join(parts)


def import_(options: argparse.Namespace, _: list[str]) -> None:
    """`sensorium import`: convert files of others: the original authors' weights, or an ONNX policy."""
    import sensorium
    from sensorium import registry

    importer = registry.look_up("IMPORTS", options.kind, "kind of file")
    given = {name: value for name in ("world", "units") if (value := getattr(options, name))}
    known = inspect.signature(importer).parameters
    if unknown := [name for name in given if name not in known]:
        raise Usage(f"--{unknown[0]} is not for {options.kind}, whose files say it themselves")
    if "world" in known:
        if not options.world:
            raise Usage(f"import {options.kind} needs --world NAME, the world in which the policy acts")
        given["world"] = sensorium.world(options.world)
    for line in importer([Path(file) for file in options.files], Path(options.out), **given):
        print(line, file=sys.stderr)


EXPORTS = {"minari": "sensorium.data.minari:export", "onnx": "sensorium.policies.export:export", "web": "sensorium.web.export:export"}
"""target -> function(folder, out)"""


def export(options: argparse.Namespace, _: list[str]) -> None:
    """`sensorium export`: write recorded episodes as a Minari dataset, an agent as an ONNX file, or a page that runs without a server."""
    from sensorium.registry import resolve

    written = resolve(EXPORTS[options.to])(options.dir, options.out)
    for line in [f"written: MINARI_DATASETS_PATH={options.out}, minari.load_dataset('{written}')"] if options.to == "minari" else written:
        print(line, file=sys.stderr)


def report(options: argparse.Namespace, _: list[str]) -> None:
    """`sensorium report`: write report.html and print its path."""
    prepare()
    from dataclasses import replace

    from sensorium import registry
    from sensorium.core import card, checkpoint, zoo
    from sensorium.viz import logged
    from sensorium.viz.report import Page, write

    folder = zoo.located(Path(options.dir))
    stages = logged.stage_folders(folder) if folder.is_dir() else []
    underway = logged.unfinished(stages)
    system = registry.system_of_card(card.read(stages[-1] if stages else checkpoint.agent(folder)))
    try:
        if not system:
            raise Usage(f"{folder} belongs to no system, so there is no page for it; `sensorium evaluate {folder}` has its scores")
        page = registry.resolve(registry.system(system).REPORT)(folder)
    except Usage as error:
        if not underway:
            raise
        page = Page(folder.name, f"This page has what has been logged so far; the rest is missing: {error}.", "")
    if underway:
        lead = f"This run is in progress: {underway}. {page.lead}"
        page = replace(page, lead=lead, sections=[*page.sections, *logged.all_metrics(stages)])
        print(f"sensorium: in progress: {underway}", file=sys.stderr)
    out = Path(options.out) if options.out else folder if Path(options.dir).is_dir() else Path.cwd()
    with checkpoint.writing(out):
        out.mkdir(parents=True, exist_ok=True)
    print(write(out, page))


def play(options: argparse.Namespace, _: list[str]) -> None:
    """`sensorium play`: the playground in the browser, until Ctrl-C."""
    from sensorium.web.command import play

    play(options.dirs, options.host, options.port, not options.no_browser)
