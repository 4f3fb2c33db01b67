"""One engine a book: the second to come is told who was first."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from argo_alpine.domain import InvalidSettings


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a book; the lock dies with the process, however it dies. *Raises* `InvalidSettings`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise InvalidSettings(
                f"book {path.stem} is run by process {file.read().strip() or 'unknown'}: "
                "stop that one, or name another book with --book"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
