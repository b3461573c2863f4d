"""Figures in one style, embedded in pages as images, with colour-blind-safe colours (Okabe & Ito 2008)."""

import base64
import io
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
