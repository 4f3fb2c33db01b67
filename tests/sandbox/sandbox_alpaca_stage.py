"""A tiny world for the simulated Alpaca, a server around it, and the clients that visit."""

import asyncio
import queue
import socket
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from argo_alpine.domain import Session
from argo_alpine.sessions import closes, session_at
from services.sandbox import alpaca
from services.sandbox.exchange import Exchange
from services.sandbox.tape import Series, midnights
from tests.clocks import ManualClock

with warnings.catch_warnings():  # alpaca-py 0.44 imports websockets.legacy
    warnings.simplefilter("ignore", DeprecationWarning)
    from alpaca.data.historical import StockHistoricalDataClient
    from alpaca.trading.client import TradingClient
    from alpaca.trading.stream import TradingStream

OPEN = datetime(2005, 3, 1, 14, 30, tzinfo=UTC)
CLOSE = datetime(2005, 3, 1, 21, tzinfo=UTC)
NEXT_OPEN = OPEN + timedelta(days=1)
DAYS = [date(2005, 2, 24), date(2005, 2, 25), date(2005, 2, 28), date(2005, 3, 1)]
SYMBOLS = ("AAPL", "IBM")
PATIENCE = 20.0  # seconds of real time before a test gives up waiting
KEYS = {"APCA-API-KEY-ID": "sandbox-key", "APCA-API-SECRET-KEY": "sandbox-secret"}


class Broker(Exchange):
    """A broker with short ways of saying things."""

    def price(self, price: float, symbol: str = "AAPL", seconds: float = 1) -> None:
        """The market moves, a cent to either side."""
        at = self.at + timedelta(seconds=seconds)
        self.quote(symbol, round(price - 0.01, 4), round(price + 0.01, 4), price, at)

    def ask_for(self, side: str = "buy", qty: Any = 10, **more: Any) -> dict[str, Any]:
        """An order, at the market until said otherwise."""
        body = {"symbol": "AAPL", "side": side, "qty": qty, "type": "market"}
        return self.submit({**body, "time_in_force": "gtc", **more}, self.at)

    def bracket(
        self, side: str = "buy", target: Any = 105, stop: Any = 95, **more: Any
    ) -> tuple[str, str, str]:
        """A bracket's three ids: entry, target, stop."""
        exits = {"take_profit": {"limit_price": target}, "stop_loss": {"stop_price": stop}}
        made = self.ask_for(side, order_class="bracket", **exits, **more)
        return made["id"], made["legs"][0]["id"], made["legs"][1]["id"]

    def status(self, *ids: str) -> list[str]:
        """Where orders stand."""
        return [self.order(i)["status"] for i in ids]

    def holds(self, symbol: str = "AAPL") -> float:
        """What is held."""
        return float(self.held(symbol))


def closed_broker(cash: float = 100_000) -> Broker:
    """A broker before the open, prices known."""
    broker = Broker(cash, SYMBOLS)
    for symbol in SYMBOLS:
        broker.quote(symbol, 99.99, 100.01, 100, OPEN - timedelta(hours=1))
    return broker


def open_broker(cash: float = 100_000) -> Broker:
    """A broker just after the open."""
    broker = closed_broker(cash)
    broker.open_market(OPEN)
    broker.price(100)
    return broker


def heard(broker: Exchange) -> list[dict[str, Any]]:
    """All that the broker will say from now on."""
    events: list[dict[str, Any]] = []
    broker.subscribe(events.append)
    return events


class Stage:
    """What the stand-in asks of a world, and nothing more."""

    def __init__(self, broker: Broker) -> None:
        self.exchange, self.symbols = broker, SYMBOLS

    @property
    def at(self) -> datetime:
        """As late as the broker has heard."""
        return self.exchange.at

    @property
    def is_open(self) -> bool:
        """Whether the market trades."""
        return self.exchange.is_open

    @property
    def session(self) -> Session | None:
        """In progress, else the next."""
        return session_at(self.at)

    def known(self, symbol: str) -> Series:
        """Four days of which only those are shown that are over."""
        ends, columns = closes(DAYS), np.array([[10.0, 11, 12, 13]] * 4)  # each day flat
        days = np.array(DAYS, "datetime64[D]").astype(np.int64)
        series = Series(symbol, ends, midnights(days), days, *columns, np.full(4, 1e6))
        now = int(self.at.timestamp() * 1e6)
        return series[: int(np.searchsorted(ends, now, side="right"))]

    def seen(self, symbol: str) -> tuple[float, ...]:
        """The session's prices so far."""
        return (100.0, float(self.exchange.ticks[symbol].last)) if self.is_open else ()


def application(
    stage: Stage, calls_per_minute: int | None = None, clock: ManualClock | None = None
) -> FastAPI:
    """The stand-in alone."""
    app = FastAPI()
    app.include_router(alpaca.router(stage, calls_per_minute, clock))
    return app


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """A real server on a free port; yields host and port."""
    place = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="error", lifespan="off", ws="websockets-sansio", access_log=False
        )
    )
    thread = threading.Thread(target=server.run, args=([place],))
    thread.start()
    try:
        yield f"127.0.0.1:{place.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        place.close()


def trading(host: str, key: str = "sandbox-key", raw: bool = False) -> TradingClient:
    """The official trading client."""
    url = f"http://{host}/alpaca"
    return TradingClient(key, "sandbox-secret", paper=True, raw_data=raw, url_override=url)


def data(host: str) -> StockHistoricalDataClient:
    """The official data client."""
    return StockHistoricalDataClient(
        "sandbox-key", "sandbox-secret", url_override=f"http://{host}/alpaca"
    )


class Ear:
    """The official stream client in a thread of its own."""

    def __init__(self, host: str) -> None:
        self.updates: queue.Queue[Any] = queue.Queue()
        self.stream = TradingStream(
            "sandbox-key", "sandbox-secret", url_override=f"ws://{host}/alpaca/stream"
        )
        self.listening = threading.Event()
        self.watch()
        self.stream.subscribe_trade_updates(self.note)
        self.thread = threading.Thread(target=self.stream.run)
        self.thread.start()
        assert self.listening.wait(PATIENCE), "the stream never said that it listens"

    def watch(self) -> None:
        """Notice the acknowledgement, which the client itself ignores."""
        inner = self.stream._dispatch

        async def dispatch(message: dict[str, Any]) -> None:
            if message.get("stream") == "listening":
                self.listening.set()
            await inner(message)

        self.stream._dispatch = dispatch

    async def note(self, update: Any) -> None:
        """Keep what was heard."""
        self.updates.put(update)

    def next(self, count: int = 1) -> list[Any]:
        """The next updates, waited for."""
        return [self.updates.get(timeout=PATIENCE) for _ in range(count)]

    def stop(self) -> None:
        """Hang up at once: the client itself would look only every five seconds."""
        asyncio.run_coroutine_threadsafe(self.hang_up(), self.stream._loop)
        self.thread.join(PATIENCE)

    async def hang_up(self) -> None:
        """In the client's own loop."""
        await self.stream.stop_ws()
        await self.stream.close()


@contextmanager
def listening(host: str) -> Iterator[Ear]:
    """An ear for the time of a test."""
    ear = Ear(host)
    try:
        yield ear
    finally:
        ear.stop()


def kinds(events: Sequence[dict[str, Any]]) -> list[str]:
    """What happened, in order."""
    return [event["event"] for event in events]
