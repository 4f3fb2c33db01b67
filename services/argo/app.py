"""Argo as a whole: the only module that knows what is real."""

import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

import uvicorn
from fastapi import FastAPI

from argo_alpine.sessions import hours
from services.argo import store
from services.argo.board import Board
from services.argo.brokers.alpaca import AlpacaBroker
from services.argo.brokers.governor import Governor
from services.argo.brokers.limiter import Limiter
from services.argo.cycle import Engine, Plan
from services.argo.desk import Desk, Rules
from services.argo.lock import locked
from services.argo.loop import Loop
from services.argo.ports import Source
from services.argo.relay import Relay
from services.argo.routes import router
from services.argo.sources.alpha_vantage import AlphaVantage
from services.argo.sources.breaker import Breaker
from services.argo.sources.massive import Massive
from services.argo.sources.runner import Runner
from services.argo.sources.sonar import Sonar
from services.argo.sources.x_sentiment import XSentiment
from services.common import logs
from services.common.clock import Clock, SandboxClock, SystemClock
from services.common.db import Writer, reader
from services.common.fields import is_loopback
from services.common.ports import check_port
from services.common.sections import Settings
from services.common.settings import check_execution, policy, secrets
from services.common.signing import keyring

BOOKS = Path("data/recorded")
LOGS = Path("data/logs")


def book_path(name: str, folder: Path = BOOKS) -> Path:
    """The file of a book."""
    return folder / f"{name}.sqlite"


class Meters:
    """What sources have used, kept in the book: a restart gives no new quota."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def used(self, source: str, day: date) -> tuple[int, float]:
        """Calls made and US dollars spent on a day."""
        with self.writer.transaction() as session:
            return store.used(session, source, day)

    def use(self, source: str, day: date, calls: int, usd: float) -> None:
        """Add to both."""
        with self.writer.transaction() as session:
            store.use(session, source, day, calls, usd)


class Note:
    """A small state of somebody else's, kept in the book under a name."""

    def __init__(self, writer: Writer, name: str) -> None:
        self.writer, self.name = writer, name

    def load(self) -> dict[str, object]:
        """What was kept; empty when nothing was."""
        with self.writer.transaction() as session:
            return dict(store.find_note(session, self.name))

    def save(self, state: dict[str, object]) -> None:
        """Keep it."""
        with self.writer.transaction() as session:
            store.keep_note(session, self.name, state)


@dataclass(frozen=True)
class Argo:
    """Everything that runs, wired."""

    settings: Settings
    clock: Clock
    writer: Writer
    board: Board
    engine: Engine
    loop: Loop
    runners: Sequence[Runner]
    relay: Relay | None  # None: nobody to tell

    def start(self) -> None:
        """Fetch, then cycle."""
        for runner in self.runners:
            runner.start()
        self.loop.start()
        if self.relay is not None:
            self.relay.start()

    def stop(self) -> None:
        """Finish the cycle in hand, and let go."""
        self.loop.stop()
        for runner in self.runners:
            runner.stop()
        if self.relay is not None:
            self.relay.stop()
        self.writer.close()


def clock_of(settings: Settings) -> Clock:
    """The sandbox's time where the broker is the sandbox, else the system's."""
    if not is_loopback(settings.broker.base_url):
        return SystemClock()
    place = settings.sandbox
    return SandboxClock(f"http://{place.host}:{place.control_port}")


def sources_of(settings: Settings, meter: Meters) -> list[Source]:
    """The sources that are switched on and have a key."""
    common: Any = {"symbols": settings.strategy.symbols, "meter": meter}
    massive, alpha, x, sonar = (
        settings.massive, settings.alpha_vantage, settings.x_api, settings.sonar,
    )  # fmt: skip
    made: dict[str, Callable[[], Source]] = {
        "massive": lambda: Massive(
            base_url=massive.base_url,
            key=massive.api_key.get_secret_value(),
            epoch=massive.epoch,
            **common,
        ),
        "alpha_vantage": lambda: AlphaVantage(
            base_url=alpha.base_url,
            key=alpha.api_key.get_secret_value(),
            calls_per_minute=alpha.calls_per_minute,
            calls_per_day=alpha.calls_per_day,
            **common,
        ),
        "x_sentiment": lambda: XSentiment(
            base_url=x.base_url,
            key=x.bearer_token.get_secret_value(),
            every_seconds=x.every_seconds,
            daily_budget_usd=x.daily_budget_usd,
            **common,
        ),
        "sonar": lambda: Sonar(
            base_url=sonar.base_url,
            key=sonar.api_key.get_secret_value(),
            model=sonar.model,
            every_seconds=sonar.every_seconds,
            daily_budget_usd=sonar.daily_budget_usd,
            **common,
        ),
    }
    switches = (massive.enabled, alpha.enabled, x.enabled, sonar.enabled)
    on = [name for name, is_on in zip(made, switches, strict=True) if is_on]
    return [made[name]() for name in on if name not in settings.missing()]


def broker_of(settings: Settings, writer: Writer, clock: Clock) -> AlpacaBroker:
    """Alpaca, or what plays it."""
    account = settings.broker
    return AlpacaBroker(
        key=account.api_key.get_secret_value(),
        secret=account.secret_key.get_secret_value(),
        base_url=account.base_url,
        stream_url=account.stream_url,
        limiter=Limiter(clock.monotonic),
        governor=Governor(Note(writer, "governor"), clock),
    )


def wired(settings: Settings, folder: Path = BOOKS, clock: Clock | None = None) -> Argo:
    """Everything, connected but not started. *Raises* `InvalidSettings`."""
    check_execution(settings)
    clock, board = clock or clock_of(settings), Board()
    writer = Writer(book_path(settings.argo.book, folder))
    with writer.transaction() as session:
        store.create(session)
    meter = Meters(writer)
    sources = sources_of(settings, meter)
    trading = settings.trading
    rules = Rules(trading.auto_execute, timedelta(seconds=trading.entry_ttl_seconds))
    plan = Plan(
        policy(settings),
        settings.strategy.symbols,
        tuple(source.name for source in sources),
        settings.argo.patience_seconds,
        settings.argo.book,
        is_loopback(settings.broker.base_url),
    )
    desk = Desk(broker_of(settings, writer, clock), writer, clock, rules)
    engine = Engine(plan, clock, writer, board, desk)
    runners = [Runner(source, clock, board.put, meter, Breaker()) for source in sources]
    loop = Loop(engine, settings.argo.cycle_seconds)
    relay = relay_of(settings, writer, clock)
    return Argo(settings, clock, writer, board, engine, loop, runners, relay)


def relay_of(settings: Settings, writer: Writer, clock: Clock) -> Relay | None:
    """What tells Alpine, where a key is shared with it."""
    place, sandbox = settings.alpine, is_loopback(settings.broker.base_url)
    keys = keyring(place.intake_key)
    return Relay(writer, clock, place.feed_url, keys, sandbox) if keys else None


def create_app(argo: Argo, folder: Path = BOOKS) -> FastAPI:
    """The API over a running engine."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        hours()  # read once, before threads ask for them
        argo.start()
        yield
        argo.stop()

    app = FastAPI(title="Argo", lifespan=life, docs_url="/docs", redoc_url=None)
    app.state.settings, app.state.engine, app.state.runners = (
        argo.settings, argo.engine, argo.runners,
    )  # fmt: skip
    app.state.started_at = argo.clock.wall()
    app.state.relay = argo.relay
    app.state.sessions = reader(book_path(argo.settings.argo.book, folder))
    app.include_router(router)
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


def serve(settings: Settings, folder: Path = BOOKS, logged: Path = LOGS) -> int:
    """Run until told to stop; the exit code."""
    with ExitStack() as stack:
        stack.enter_context(locked(book_path(settings.argo.book, folder).with_suffix(".lock")))
        check_port(settings.argo.host, settings.argo.port)
        logs.configure(logged, "argo", secrets(settings))
        stack.callback(logs.release)
        argo = wired(settings, folder)
        config = uvicorn.Config(
            create_app(argo, folder),
            host=settings.argo.host,
            port=settings.argo.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
        Server(config).run()
        return 1 if argo.engine.status.state == "failed" else 0
