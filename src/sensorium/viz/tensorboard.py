"""A run's metrics as TensorBoard's event files, in the folder of each stage: `tensorboard --logdir RUN` shows a stage as a run."""

import importlib
from pathlib import Path

from sensorium.core.errors import Usage
from sensorium.core.log import Sink


def require() -> None:
    """Check that TensorBoard is installed. Errors: core.errors.Usage."""
    try:
        importlib.import_module("torch.utils.tensorboard")
    except ImportError as error:
        raise Usage(f"--tensorboard: {error}; pip install 'sensorium[tensorboard]'") from None


def tensorboard(folder: Path, step: int) -> Sink:
    """A sink for the steps after `step`; later events of an earlier, interrupted run are purged."""
    from torch.utils.tensorboard import SummaryWriter

    return Writer(SummaryWriter(str(folder), purge_step=step + 1))


class Writer:
    """One scalar for each metric."""

    def __init__(self, writer: "SummaryWriter"):  # type: ignore[name-defined]
        self.writer = writer

    def add(self, step: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def flush(self) -> None:
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
