"""Alpine as a whole: the only module that knows what is real."""

import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM

import uvicorn
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from argo_alpine import __version__
from argo_alpine.domain import InvalidSettings
from services.alpine import jobs, security, shelf, store
from services.alpine.doors import Doors, lifetime
from services.alpine.hub import Hub
from services.alpine.jobs import Worker
from services.alpine.performance import Curves
from services.alpine.plans import plans_of
from services.alpine.routes import router
from services.alpine.security import Buckets, Limits, Shell
from services.alpine.socket import Talk
from services.alpine.store import Database
from services.alpine.wiring import Alpine
from services.common import logs
from services.common.clock import Clock, SystemClock
from services.common.sections import Settings
from services.common.settings import secrets
from services.common.signing import keyring

LOGS = Path("data/logs")
RATE, RESERVE = 50.0, 500.0  # questions a second from one address


def open_database(settings: Settings, file: Path = store.FILE) -> Database:
    """The store that the settings name."""
    return Database(settings.alpine.database_url.get_secret_value(), file)


def wired(
    settings: Settings,
    database: Database,
    clock: Clock | None = None,
    work: Path = jobs.FOLDER,
    reports: Path = shelf.FOLDER,
) -> Alpine:
    """Everything, connected but not started. *Raises* `InvalidSettings`."""
    place, clock = settings.alpine, clock or SystemClock()
    keys = keyring(place.intake_key)
    if not keys:
        raise InvalidSettings(
            "alpine.intake_key is empty: set one key, whsec_ and 32 random bytes as base64, "
            "for Argo and Alpine, such as in ARGO_ALPINE__INTAKE_KEY"
        )
    plans = plans_of(settings.strategy.symbols)
    doors = Doors(database, clock, lifetime(place.session_hours, place.session_days))
    hub = Hub(database, clock, plans)
    doors.on_end = hub.revoke
    talk = Talk(hub, doors, place.cors)
    worker = Worker(database, clock, work)
    return Alpine(
        settings, clock, database, plans, doors, hub, talk, worker, Curves(), keys, reports
    )


def create_app(alpine: Alpine, rate: float = RATE, reserve: float = RESERVE) -> FastAPI:
    """The API over a database."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await alpine.hub.start()
        alpine.worker.start()
        yield
        await alpine.hub.stop()
        alpine.worker.stop()

    app = FastAPI(title="Alpine", version=__version__, lifespan=life, docs_url=None, redoc_url=None)
    app.state.alpine, app.state.sessions = alpine, alpine.database.sessions
    security.guard(app)
    app.include_router(router)
    # the last one added is the outermost
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(alpine.settings.alpine.cors),
        allow_methods=["GET", "POST", "PATCH"],
        allow_headers=["authorization", "content-type"],
        allow_credentials=False,
        max_age=600,
    )
    app.add_middleware(Limits, buckets=Buckets(alpine.clock, rate, reserve))
    app.add_middleware(Shell)
    return app


class Server(uvicorn.Server):
    """A server that ends in order when told to, and leaves it at that."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn, do not raise the signal again: a stop asked for is no failure."""
        before = {name: signal.signal(name, self.handle_exit) for name in (SIGINT, SIGTERM)}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)


def check_port(host: str, port: int) -> None:
    """*Raises* `InvalidSettings` when somebody else listens there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InvalidSettings(
                f"port {port} on {host} is taken ({error.strerror}): stop what listens there, "
                "or choose another with --port"
            ) from error


def server_config(app: FastAPI, host: str, port: int) -> uvicorn.Config:
    """How it listens."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # anybody could write them
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=64 * 1024,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=5,
    )


def serve(settings: Settings, file: Path = store.FILE, logged: Path = LOGS) -> int:
    """Run until told to stop; the exit code."""
    place = settings.alpine
    with ExitStack() as stack:
        check_port(place.host, place.port)
        logs.configure(logged, "alpine", secrets(settings))
        stack.callback(logs.release)
        database = open_database(settings, file)
        stack.callback(database.close)
        app = create_app(wired(settings, database))
        server = Server(server_config(app, place.host, place.port))
        server.run()
        return 0 if server.started else 1
