"""Figure of a vector world: sensors of a real episode, M's one-step predictions, and dreams with the same actions."""

import torch

from sensorium.systems.world_models.figures.run import CONTEXT, DREAM, Run, encoded, open_loop, teacher_forced
from sensorium.viz.curves import BLUE, INK, ORANGE, RED, canvas, picture
from sensorium.viz.report import Section

SHOWN, DREAMS = 6, 8
"""number of sensors and of dreams in the figure"""


def trajectories(run: Run) -> Section | None:
    """Sensors over time: the episode, predictions of the next step, and dreams that begin after `CONTEXT` steps."""
    assert run.vision is not None
    assert run.memory is not None
    start = min(CONTEXT, len(run.frames) // 2)
    steps = min(DREAM, len(run.frames) - start)
    if steps < 2:
        return None
    z, _ = encoded(run)
    _, _, expected = teacher_forced(run, z, start + steps - 1)
    dreams = torch.stack([open_loop(run, z, start, steps, 1.0, seed) for seed in range(DREAMS)])
    changing = z.std(0).argsort(descending=True)[:SHOWN].sort().values.tolist()
    names = run.world.spec.sensors or tuple(f"sensor {i + 1}" for i in range(z.shape[1]))
    columns = min(len(changing), 3)
    figure, axes = canvas(8.6, 2.2 * -(-len(changing) // columns), columns, -(-len(changing) // columns), squeeze=False, sharex=True)
    for axis, i in zip(axes.flat, changing, strict=False):
        for number, dream in enumerate(dreams):
            axis.plot(range(start, start + steps), dream[:, i], color=ORANGE, lw=0.7, alpha=0.7, label="dreams" if number == 0 else None)
        axis.plot(range(start + steps), z[: start + steps, i], color=INK, lw=1.4, label="real")
        axis.plot(range(1, start + steps), expected[1 : start + steps, i], color=BLUE, lw=1, ls=":", label="predicted one step ahead")
        axis.axvline(start, color=RED, lw=0.8, ls="--")
        axis.set_title(names[i], fontsize=10)
        axis.set_xlabel("step")
    for axis in list(axes.flat)[len(changing) :]:
        axis.axis("off")
    axes.flat[0].set_ylabel("standard deviations")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9)
    text = (
        f"Up to the dashed line the input of M is the real observation. After it, in {DREAMS} dreams, its input is its own sample of the next observation and the "
        "recorded action. Good dreams surround the real curve and widen with time."
    )
    return Section("Dreams and the real episode", (text,), ((picture(figure, "sensors: real, predicted, dreamt"), "The sensors that change most, in standard deviations of the recorded episodes."),))  # fmt: skip
