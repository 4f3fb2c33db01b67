"""What runs the sandbox: two listening places, a ticker, and books that survive a restart."""

import asyncio
import contextlib
import ipaddress
import json
import os
import socket
from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from argo_alpine.domain import InvalidSettings
from services.common.clock import Clock
from services.sandbox.control import Pace
from services.sandbox.faults import Faults
from services.sandbox.world import World

TICK = 0.25  # seconds between moves of the world
SAVE_EVERY = 5.0  # seconds
LONGEST_TICK = 1.0  # seconds; a machine that slept must not make the market jump


def checked_host(host: str) -> str:
    """*Raises* `InvalidSettings` unless only this machine can reach it."""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return host
    if host == "localhost":
        return "127.0.0.1"
    raise InvalidSettings(
        f"the sandbox listens on loopback only, host was {host!r}: use --host 127.0.0.1"
    )


def bound(host: str, port: int, option: str) -> socket.socket:
    """A listening place. *Raises* `InvalidSettings` when somebody else is there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named TCP, or asyncio would leave Nagle's algorithm on and every answer 40 ms late
    place = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        place.bind((host, port))
        place.listen(100)  # now, or a second sandbox could bind the same port unnoticed
    except OSError as error:
        place.close()
        raise InvalidSettings(
            f"port {port} on {host} cannot be used ({error.strerror}): "
            f"stop whatever listens there, or choose another with {option}"
        ) from error
    return place


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def load_state(world: World, path: Path) -> None:
    """Go on where the last run stopped. *Raises* `InvalidSettings` for a file that is not ours."""
    if not path.exists():
        return
    try:
        world.restore(json.loads(path.read_text()))
    except (ValueError, InvalidSettings) as error:
        raise InvalidSettings(f"{path} cannot be continued: {error}; use --fresh") from error


class QuietServer(uvicorn.Server):
    """A server whose signals are somebody else's business: there are two of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Nothing is captured."""
        yield


def quiet(app: ASGIApp) -> QuietServer:
    """A server without chatter."""
    return QuietServer(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            lifespan="off",
            ws="websockets-sansio",  # the older one warns of its own end
            ws_ping_interval=10.0,
            timeout_graceful_shutdown=2,
        )
    )


@dataclass(slots=True)
class Sandbox:
    """Both ports and what moves the world, in one loop."""

    world: World
    pace: Pace
    faults: Faults
    clock: Clock
    apps: tuple[ASGIApp, ASGIApp]  # the vendors', the control's; so are the places
    places: tuple[socket.socket, socket.socket]
    state: Path | None = None

    def addresses(self) -> tuple[str, str]:
        """Base URLs of the vendors' port and of the control port."""
        names = [place.getsockname() for place in self.places]
        hosts = [f"[{n[0]}]" if ":" in n[0] else n[0] for n in names]
        first, second = (f"http://{h}:{n[1]}" for h, n in zip(hosts, names, strict=True))
        return first, second

    async def run(self, ready: Callable[[Callable[[], None]], None] | None = None) -> None:
        """Serve until told to stop; `ready` is given the function that tells."""
        servers = [quiet(app) for app in self.apps]
        stopped = asyncio.Event()
        serving = [
            asyncio.create_task(server.serve(sockets=[place]))
            for server, place in zip(servers, self.places, strict=True)
        ]
        extra = [asyncio.create_task(work()) for work in self.work()]
        while not all(server.started for server in servers):
            await raised((*serving, *extra), TICK / 10)
        if ready:
            ready(stopped.set)
        waiting = asyncio.create_task(stopped.wait())
        await asyncio.wait((*serving, *extra, waiting), return_when=asyncio.FIRST_COMPLETED)
        await self.stop(servers, [*extra, waiting], serving)

    async def stop(
        self,
        servers: list[QuietServer],
        ending: list[asyncio.Task[Any]],
        serving: list[asyncio.Task[None]],
    ) -> None:
        """End everything, keep the books, and let no failure of a task pass unseen."""
        self.faults.cut("/")
        for server in servers:
            server.should_exit = True
        failed = [task for task in ending if task.done() and not task.cancelled()]
        for task in ending:
            task.cancel()
        await asyncio.gather(
            *serving, *(task for task in ending if task not in failed), return_exceptions=True
        )
        self.save()
        for done in (*failed, *serving):
            done.result()

    def work(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """What goes on beside serving."""
        return [self.tick, self.keep] if self.state else [self.tick]

    async def tick(self) -> None:
        """Move the world by the time that really passed."""
        before = self.clock.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = self.clock.monotonic()
            if self.pace.moves:
                self.world.move(min(now - before, LONGEST_TICK))
            before = now

    async def keep(self) -> None:
        """Write the books every few seconds."""
        while True:
            await asyncio.sleep(SAVE_EVERY)
            self.save()

    def save(self) -> None:
        """Write the books, when there is a place for them."""
        if self.state:
            write_state(self.state, self.world.state())


async def raised(tasks: tuple[asyncio.Task[Any], ...], seconds: float) -> None:
    """Wait a little. *Raises* what a task raised."""
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
