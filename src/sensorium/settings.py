"""Second pass of the command line: a recipe's flags, and its stages' fields, which tyro parses from the dataclasses."""

import contextlib
import inspect
import io
import json
import os
import re
from dataclasses import field, fields, is_dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any

from sensorium import registry
from sensorium.core import zoo
from sensorium.core.errors import Usage, nearest
from sensorium.core.recipe import Recipe, Stages
from sensorium.core.stage import folders, unplaced
from sensorium.envs.worlds import GYM


def parse_settings(name: str, preset: str, arguments: list[str], folder: Path) -> Stages:
    """The stages of a recipe with the command line's changes; Folder fields become relative to the stages' folders in the run's `folder`.

    Errors: core.errors.Usage.
    """
    recipe = registry.recipe(name)
    flags, arguments = recipe_flags(recipe, arguments)
    stages = recipe.stages(preset, **flags)
    for argument in (a for a in arguments if a.startswith("-") and a not in ("-h", "--help") and not _number(a)):
        check(argument, stages, recipe)
    chosen = parse_stages(every_stage(arguments, stages), stages, recipe)
    return {key: relative_to(stage, stages[key], folder / f"{i}-{key}") for i, (key, stage) in enumerate(chosen.items(), 1)}


def world_settings(arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The settings of a named world, `--world.FIELD value` and `--world.kwargs.NAME value`, and the remaining arguments.

    Values are read as JSON, else as text. Errors: core.errors.Usage for one without a value.
    """
    settings: dict[str, Any] = {}
    remaining, rest = [], list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--world."):
            remaining.append(argument)
            continue
        key, equals, value = argument.partition("=")
        if not equals and not rest:
            raise Usage(f"{key} needs a value")
        value = value if equals else rest.pop(0)
        with contextlib.suppress(ValueError):
            value = json.loads({"True": "true", "False": "false"}.get(value, value))
        name, _, inner = key.removeprefix("--world.").partition(".")
        name = name.replace("-", "_")
        if inner:
            settings.setdefault(name, {})[inner] = value
        else:
            settings[name] = tuple(str(value).split(",")) if name in ("keys", "coverage") else value
    return settings, remaining


def described(world: str, settings: dict[str, Any]) -> str:
    """A world's name that includes settings, for `envs.worlds.world`."""
    return f"{world}?{json.dumps(settings, sort_keys=True)}" if settings else world


def in_world(recipe: str, arguments: list[str]) -> tuple[str, list[str]]:
    """A recipe and its arguments with the settings of its world within the world's name. Errors: core.errors.Usage where it names none."""
    settings, rest = world_settings(arguments)
    if not settings:
        return recipe, rest
    if GYM in recipe:
        return described(recipe, settings), rest
    for i, argument in enumerate(rest):
        if argument == "--world" and i + 1 < len(rest):
            return recipe, [*rest[: i + 1], described(rest[i + 1], settings), *rest[i + 2 :]]
        if argument.startswith("--world="):
            return recipe, [*rest[:i], described(argument, settings), *rest[i + 1 :]]
    raise Usage(f"--world.{next(iter(settings))} is a setting of a named world; give --world NAME, or a recipe of gym:ID")


def relative_to(stage: Any, default: Any, folder: Path) -> Any:
    """The stage with the folders given by the user made relative to its own folder, so that cards contain no absolute paths."""
    named = {name: str(zoo.located(Path(place))) for name, place in folders(stage).items() if place != getattr(default, name)}
    given = {name: os.path.abspath(place) for name, place in named.items() if os.path.isdir(place)}
    return unplaced(replace(stage, **given), folder)


def _number(text: str) -> bool:
    return re.fullmatch(r"-\d.*", text) is not None


def recipe_flags(recipe: Recipe, arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The recipe's flags (`--teacher DIR`) as values, and the remaining arguments. Errors: core.errors.Usage."""
    flags, remaining, rest = {}, [], list(arguments)
    while rest:
        argument = rest.pop(0)
        key, _, value = argument.partition("=")
        flag = key.removeprefix("--").replace("-", "_")
        if not key.startswith("--") or flag not in recipe.arguments:
            remaining.append(argument)
            continue
        if not value and (not rest or rest[0] == "--help"):
            raise Usage(f"{key} needs a value")
        value = value or rest.pop(0)
        default = recipe.arguments[flag]
        try:
            flags[flag] = {"True": True, "False": False}[value] if isinstance(default, bool) else type(default)(value)
        except (KeyError, ValueError):
            allowed = "allowed: True, False" if isinstance(default, bool) else f"it is a {type(default).__name__}, e.g. {default!r}"
            raise Usage(f"{key} cannot be '{value}'; {allowed}") from None
    return flags, remaining


def field_names(value: Any, prefix: str = "") -> list[str]:
    """Dotted names of all fields of a dataclass, including nested ones."""
    names = []
    for f in fields(value):
        inner = getattr(value, f.name)
        names += field_names(inner, f"{prefix}{f.name}.") if is_dataclass(inner) else [prefix + f.name]
    return names


def check(argument: str, stages: Stages, recipe: Recipe) -> None:
    """Check that an argument is a field of a stage. Errors: core.errors.Usage."""
    stage, dot, name = argument.partition("=")[0].lstrip("-").replace("-", "_").partition(".")
    allowed = {key.replace("-", "_"): field_names(value) for key, value in stages.items()}
    if not dot:
        own = [f"--{flag}" for flag in recipe.arguments]
        raise Usage(
            f"{recipe.name} has no argument {argument}; allowed: {', '.join([*own, '--<stage>.<field>'])} with stages {', '.join(stages)} (or stage, for all)"
        )
    names = sorted({n for known in allowed.values() for n in known}) if stage == "stage" else allowed.get(stage)
    if names is None:
        raise Usage(nearest(stage, [*stages, "stage"], f"stage of {recipe.name}"))
    if name not in names:
        raise Usage(nearest(name, names, f"field of {'any stage' if stage == 'stage' else stage}"))


def every_stage(arguments: list[str], stages: Stages) -> list[str]:
    """Expand `--stage.FIELD` to every stage of the recipe that has the field."""
    written: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--stage."):
            written.append(argument)
            continue
        values = []
        while "=" not in argument and rest and (not rest[0].startswith("-") or _number(rest[0])):
            values.append(rest.pop(0))
        name = argument.partition("=")[0].removeprefix("--stage.")
        key = name.replace("-", "_")
        for stage, value in stages.items():
            if key in field_names(value):
                written += [argument.replace("--stage.", f"--{stage}.", 1), *values]
    return written


def parse_stages(arguments: list[str], stages: Stages, recipe: Recipe) -> Stages:
    """The stages with fields parsed by tyro. Errors: core.errors.Usage with tyro's message in one line."""
    import tyro

    name, flags = recipe.name, ", ".join(f"--{flag} (default: {default!r})" for flag, default in recipe.arguments.items())
    description = (inspect.getdoc(getattr(recipe.build, "func", recipe.build)) or "").splitlines()
    # blank lines, because tyro joins consecutive lines
    about = "\n\n".join(line for line in [*description, f"flags of this recipe: {flags}" if flags else ""] if line)
    shown = {key.replace("-", "_"): narrowed(stage) for key, stage in stages.items()}
    kind: Any = make_dataclass("Recipe", [(key, type(stage), field(default=stage)) for key, stage in shown.items()])
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            chosen = tyro.cli(
                tyro.conf.AvoidSubcommands[tyro.conf.FlagConversionOff[kind]],
                args=arguments,
                prog=f"sensorium train {name}",
                description=about,
            )
    except SystemExit as end:
        if not end.code:
            raise
        words = " ".join(
            line.strip("│╭╮╰╯─ ") for line in stderr.getvalue().splitlines() if "─────" not in line and "full helptext" not in line
        )
        raise Usage(f"{name}: {' '.join(words.split())} (`sensorium train {name} --help` shows every field)") from None
    return {key: widened(getattr(chosen, key.replace("-", "_")), type(stage)) for key, stage in stages.items()}


def narrowed(stage: Any) -> Any:
    """The stage with dataclass-valued fields annotated by their class, since tyro cannot parse fields annotated by a protocol."""
    values = {f.name: getattr(stage, f.name) for f in fields(stage)}
    inner = [(name, type(value), field(default=value)) for name, value in values.items() if is_dataclass(value)]
    kind = make_dataclass(type(stage).__name__, inner, bases=(type(stage),), frozen=True, namespace={"__doc__": type(stage).__doc__})
    return kind(**values)


def widened(stage: Any, kind: type) -> Any:
    """The inverse of `narrowed`."""
    return kind(**{f.name: getattr(stage, f.name) for f in fields(stage)})
