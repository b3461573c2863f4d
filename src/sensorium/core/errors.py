"""Exceptions that end a command: wrong usage, failure, and stop by a signal."""


class Usage(Exception):
    """Wrong usage. The message is one line: what is wrong and what is allowed (exit code 2)."""


class Failure(Exception):
    """A failure during work. The message is one line: the reason and what remains (exit code 1)."""


class Interrupted(Exception):
    """Stopped by a signal after the state was saved; the exit code is 128 + the signal's number: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""

    def __init__(self, message: str, signal: int = 2):
        super().__init__(message)
        self.signal = signal


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP outside a training step; handled like Ctrl-C."""

    def __init__(self, signal: int):
        super().__init__()
        self.signal = signal


def nearest(name: str, known: list[str], what: str) -> str:
    """The message for an unknown name: the closest known names if there are any, else all of them."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"no {what} '{name}'; did you mean {' or '.join(close)}?"
    return f"no {what} '{name}'; known: {', '.join(sorted(known)) or 'none'}"
