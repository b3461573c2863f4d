"""`sensorium evaluate`, `senses` and `verify`."""

import argparse

from sensorium.commands.options import check_device, check_place, emit, here_command, prepare
from sensorium.core.errors import Usage


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
