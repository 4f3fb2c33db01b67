"""Several programs as one: started in order, started again when they die, stopped together."""

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import requests

from argo_alpine.domain import Unavailable

SOON, LONGEST = 1.0, 30.0  # seconds before a program that died is started again
STEADY = 60.0  # seconds after which a program counts as well again
GRACE = 12.0  # seconds a program has to stop by itself
PR_SET_PDEATHSIG = 1


def follow_parent() -> None:
    """Hear Ctrl+C, and die when whoever started us dies (the latter on Linux only)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    except (AttributeError, OSError):
        return


@dataclass
class Part:
    """A program that stays."""

    name: str
    words: Sequence[str | Path]
    ready: str  # URL that answers below 500 when it is
    env: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    deaths: int = 0
    again_at: float | None = None

    def start(self, folder: Path) -> None:
        """Run it, with what it says in a file."""
        path = folder / f"{self.name}.out"
        with path.open("ab") as out:
            os.chmod(path, 0o600)
            # a session of its own: Ctrl-C reaches us alone, and we stop the parts in order
            self.process = subprocess.Popen(
                [str(word) for word in self.words],
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=follow_parent,
            )
        self.began, self.again_at = time.monotonic(), None

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return requests.get(self.ready, timeout=1).ok
        except requests.RequestException:
            return False

    def answers(self) -> bool:
        """Whether anything at all answers."""
        try:
            requests.get(self.ready, timeout=1)
        except requests.RequestException:
            return False
        return True


class Supervisor:
    """Starts parts in order and keeps them running until told to stop."""

    def __init__(self, parts: Sequence[Part], folder: Path, tell: Callable[[str], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.parts, self.folder, self.tell = parts, folder, tell
        self.ended = threading.Event()

    def start(self, part: Part, within: float = 60.0) -> None:
        """Start one and wait until it answers. *Raises* `Unavailable`."""
        part.start(self.folder)
        until = time.monotonic() + within
        while not part.answers():
            if part.process is not None and part.process.poll() is not None:
                raise Unavailable(f"{part.name} ended at once: {self.last_words(part)}")
            if time.monotonic() > until:
                raise Unavailable(f"{part.name} does not answer at {part.ready}")
            if self.ended.wait(0.1):
                return

    def last_words(self, part: Part) -> str:
        """The last line a part wrote."""
        lines = (self.folder / f"{part.name}.out").read_text(errors="replace").splitlines()
        said = next((line for line in reversed(lines) if line.strip()), "nothing was said")
        return f"{said} (more in {self.folder / part.name}.out)"

    def watch(self, seconds: float) -> None:
        """Wait a little, then look after the parts."""
        if not self.ended.wait(seconds):
            for part in self.parts:
                self.look_after(part)

    def look_after(self, part: Part) -> None:
        """Start a part again that has died; the more often, the later."""
        now = time.monotonic()
        if part.process is None:
            return
        if part.again_at is not None:
            if now >= part.again_at:
                part.start(self.folder)
                self.tell(f"{part.name} is started again")
            return
        code = part.process.poll()
        if code is None:
            if now - part.began > STEADY:
                part.deaths = 0
            return
        wait = min(SOON * 2**part.deaths, LONGEST)
        part.deaths += 1
        part.again_at = now + wait
        self.tell(f"{part.name} has stopped (exit code {code}): again in {wait:.0f} s")

    def stop(self) -> None:
        """Stop every part, the last started first; none is left."""
        self.ended.set()
        for part in reversed(self.parts):
            if part.process is not None and part.process.poll() is None:
                os.killpg(part.process.pid, signal.SIGINT)
        until = time.monotonic() + GRACE
        for part in reversed(self.parts):
            if part.process is None:
                continue
            try:
                part.process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(part.process.pid, signal.SIGKILL)
                part.process.wait(5)
