"""A Ctrl+C that is not lost: libraries swallow or rename it while they are imported.

Where numba's C code imports a module, whatever is raised becomes an ImportError, and of those some
are expected and passed over. So it is remembered, and looked at where work begins and goes on.
"""

import signal
from collections.abc import Iterator
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
    try:
        yield
    finally:
        if is_usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def check() -> None:
    """*Raises* `KeyboardInterrupt` when there was one."""
    if CAME.is_set():
        raise KeyboardInterrupt
