"""The results of the suite as a page and as text for a terminal, for one agent or two."""

from typing import Any

import numpy as np
from matplotlib.patches import Patch

from sensorium.viz.curves import BLUE, INK, ORANGE, canvas, picture
from sensorium.viz.report import Page, Section, table

COLOURS = (BLUE, ORANGE)

PAIRS = (
    "Every episode under a treatment is paired with the control episode of the same seed: both have the same initial state and the same random "
    "numbers of the world. The difference is treated minus control, with a 95 % bootstrap interval over the pairs. The interval of a mean alone "
    "is often much wider, because initial states differ."
)


def number(value: float | None) -> str:
    """A return or a difference in a table."""
    if value is None:
        return "-"
    return f"{value:.{2 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}".replace("-0.00", "0.00")


def interval(mean: float | None, bounds: list[float] | None) -> str:
    """A number with its interval: -31.6 [-41.2, -23.2]."""
    return "-" if mean is None or bounds is None else f"{number(mean)} [{number(bounds[0])}, {number(bounds[1])}]"


def share(value: float | None) -> str:
    """A share of the control's mean return in percent."""
    return "-" if value is None else f"{100 * value:.0f} %"


def recovered(found: dict[str, Any]) -> str:
    """The recovery of one row as a sentence."""
    if not found["meaningful"]:
        return f"Recovery after the shuffle at step {found['step']}: not measured; {found['reason']}."
    begin, limit = f"Recovery after the shuffle at step {found['step']} ({found['pairs']} pairs)", f"more than {found['limit']}"
    if found["steps"] is None:
        return f"{begin}: none within {found['limit']} steps."
    low, high = (limit if bound is None else f"{bound:.0f}" for bound in found["ci95"])
    return f"{begin}: {found['steps']:.0f} steps, 95 % interval {low} to {high}."


def recoveries(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The recoveries that a document has."""
    return [row["recovery"] for row in document["rows"] if row["recovery"]]


def names(documents: list[dict[str, Any]]) -> list[str]:
    """The names of all rows in order."""
    return list(dict.fromkeys(row["name"] for document in documents for row in document["rows"]))


def row_of(document: dict[str, Any], name: str) -> dict[str, Any] | None:
    """A row by name."""
    return next((row for row in document["rows"] if row["name"] == name), None)


def text(document: dict[str, Any]) -> str:
    """The document of one agent for a terminal."""
    head = f"{document['agent']} in {document['world']}, {document['episodes']} episodes from seed {document['seed']}; control: {document['control'] or 'untreated'}"
    width = max(len(row["name"]) for row in document["rows"])
    lines = [head, f"{'':{width}}  {'mean':>8}  {'difference [95 % interval]':>28}  {'kept':>6}"]
    for row in document["rows"]:
        if row["applicable"]:
            difference = interval(row["difference"], row["difference_ci95"])
            lines.append(f"{row['name']:{width}}  {number(row['mean']):>8}  {difference:>28}  {share(row['share_kept']):>6}  {row['spec']}")
        else:
            lines.append(f"{row['name']:{width}}  not applicable: {row['reason']}")
    return "\n".join([*lines, *(recovered(found) for found in recoveries(document))])


def comparison_text(comparison: dict[str, Any]) -> str:
    """The comparison of two agents for a terminal."""
    first, second = comparison["agents"]
    width = max(map(len, names(comparison["agents"])))
    differences = {row["name"]: row for row in comparison["rows"]}
    lines = [f"A {first['agent']}, B {second['agent']}; {first['episodes']} episodes from seed {first['seed']}"]
    lines += [f"A in {first['world']}, B in {second['world']}"] if not comparison["paired"] else [f"both in {first['world']}"]
    lines.append(f"{'':{width}}  {'A':>8}  {'kept':>6}  {'B':>8}  {'kept':>6}  {'B - A [95 % interval]':>28}")
    for name in names(comparison["agents"]):
        cells = []
        for document in comparison["agents"]:
            row = row_of(document, name)
            cells += [number(row["mean"]), share(row["share_kept"])] if row and row["applicable"] else ["n/a", "-"]
        found = differences.get(name, {})
        cells.append(interval(found.get("difference"), found.get("difference_ci95")))
        lines.append(f"{name:{width}}  {cells[0]:>8}  {cells[1]:>6}  {cells[2]:>8}  {cells[3]:>6}  {cells[4]:>28}")
    lines += [
        f"{label}: {recovered(found)}" for label, document in zip("AB", comparison["agents"], strict=True) for found in recoveries(document)
    ]
    return "\n".join(lines + ([f"no paired differences: {comparison['reason']}"] if not comparison["paired"] else []))


def effects(documents: list[dict[str, Any]], relative: bool) -> str:
    """Paired differences with intervals by treatment, as an image; `relative` to the control's mean return in percent."""
    rows = [name for name in names(documents) if any(row_of(document, name) is not document["rows"][0] for document in documents)]
    figure, axis = canvas(height=1.1 + (0.27 + 0.1 * (len(documents) > 1)) * len(rows))
    height = 0.8 / len(documents)
    for i, document in enumerate(documents):
        unit = document["rows"][0]["mean"] / 100 if relative else 1.0
        for j, name in enumerate(rows):
            row, place = row_of(document, name), j + (i - (len(documents) - 1) / 2) * height
            if row is None or not row["applicable"]:
                axis.text(
                    0,
                    place,
                    " not applicable " if row else " not played ",
                    ha="right",
                    va="center",
                    fontsize=8.5,
                    color=COLOURS[i],
                    alpha=0.9,
                )
                continue
            mean, (low, high) = row["difference"] / unit, (bound / unit for bound in row["difference_ci95"])
            # pale where the interval contains no change
            axis.barh(place, mean, height * 0.88, color=COLOURS[i], alpha=0.35 if low <= 0 <= high else 1.0)
            axis.errorbar(mean, place, xerr=[[mean - low], [high - mean]], color=INK, linewidth=1, capsize=2)
    labels = [Patch(color=colour, label=document["agent"] or "the policy") for colour, document in zip(COLOURS, documents, strict=False)]
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.set_yticks(range(len(rows)), rows, fontsize=9.5)
    axis.set(ylim=(len(rows) - 0.4, -0.6))
    axis.set_xlabel("change of the return, % of the untreated mean" if relative else "change of the return")
    axis.grid(axis="y", visible=False)
    axis.set_axisbelow(True)
    axis.legend(handles=labels, fontsize=9.5, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return picture(figure, "paired differences of the return by treatment")


def recovery_curves(documents: list[dict[str, Any]]) -> str:
    """Reward per step around the shuffle in both arms, as an image; one panel for each agent."""
    shown = [(document, found) for document in documents for found in recoveries(document) if found["curve"]]
    figure, axes = canvas(columns=len(shown), height=3.2, sharey=True, squeeze=False)
    for (document, found), axis, colour in zip(shown, axes[0], COLOURS, strict=False):
        curve = found["curve"]
        x = np.arange(len(curve["treated"])) + curve["first"]
        for arm, tint in (("untreated", "#8a8f98"), ("treated", colour)):
            axis.plot(x, curve[arm], color=tint, linewidth=1.8, label={"untreated": "not shuffled", "treated": "shuffled"}[arm])
            axis.fill_between(x, curve[f"{arm}_low"], curve[f"{arm}_high"], color=tint, alpha=0.22, linewidth=0)
        axis.axvline(0, color=INK, linewidth=1)
        if found["meaningful"]:
            axis.plot(
                x,
                found["threshold"] * np.array(curve["untreated"]),
                color="#8a8f98",
                linewidth=1,
                linestyle=":",
                label="90 % of not shuffled",
            )
            if found["steps"] is not None:
                axis.axvline(found["steps"], color=colour, linewidth=1, linestyle="--", label=f"recovered after {found['steps']:.0f} steps")
        axis.set(xlabel="steps since the shuffle")
        axis.set_title(document["agent"] or "the policy", fontsize=10.5)
        axis.legend(fontsize=8.5, frameon=False)
    axes[0][0].set_ylabel("reward per step")
    return picture(figure, "reward per step around a shuffle")


def page(documents: list[dict[str, Any]], comparison: dict[str, Any] | None = None) -> Page:
    """The page of one agent, or of two with their comparison."""
    first, machine = documents[0], documents[0]["machine"]
    agents = " and ".join(document["agent"] or "a policy" for document in documents)
    relative = all(document["rows"][0]["mean"] > 0 for document in documents)
    sections = [
        Section(
            "What each treatment costs",
            (PAIRS,),
            (
                (
                    effects(documents, relative),
                    "Bars to the left of 0 are losses. Lines are 95 % intervals of the paired difference; pale bars have intervals that contain 0. "
                    "“Not applicable”: the architecture cannot take the treatment; the table gives the reason.",
                ),
            ),
        )
    ]
    if any(found["curve"] for document in documents for found in recoveries(document)):
        step = next(found["step"] for document in documents for found in recoveries(document))
        caption = f"Mean reward over windows of 25 steps, with 95 % intervals; episodes that last beyond step {step}, with reward 0 after their end."
        text = f"At step {step} the inputs are shuffled once. Up to then both arms are the same episodes, step by step."
        sentences = [f"{document['agent']}: {recovered(found)}" for document in documents for found in recoveries(document)]
        sections.append(Section("Recovery from one shuffle", (text, *sentences), ((recovery_curves(documents), caption),)))
    sections += [_table(document) for document in documents]
    if comparison is not None:
        sections.append(_differences(comparison))
    facts = (
        f"{first['episodes']} episodes from seed {first['seed']}; {machine['processor']}, {machine['cores']} cores, torch {machine['torch']}; "
        f"{sum(document['seconds'] for document in documents):.0f} s. `senses.json` beside this page has every number."
    )
    worlds = " and ".join(dict.fromkeys(document["world"] for document in documents))
    lead = f"How much of its return does a policy keep when its observations are disturbed? {agents} in {worlds}, under every treatment of the senses suite."
    return Page(f"Senses: {agents}", lead, facts, sections)


def _table(document: dict[str, Any]) -> Section:
    """All numbers of one agent."""
    rows = [
        (row["name"], row["spec"] or "none", interval(row["mean"], row["ci95"]), number(row["sd"]), interval(row["difference"], row["difference_ci95"]), share(row["share_kept"]))
        for row in document["rows"] if row["applicable"]
    ]  # fmt: skip
    missing = [(row["name"], row["spec"], row["reason"]) for row in document["rows"] if not row["applicable"]]
    head = ("treatment", "senses", "mean return [95 %]", "sd", "difference [95 %]", "kept")
    control = f"The control has the treatment of training, {document['control']}." if document["control"] else "The control is untreated."
    shown = [(table(head, rows), f"{control} “Kept” is the mean return as a share of the control's, where that is positive.")]
    if missing:
        shown.append(
            (table(("not applicable", "senses", "reason"), missing), "The architecture cannot take these treatments, which is no failure.")
        )
    return Section(document["agent"] or "The policy", (), tuple(shown))


def _differences(comparison: dict[str, Any]) -> Section:
    """Paired differences between two agents."""
    first, second = (document["agent"] for document in comparison["agents"])
    if not comparison["paired"]:
        return Section("Differences between the agents", (f"None are given: {comparison['reason']}.",))
    rows = [
        (
            row["name"],
            interval(row["difference"], row["difference_ci95"]),
            interval(row["effect_difference"], row["effect_difference_ci95"]),
        )
        for row in comparison["rows"]
    ]
    head = ("treatment", "return [95 %]", "effect of the treatment [95 %]")
    caption = f"{second} minus {first}, paired by seed. The second column is the difference of the changes from each agent's own control."
    return Section("Differences between the agents", (), ((table(head, rows), caption),))
