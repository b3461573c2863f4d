"""The commands and arguments of the command line, as data."""

import argparse
import os
from collections.abc import Callable
from typing import Any, NoReturn

from sensorium import __version__
from sensorium.core.errors import Usage

EPILOG = """\
examples:
  sensorium train cart-pole-clone --out runs/mine      train; the same command resumes
  sensorium evaluate zoo/cart-pole-clone --senses shuffle
  sensorium report runs/mine                           write a page with the results
  sensorium train cart-pole --help                     every setting of a recipe
"""


class Parser(argparse.ArgumentParser):
    """A parser that raises core.errors.Usage with a one-line message."""

    def error(self, message: str) -> NoReturn:
        raise Usage(f"{message} (`{self.prog} --help` shows what is allowed)")


PLAIN, JSON = False, True
Arguments = tuple[tuple[tuple[str, ...], dict[str, Any]], ...]


def argument(*names: str, **how: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The names and options of one argument, as for `add_argument`."""
    return names, how


MODULE = argument(
    "--import",
    dest="modules",
    action="append",
    default=[],
    metavar="MODULE",
    help="a module that registers Gymnasium environments, for gym:ID",
)
WORLD = argument(
    "--world",
    metavar="NAME",
    help="default: the world of training; gym:ID, with --world.kwargs.NAME for its arguments; dream: the agent's world model",
)
DEVICE = argument("--device", default="cpu", choices=["cpu", "cuda"], help="default: cpu")
ON = argument(
    "--on",
    default="",
    metavar="PLACE",
    help="where jobs are computed: here, processes:N, ray (this machine) or ray:ADDRESS (default: one process per core for simulators, here for torch worlds)",
)
TRAIN: Arguments = (
    argument("recipe", nargs="?"),
    argument("-h", "--help", action="store_true", help="with a recipe: every setting of its stages"),
    argument("--preset", default="laptop", metavar="P", help="tiny (seconds), laptop (default) or paper (as published)"),
    argument("--out", metavar="DIR", help="the run's folder (default: runs/RECIPE)"),
    argument("--seed", type=int, metavar="N", help="seed of all random numbers (default: 0)"),
    argument("--seeds", metavar="A..B", help="several runs, in OUT/seed-A to OUT/seed-B; side by side with --on processes:N or ray"),
    DEVICE,
    ON,
    argument("--tensorboard", action="store_true", help="also write TensorBoard's event files into the stages' folders"),
)  # fmt: skip
EVALUATE: Arguments = (
    argument("dir", metavar="DIR", help="a run, a stage's folder or a zoo agent"),
    argument("--episodes", type=int, default=100, metavar="N", help="default: 100"),
    argument("--seed", type=int, default=0, metavar="N", help="default: 0"),
    argument("--senses", metavar="SPEC", help="treatment of observations, e.g. shuffle,noise:5 (default: as in training)"),
    WORLD,
    DEVICE,
    ON,
)
SENSES: Arguments = (
    argument("dirs", metavar="DIR", nargs="+", help="a run, a stage's folder or a zoo agent; a second one to compare"),
    argument("--world", metavar="NAME", help="default: the world of training; dream: the agent's world model"),
    argument("--episodes", type=int, default=100, metavar="N", help="episodes of each treatment (default: 100)"),
    argument("--seed", type=int, default=0, metavar="N", help="default: 0"),
    argument("--out", metavar="DIR", help="folder of senses.html and senses.json (default: the agent's; of two, the current one)"),
    DEVICE,
)
VERIFY: Arguments = (
    argument("name", metavar="NAME"),
    argument("--agent", metavar="DIR", help="the agent to evaluate (default: the zoo's)"),
    argument("--episodes", type=int, metavar="N", help="default: as many as the paper"),
    ON,
)
LINES: dict[str, tuple[str, bool, Arguments]] = {
    "list": ("recipes and trained agents", JSON, ()),
    "plan": (
        "minutes, disk and memory of a recipe, with the settings of `train`, on this machine", JSON,
        (argument("recipe"), argument("--preset", default="laptop", metavar="P", help="tiny, laptop (default) or paper")),
    ),
    "train": ("run every stage of a recipe; the same command resumes", PLAIN, TRAIN),
    "evaluate": ("scores of a trained agent over many episodes", JSON, EVALUATE),
    "senses": ("returns of one or two agents under every treatment of their observations, paired with untreated episodes", JSON, SENSES),
    "verify": ("compare a published table with our results", JSON, VERIFY),
    "import": (
        "the original authors' published files, or a policy as an ONNX file -> an agent", PLAIN,
        (
            argument("kind", metavar="KIND"), argument("files", metavar="FILE", nargs="+"), argument("--out", required=True, metavar="DIR"),
            argument("--world", metavar="NAME", help="onnx: the world in which the policy acts"),
            argument(
                "--units", choices=["world", "environment"],
                help="onnx: whether its actions are those of the world (default) or in the environment's own units, which the world scales",
            ),
        ),
    ),
    "export": (
        "write recorded episodes as a Minari dataset, an agent as an ONNX file, or as a page that runs without a server", PLAIN,
        (
            argument("dir", metavar="DIR", help="minari: a run, or a stage that has recorded episodes; onnx, web: an agent"),
            argument("--to", required=True, choices=["minari", "onnx", "web"]),
            argument("--out", required=True, metavar="DIR", help="a folder of Minari datasets, the folder of policy.onnx, or an empty folder for the page"),
        ),
    ),
    "report": (
        "write report.html, one self-contained page", PLAIN,
        (
            argument("dir", metavar="DIR", help="a run, a stage's folder or a zoo agent"),
            argument("--out", metavar="DIR", help="its folder (default: the run's; the current one for an agent of the installed package or the store)"),
        ),
    ),
    "play": (
        "the playground in the browser: change an agent's senses, or drive in its dream", PLAIN,
        (
            argument("dirs", metavar="DIR", nargs="*", help="runs, stages' folders or zoo agents (default: the zoo)"),
            argument("--host", default="127.0.0.1", metavar="H", help="address to listen on (default: 127.0.0.1, this machine only; others need the token that is printed)"),
            argument("--port", type=int, metavar="N", help="default: the first free one from 8200 on"),
            argument("--no-browser", action="store_true", help="print the address, and open no browser"),
        ),
    ),
    "doctor": (
        "check worlds, extras and tools on this machine, and how to fix what fails", JSON,
        (argument("--world", metavar="gym:ID", help="check one Gymnasium environment instead: its interface, that a seed repeats, its speed"),),
    ),
    "bench": (
        "throughput on this machine, compared with a baseline measured in the same run", JSON,
        (
            argument("names", metavar="NAME", nargs="*", help="only rows that begin with one of the names"),
            argument(
                "--isa", choices=["native", "avx2"], default="native",
                help="avx2: as on a processor with AVX2 and without bfloat16 (everything in float32)",
            ),
            argument("--save", metavar="FILE", help="add the rows to this JSON file, each as it is measured; rows of both --isa may share a file"),
            argument("--against", metavar="FILE", help="show the rows of a file written by --save beside those measured"),
        ),
    ),
}  # fmt: skip
"""command -> description, whether it has --json, arguments"""


def parser() -> Parser:
    """The parser of all commands."""
    main = Parser(
        "sensorium",
        description="Train, evaluate and verify AttentionNeuron, World Models, Proto-RL and RND agents.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    main.add_argument("--version", action="version", version=f"sensorium {__version__}")
    commands = main.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (description, has_json, arguments) in LINES.items():
        # the help of a recipe needs its stages
        command = commands.add_parser(name, help=description, description=description, allow_abbrev=False, add_help=name != "train")
        command.set_defaults(usage=command.format_help)
        if has_json:
            command.add_argument("--json", action="store_true", help="one JSON document on stdout and nothing else there")
        for names, how in (*arguments, MODULE):
            action = command.add_argument(*names, **how)
            action.completer = COMPLETIONS.get((name, action.dest))  # type: ignore[attr-defined]
    return main


def entries(kind: str) -> Callable[..., list[str]]:
    """A function that lists a table of the registry, for a shell's completion."""

    def names(**_: Any) -> list[str]:
        from sensorium import registry

        return list(registry.table(kind))

    return names


def folders(prefix: str, **_: Any) -> list[str]:
    """Runs, stages and zoo agents whose names begin with `prefix`."""
    from pathlib import Path

    from sensorium.core import zoo

    folder = Path(prefix) if prefix.endswith("/") else Path(prefix).parent
    here = [str(path) for path in (folder.iterdir() if folder.is_dir() else ()) if path.is_dir()]
    return sorted({*here, *(f"zoo/{path.name}" for path in zoo.FOLDER.glob("*") if path.is_dir())})


COMPLETIONS: dict[tuple[str, str], Callable[..., list[str]]] = {
    ("train", "recipe"): entries("RECIPES"), ("plan", "recipe"): entries("RECIPES"), ("verify", "name"): entries("TABLES"),
    ("import", "kind"): entries("IMPORTS"), ("evaluate", "dir"): folders, ("senses", "dirs"): folders, ("report", "dir"): folders, ("export", "dir"): folders,
    ("play", "dirs"): folders, ("verify", "agent"): folders,
    **{(command, "preset"): lambda **_: ["tiny", "laptop", "paper"] for command in ("train", "plan")},
}  # fmt: skip
"""(command, argument) -> what a shell completes it with"""


def complete(main: Parser) -> None:
    """Answer a shell that asks for completions: `eval "$(register-python-argcomplete sensorium)"` has it ask (extra `completion`)."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(main)
