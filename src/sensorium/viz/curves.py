"""Figures in one style, embedded in pages as images, with colour-blind-safe colours (Okabe & Ito 2008)."""

import base64
import io
from textwrap import wrap
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import style
from matplotlib.ticker import EngFormatter

INK = "#1c2833"
BLUE, ORANGE, GREEN, PINK, SKY, RED = "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"
STYLE: dict[str, Any] = {
    "font.size": 11, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": INK, "text.color": INK, "axes.labelcolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.grid": True, "grid.alpha": 0.25, "figure.facecolor": "white", "legend.frameon": False, "svg.fonttype": "path",
}  # fmt: skip


def canvas(width: float = 8.6, height: float = 3.4, columns: int = 1, lines: int = 1, **more: Any) -> tuple[Any, Any]:
    """A figure and its axes."""
    with style.context(STYLE):
        return plt.subplots(lines, columns, figsize=(width, height), constrained_layout=True, **more)


def picture(figure: Any, alt: str) -> str:
    """The figure as an <img> with embedded PNG data."""
    buffer = io.BytesIO()
    with style.context(STYLE):
        figure.savefig(buffer, format="png", dpi=130)
    plt.close(figure)
    return f'<img alt="{alt}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def close(figure: Any) -> None:
    """Free a figure that is not shown."""
    plt.close(figure)


def counted(*axes: Any) -> None:
    """Format large numbers on the x axes, such as frames, as 50k or 2M."""
    for axis in axes:
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))


def smooth(values: Any, window: int) -> np.ndarray:
    """Mean over a sliding window, shorter at the ends."""
    values = np.asarray(values, dtype=np.float64)
    window = max(1, min(window, len(values)))
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def bars(scores: dict[str, dict[str, Any]], labels: list[str], colours: dict[str, str], ylabel: str) -> str:
    """Bar chart of the scores by treatment with 95 % intervals, as HTML; 'n/a' where an agent has no score."""
    figure, axis = canvas(height=3.7)
    width = 0.8 / len(scores)
    for i, (name, results) in enumerate(scores.items()):
        for j, label in enumerate(labels):
            place = j + (i - (len(scores) - 1) / 2) * width
            if label not in results:
                axis.text(place, 0, " n/a", rotation=90, ha="center", va="bottom", fontsize=9, color=colours[name])
                continue
            mean, (low, high) = results[label]["mean"], results[label]["ci95"]
            axis.bar(place, mean, width * 0.92, color=colours[name], label=name if j == 0 else None)
            axis.errorbar(place, mean, [[mean - low], [high - mean]], color=INK, linewidth=1, capsize=2)
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.set_xticks(range(len(labels)), ["\n".join(wrap(label, 12)) for label in labels], fontsize=9.5)
    axis.set(xlim=(-0.5, len(labels) - 0.5), ylabel=ylabel)
    axis.legend(fontsize=9.5, ncols=len(scores), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return picture(figure, "bar chart of scores by treatment")
