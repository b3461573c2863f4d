"""The two ways in which a command ends early: the user can mend it (Usage), or the work failed (Failure)."""


class Usage(Exception):
    """Wrong usage: one line that says what is wrong and what is allowed (exit code 2)."""


class Failure(Exception):
    """The work could not go on: one line that says why and what is left (exit code 1)."""


class Interrupted(Exception):
    """Stopped by a signal after the state was saved; the exit code is 128 + the signal's number: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""

    def __init__(self, message: str, signal: int = 2):
        super().__init__(message)
        self.signal = signal


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP where no step can be finished first; handled as Ctrl-C is."""

    def __init__(self, signal: int):
        super().__init__()
        self.signal = signal


def nearest(name: str, known: list[str], what: str) -> str:
    """One sentence for an unknown name: the close ones if there are any, else all of them."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"no {what} '{name}'; did you mean {' or '.join(close)}?"
    return f"no {what} '{name}'; there are {', '.join(sorted(known)) or 'none'}"
