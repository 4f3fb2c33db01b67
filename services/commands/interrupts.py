"""A Ctrl+C that is not lost: libraries swallow or rename it while they are imported.

Where numba's C code imports a module, whatever is raised becomes an ImportError, and of those some
are expected and passed over; what is raised in a callback is printed and forgotten. So it is
remembered, and looked at where work begins, goes on and ends.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

INTERRUPTED = 130  # as shells have it: 128, and the number of the signal
CAME = Event()


def remember(number: int, frame: FrameType | None) -> None:
    """Do what Python does at a Ctrl+C, and keep in mind that there was one."""
    CAME.set()
    signal.default_int_handler(number, frame)


@contextmanager
def remembered() -> Iterator[None]:
    """Remember one while a command runs, unless it means something else here."""
    CAME.clear()
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_usual:
        signal.signal(signal.SIGINT, remember)
    said, sys.unraisablehook = sys.unraisablehook, but_for_interruptions(sys.unraisablehook)
    try:
        yield
    finally:
        sys.unraisablehook = said
        if is_usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def but_for_interruptions(
    say: Callable[["sys.UnraisableHookArgs"], object],
) -> Callable[["sys.UnraisableHookArgs"], object]:
    """Say what was raised where nobody can catch it, but not a Ctrl+C: it is not forgotten here."""

    def told(lost: "sys.UnraisableHookArgs") -> None:
        if not (CAME.is_set() and isinstance(lost.exc_value, KeyboardInterrupt)):
            say(lost)

    return told


def check() -> None:
    """*Raises* `KeyboardInterrupt` when there was one."""
    if CAME.is_set():
        raise KeyboardInterrupt
