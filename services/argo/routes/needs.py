"""What routes ask for by name, and what they answer when the book cannot be read."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, Protocol, TypeAlias

import structlog
from fastapi import Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from sqlalchemy.exc import DatabaseError

from argo_alpine.domain import InvalidJournal
from argo_alpine.records import digest
from services.argo.cycle import Engine
from services.argo.ports import SourceHealth
from services.argo.relay import Relay, RelayHealth
from services.common.fields import is_loopback
from services.common.sections import Settings

log = structlog.get_logger()

NEWEST = 2**63 - 1  # no cursor of SQLite goes beyond
Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]


class Runner(Protocol):
    """Whoever fetches from a source."""

    def health(self) -> SourceHealth:
        """How the source is doing."""


class Guarded(APIRoute):
    """A route that says so when the book cannot be read, and tells nothing else."""

    def get_route_handler(self) -> Handler:
        """The handler with its guard."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except (DatabaseError, InvalidJournal) as error:
                return broken(request, error)

        return guarded


def broken(request: Request, error: Exception) -> Response:
    """The answer when the book cannot be read; the log has the rest, under the same id."""
    wall = request.app.state.engine.clock.wall()
    name = digest((request.url.path, wall, str(error)))[:12]
    log.error("store_broken", id=name, path=request.url.path, exc_info=error)
    detail = "the book cannot be read: look for this id in the log"
    return JSONResponse({"detail": detail, "id": name}, 503)


def engine_of(request: Request) -> Engine:
    """The engine that this API is about."""
    engine: Engine = request.app.state.engine
    return engine


def health_of(request: Request) -> Sequence[SourceHealth]:
    """How every source is doing."""
    runners: Sequence[Runner] = request.app.state.runners
    return [runner.health() for runner in runners]


def keyless_of(request: Request) -> Sequence[str]:
    """The sources that are switched on and cannot be asked for want of a key."""
    settings: Settings = request.app.state.settings
    return settings.missing()


def is_sandbox(request: Request) -> bool:
    """Whether the broker is a stand-in on this machine."""
    settings: Settings = request.app.state.settings
    return is_loopback(settings.broker.base_url)


Argo = Annotated[Engine, Depends(engine_of)]
Health = Annotated[Sequence[SourceHealth], Depends(health_of)]
Keyless = Annotated[Sequence[str], Depends(keyless_of)]
IsSandbox = Annotated[bool, Depends(is_sandbox)]
Symbol = Annotated[str | None, Query(pattern=r"^[A-Z][A-Z.]{0,7}$")]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[int | None, Query(ge=0, le=NEWEST)]


def telling(request: Request) -> RelayHealth | None:
    """How far the messages to Alpine have come; None: nobody is told."""
    relay: Relay | None = getattr(request.app.state, "relay", None)
    return relay.health if relay is not None else None


Telling = Annotated[RelayHealth | None, Depends(telling)]
