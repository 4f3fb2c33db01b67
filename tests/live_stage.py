"""The real Argo against the real sandbox, both in this process, time moved by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from services.argo.app import Argo, wired
from services.common.clock import SandboxClock
from services.common.sections import Settings
from services.common.settings import sandboxed
from tests.sandbox_server import Running, running


class SteppedClock(SandboxClock):
    """Waiting, too, is measured in market time."""

    def monotonic(self) -> float:
        return self.market().timestamp()

    def wall(self) -> datetime:
        return self.market().astimezone(UTC)


def settings_for(server: Running, **argo: Any) -> Settings:
    """The sandbox's profile for these ports, without limits made for real time."""
    place = urlsplit(server.base)
    assert place.hostname and place.port
    control = urlsplit(server.control).port
    assert control
    profile = sandboxed(Settings(), host=place.hostname, port=place.port, control_port=control)
    data = profile.model_dump()
    data["alpha_vantage"]["calls_per_minute"] = 1_000_000
    data["argo"] |= {"patience_seconds": 1.0, **argo}
    return Settings.model_validate(data)


@dataclass
class Live:
    """Both sides of the conversation."""

    server: Running
    folder: Path
    settings: Settings
    argo: Argo

    def turn(self, seconds: float = 0.0) -> None:
        """Everybody looks once: sources, then the engine."""
        if seconds:
            self.server.step(seconds=seconds)
        for runner in self.argo.runners:
            runner.tick()
        self.argo.engine.cycle()

    def window(self) -> None:
        """The next window: look at its beginning, and twice more."""
        self.server.step(windows=1)
        self.turn()
        self.turn(3.0)
        self.turn(3.0)

    def day(self) -> None:
        """Five windows."""
        for _ in range(5):
            self.window()

    def restart(self) -> None:
        """The process died; all that is left is the book and the broker."""
        self.argo.writer.close()
        self.argo = wired(self.settings, self.folder, SteppedClock(self.server.control))


@contextmanager
def living(folder: Path, **options: Any) -> Iterator[Live]:
    """A sandbox that stands still and an Argo that does nothing until told."""
    with running(limited=False, **options) as server:
        settings = settings_for(server)
        argo = wired(settings, folder, SteppedClock(server.control))
        live = Live(server, folder, settings, argo)
        try:
            yield live
        finally:
            live.argo.writer.close()
