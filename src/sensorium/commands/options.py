"""Options that several commands have, and their output."""

import argparse
import json
import shlex
from typing import Any

from sensorium.core.errors import Usage


def check_place(options: argparse.Namespace) -> None:
    """Check --on together with --device; jobs of a policy on a GPU stay here. Errors: core.errors.Usage."""
    if options.device == "cuda":
        if options.on not in ("", "here"):
            raise Usage("--device cuda needs --on here")
        options.on = "here"


def check_device(device: str) -> None:
    """Check that the device is available. Errors: core.errors.Usage."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise Usage("no CUDA device on this machine; allowed: --device cpu")


def emit(value: Any) -> None:
    """Print one JSON document to stdout."""
    print(json.dumps(value))


def prepare() -> None:
    """Configure the memory allocator; called before torch is used."""
    from sensorium.core.machine import keep_pages

    keep_pages()


def here_command(options: argparse.Namespace) -> str:
    """The command line with --on here."""
    words, rest = [], iter(options.line)
    for word in rest:
        if word == "--on":
            next(rest, None)
        elif not word.startswith("--on="):
            words.append(word)
    return shlex.join(["sensorium", *words, "--on", "here"])
