# PYTHON_ARGCOMPLETE_OK
"""The command line: parses the arguments, runs one command, and turns errors into one line and an exit code."""

import argparse
import os
import signal
import sys
import threading
from typing import Any

from sensorium.commands.files import export, import_, list_, play, report
from sensorium.commands.machine import bench, doctor
from sensorium.commands.scores import evaluate, senses, verify
from sensorium.commands.training import plan, train
from sensorium.core.errors import Failure, Interrupted, Terminated, Usage
from sensorium.usage import complete, parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 0 done, 1 failed, 2 wrong usage, 130 interrupted (143 by SIGTERM, 129 by SIGHUP)."""
    options = argparse.Namespace(command="")
    try:
        shorten_waits()
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
        return print_error(f"terminated{checkpoint_note(options)}", 128 + error.signal)
    except KeyboardInterrupt:
        return print_error(f"interrupted{checkpoint_note(options)}", 130)
    except BrokenPipeError:  # the reader of stdout has closed it; an error only for train
        sys.stderr.close()
        return int(options.command == "train")


def checkpoint_note(options: argparse.Namespace) -> str:
    """What to add to a message about a command that was stopped: whether anything is kept."""
    return "; saved checkpoints are intact" if options.command == "train" else ""


SPINS = "30000"
"""number of checks for work by a waiting thread of libgomp before it sleeps"""


def shorten_waits() -> None:
    """Shorten the time for which a waiting thread of libgomp occupies its core; it has an effect only before torch is imported.

    By default it is some milliseconds, which slows other runs on the same cores (measured in docs/notes/speed.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


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


COMMANDS = {
    "list": list_, "plan": plan, "train": train, "evaluate": evaluate, "senses": senses, "verify": verify, "import": import_, "export": export, "report": report,
    "play": play, "doctor": doctor, "bench": bench,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
