"""Published tables compared with our results, one row per cell."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from sensorium.core.stats import standard_error

Verdict = Literal["reproduced", "short", "differs", "not-comparable", "not-run"]


@dataclass(frozen=True)
class Row:
    """One cell. `aim` is "at-least" for a score to reach, "same" for a failure, a degradation or a property."""

    cell: str
    aim: Literal["at-least", "same"]
    paper_mean: float | None
    paper_sd: float | None
    paper_episodes: int | None
    mean: float | None = None
    sd: float | None = None
    ci95: tuple[float, float] | None = None
    episodes: int | None = None
    comparable: bool = True
    """whether our number was measured under the paper's protocol, e.g. after as many frames"""

    def measured(self, result: dict[str, Any]) -> "Row":
        """The row with our numbers, from the result of `evaluate`."""
        return Row(
            self.cell, self.aim, self.paper_mean, self.paper_sd, self.paper_episodes,
            result["mean"], result["sd"], (result["ci95"][0], result["ci95"][1]), result["episodes"], self.comparable,
        )  # fmt: skip

    @property
    def verdict(self) -> Verdict:
        """at-least: our 95 % interval reaches or passes the paper's mean. same: |ours - paper| <= max(1.96 SE, 0.1 |paper|).

        Under another protocol than the paper's, a number that would reproduce it is not comparable.
        """
        if self.mean is None or self.ci95 is None or self.paper_mean is None:
            return "not-run"
        if self.aim == "at-least":
            return self._reproduced if self.ci95[1] >= self.paper_mean else "short"
        ours = standard_error(self.sd or 0.0, self.episodes or 1)
        paper = standard_error(self.paper_sd or 0.0, self.paper_episodes or 1)
        allowed = max(1.96 * math.hypot(ours, paper), 0.1 * abs(self.paper_mean))
        return self._reproduced if abs(self.mean - self.paper_mean) <= allowed else "differs"

    @property
    def _reproduced(self) -> Verdict:
        return "reproduced" if self.comparable else "not-comparable"

    def plain(self) -> dict[str, Any]:
        """The row as in `verify --json`."""
        names = ("cell", "aim", "paper_mean", "paper_sd", "paper_episodes", "mean", "sd", "ci95", "episodes", "verdict")
        return {name: list(value) if isinstance(value := getattr(self, name), tuple) else value for name in names}


@dataclass(frozen=True)
class Table:
    """Rows, and a paragraph that explains them."""

    title: str
    rows: list[Row]
    meaning: str = ""


def show(name: str, table: Table) -> str:
    """The table as text for a terminal."""

    def number(mean: float | None, sd: float | None) -> str:
        if mean is None:
            return "-"
        digits = 3 if abs(mean) < 2 else 0
        return f"{mean:.{digits}f}" + (f" ± {sd:.{digits}f}" if sd is not None else "")

    width = max(44, *(len(row.cell) for row in table.rows))
    lines = [f"{name}: {table.title}", f"{'':{width}} {'paper':>14} {'ours':>14} {'95 % interval':>20}  verdict"]
    for row in table.rows:
        digits = 3 if row.mean is not None and abs(row.mean) < 2 else 1
        interval = f"{row.ci95[0]:.{digits}f} to {row.ci95[1]:.{digits}f}" if row.ci95 else ""
        lines.append(
            f"{row.cell:{width}} {number(row.paper_mean, row.paper_sd):>14} {number(row.mean, row.sd):>14} {interval:>20}  {row.verdict}"
        )
    return "\n".join([*lines, *([table.meaning] if table.meaning else [])])
