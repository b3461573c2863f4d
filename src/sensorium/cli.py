# PYTHON_ARGCOMPLETE_OK
"""The command line, built from the registry. Each command imports the heavy modules that it needs."""

import argparse
import inspect
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sensorium.core.errors import Failure, Interrupted, Terminated, Usage
from sensorium.usage import complete, parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 0 done, 1 failed, 2 wrong usage, 130 interrupted (143 by SIGTERM, 129 by SIGHUP)."""
    options = argparse.Namespace(command="")
    try:
        catch_termination()
        main_parser = parser()
        complete(main_parser)
        options, rest = main_parser.parse_known_args(arguments)
        options.line = sys.argv[1:] if arguments is None else arguments
        import_modules(options)
        settings = options.command in ("train", "plan")
        if not settings:
            rest = named_world(options, rest)
        if rest and not settings:
            raise Usage(f"unknown argument {rest[0]} (`sensorium {options.command} --help` shows what is allowed)")
        COMMANDS[options.command](options, rest)
        return 0
    except Usage as error:
        return print_error(error, 2)
    except Failure as error:
        return print_error(error, 1)
    except Interrupted as error:
        return print_error(error, 128 + error.signal)
    except Terminated as error:
        return print_error("terminated; saved checkpoints are intact", 128 + error.signal)
    except KeyboardInterrupt:
        return print_error("interrupted; saved checkpoints are intact", 130)
    except BrokenPipeError:  # the reader of stdout has closed it; an error only for train
        sys.stderr.close()
        return int(options.command == "train")


def import_modules(options: argparse.Namespace) -> None:
    """`--import MODULE`: import the user's modules, which register environments, here and in worker processes."""
    if options.modules:
        from sensorium.envs.rows import MODULES, import_modules

        sys.path.insert(0, os.getcwd())
        import_modules(options.modules)
        os.environ[MODULES] = ",".join(filter(None, [os.environ.get(MODULES, ""), *options.modules]))


def named_world(options: argparse.Namespace, rest: list[str]) -> list[str]:
    """Put `--world.FIELD value` into `options.world`; returns the remaining arguments."""
    if not any(argument.startswith("--world.") for argument in rest) or "world" not in options:
        return rest
    from sensorium.settings import described, world_settings

    settings, rest = world_settings(rest)
    if not options.world:
        raise Usage(f"--world.{next(iter(settings))} is a setting of a named world; give --world NAME")
    options.world = described(options.world, settings)
    return rest


def catch_termination() -> None:
    """Make SIGTERM and SIGHUP raise Terminated, so that worlds and workers are closed; an ignored signal (nohup) stays ignored."""

    def terminate(number: int, frame: Any) -> None:
        raise Terminated(number)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, terminate)


def print_error(message: object, code: int) -> int:
    """Print one line to stderr and return the exit code."""
    from sensorium.core.log import tell

    tell(f"sensorium: {message}")
    return code


def emit(value: Any) -> None:
    """Print one JSON document to stdout."""
    print(json.dumps(value))


def prepare() -> None:
    """Configure the memory allocator; called before torch is used."""
    from sensorium.core.machine import keep_pages

    keep_pages()


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


def train(options: argparse.Namespace, rest: list[str]) -> None:
    """`sensorium train`: run a recipe for one or several seeds."""
    if options.recipe is None:
        if options.help:
            print(options.usage())
            return
        raise Usage("train needs a recipe; `sensorium list` shows them")
    prepare()
    from sensorium.settings import in_world, parse_settings

    check_device(options.device)
    check_place(options)
    if options.seed is not None and options.seeds:
        raise Usage("--seed for one run or --seeds for several, not both")
    if (options.seed or 0) < 0:
        raise Usage(f"--seed cannot be {options.seed}; at least 0")
    base = Path(options.out) if options.out else Path("runs") / re.sub(r"[^A-Za-z0-9.-]+", "-", options.recipe)
    recipe, rest = in_world(options.recipe, rest)
    if options.help:
        print(options.usage())
    todo = []
    for seed, folder in runs(options.seeds, options.seed or 0, base):
        todo.append((seed, folder, parse_settings(recipe, options.preset, [*rest, "--help"] if options.help else rest, folder)))
    for folder in trained(options, todo):
        print(f"trained: {folder} (`sensorium evaluate {folder}`, `sensorium report {folder}`)", file=sys.stderr)


def trained(options: argparse.Namespace, runs: list[Any]) -> Iterator[Path]:
    """Train each (seed, folder, stages), one after another, or side by side where a place is given; yields the finished folders."""
    import sensorium
    from sensorium import seeds
    from sensorium.core import jobs

    if len(runs) > 1 and options.on not in ("", "here"):
        with jobs.on(options.on), jobs.coming_from(jobs.Origin(here_command(options))):
            yield from seeds.train(options.recipe, options.preset, runs, options.tensorboard)
        return
    for seed, folder, stages in runs:
        yield sensorium.train(options.recipe, options.preset, folder, seed, options.device, options.on, stages, options.tensorboard)


def check_place(options: argparse.Namespace) -> None:
    """Check --on together with --device; jobs of a policy on a GPU stay here. Errors: core.errors.Usage."""
    if options.device == "cuda":
        if options.on not in ("", "here"):
            raise Usage("--device cuda needs --on here")
        options.on = "here"


def here_command(options: argparse.Namespace) -> str:
    """The command line with --on here."""
    words, rest = [], iter(options.line)
    for word in rest:
        if word == "--on":
            next(rest, None)
        elif not word.startswith("--on="):
            words.append(word)
    return shlex.join(["sensorium", *words, "--on", "here"])


def check_device(device: str) -> None:
    """Check that the device is available. Errors: core.errors.Usage."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise Usage("no CUDA device on this machine; allowed: --device cpu")


def runs(seeds: str | None, seed: int, base: Path) -> list[tuple[int, Path]]:
    """(seed, folder) of each run of a command line. Errors: core.errors.Usage for invalid `seeds`."""
    if not seeds:
        return [(seed, base)]
    first, dots, last = seeds.partition("..")
    if not (dots and first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise Usage(f"--seeds cannot be '{seeds}'; allowed: A..B, e.g. 0..2")
    return [(n, base / f"seed-{n}") for n in range(int(first), int(last) + 1)]


def evaluate(options: argparse.Namespace, _: list[str]) -> None:
    """`sensorium evaluate`: scores of a trained agent."""
    prepare()
    import sensorium
    from sensorium.core import jobs

    check_device(options.device)
    check_place(options)
    with jobs.coming_from(jobs.Origin(here_command(options))):
        result = sensorium.evaluate(options.dir, options.episodes, options.seed, options.senses, options.world, options.device, options.on)
    if options.json:
        return emit(result)
    low, high = result["ci95"]
    print(
        f"{options.dir} in {result['world']}, senses {result['senses'] or 'unchanged'}, {result['episodes']} episodes from seed {result['seed']}"
    )
    print(
        f"mean {result['mean']:.1f} (95 % interval {low:.1f} to {high:.1f})   sd {result['sd']:.1f}   median {result['median']:.1f}   IQM {result['iqm']:.1f}"
    )
    print(f"{result['seconds']:.1f} s, {result['env_steps_per_second']:,} env-steps/s")


def senses(options: argparse.Namespace, _: list[str]) -> None:
    """`sensorium senses`: an agent under every treatment of its observations, or two agents compared."""
    prepare()
    from sensorium.robustness.command import senses

    check_device(options.device)
    document, text, path = senses(options.dirs, options.world, options.episodes, options.seed, options.device, options.out)
    if options.json:
        return emit(document)
    print(f"{text}\npage: {path}")


def verify(options: argparse.Namespace, _: list[str]) -> None:
    """`sensorium verify`: a published table compared with our results."""
    prepare()
    from sensorium import registry
    from sensorium.core import jobs
    from sensorium.core.table import show

    if options.episodes is not None and options.episodes < 1:
        raise Usage(f"--episodes cannot be {options.episodes}; at least 1")
    measured = registry.look_up("TABLES", options.name, "table")
    with jobs.on(options.on), jobs.coming_from(jobs.Origin(here_command(options))):
        table = measured(options.agent, options.episodes)
    if options.json:
        return emit({"name": options.name, "rows": [row.plain() for row in table.rows]})
    print(show(options.name, table))


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


def export(options: argparse.Namespace, _: list[str]) -> None:
    """`sensorium export`: write recorded episodes as a Minari dataset, an agent as an ONNX file, or a page that runs without a server."""
    if options.to == "onnx":
        from sensorium.policies.export import export as to_onnx

        lines = to_onnx(options.dir, options.out)
    elif options.to == "web":
        from sensorium.web.export import export as to_web

        lines = to_web(options.dir, options.out)
    else:
        from sensorium.data.minari import export as to_minari

        name = to_minari(options.dir, options.out)
        lines = [f"written: MINARI_DATASETS_PATH={options.out}, minari.load_dataset('{name}')"]
    for line in lines:
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


def plan(options: argparse.Namespace, rest: list[str]) -> None:
    """`sensorium plan`: estimate time, disk and memory of a recipe with the settings of `sensorium train`."""
    prepare()
    from sensorium.plan import estimate

    result = estimate(options.recipe, options.preset, rest)
    if options.json:
        return emit(result)
    print(f"{options.recipe} --preset {options.preset}, from a few timed steps of each stage on this machine:")
    for stage in result["stages"]:
        print(f"  {stage['name']:12} {stage['steps']:>8,} steps  {stage['minutes']:8.1f} min  {stage['disk_mb']:8.2f} MB  {stage['where']}")
    print(
        f"  {'total':12} {'':>14}  {result['minutes']:8.1f} min  {result['disk_mb']:8.2f} MB of disk, {result['memory_mb']:.0f} MB of memory"
    )
    print(f"  {result['note']}")


def doctor(options: argparse.Namespace, _: list[str]) -> None:
    """`sensorium doctor`: check worlds, extras and tools on this machine."""
    from sensorium.doctor import diagnose, diagnose_world

    findings = diagnose_world(options.world) if options.world else diagnose()
    if options.json:
        return emit({"checks": findings})
    for finding in findings:
        print(
            f"{'works  ' if finding['works'] else 'missing'}  {finding['name']:28} {finding['detail'] if finding['works'] else finding['mend']}"
        )


def bench(options: argparse.Namespace, _: list[str]) -> None:
    """`sensorium bench`: measure throughput and baselines."""
    from sensorium import registry

    if not (registry.ROOT / "bench" / "rows.py").exists():
        raise Failure("bench needs the source checkout (pip install -e .): the package does not include its baselines")
    sys.path.insert(0, str(registry.ROOT))
    from bench import records  # type: ignore[import-not-found]

    records.restart_with(options.isa)
    prepare()
    from bench.rows import measured  # type: ignore[import-not-found]
    from sensorium.core.machine import facts

    earlier, rows = records.read(options.against) if options.against else {}, []
    for row in measured(options.name):
        row = records.compared({**row, "isa": options.isa}, earlier)
        rows.append(row)
        print(records.line(row), flush=True, file=sys.stderr if options.json else sys.stdout)
        if options.save:
            records.add(options.save, facts(), row)
    if options.json:
        emit({"machine": facts(), "rows": rows})


COMMANDS = {
    "list": list_, "plan": plan, "train": train, "evaluate": evaluate, "senses": senses, "verify": verify, "import": import_, "export": export, "report": report,
    "play": play, "doctor": doctor, "bench": bench,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
