"""A stand-in for Alpaca's market data: completed daily bars, snapshots and the latest prices."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Protocol

import numpy as np
from fastapi import APIRouter, Query
from fastapi.routing import APIRoute
from starlette.responses import Response

from argo_alpine.domain import NEW_YORK, exchange_date
from services.sandbox.alpaca_door import moment
from services.sandbox.exchange import Exchange
from services.sandbox.exchange_values import Tick, bad_request, stamp
from services.sandbox.replies import answer
from services.sandbox.tape import Series

MOST = 10_000  # bars a page
USUAL = 1_000
NOT_RECORDED = {"n": None, "vw": None}  # the client demands the keys, and takes null
Json = dict[str, Any]


class World(Protocol):
    """What market data needs to know of the world."""

    @property
    def at(self) -> datetime:
        """Sandbox time, UTC."""

    @property
    def exchange(self) -> Exchange:
        """Who has the last prices."""

    @property
    def symbols(self) -> Sequence[str]:
        """All that can be asked for."""

    @property
    def is_open(self) -> bool:
        """Whether the market trades."""

    def known(self, symbol: str) -> Series:
        """Completed daily bars."""

    def seen(self, symbol: str) -> tuple[float, ...]:
        """The session's prices so far."""


def trade(tick: Tick) -> Json:
    """The last trade; the size is the sandbox's own."""
    where = {"x": "V", "c": ["@"], "z": "C"}
    return {"t": stamp(tick.at), "p": float(tick.last), "s": 100, "i": 1, **where}


def quote(tick: Tick) -> Json:
    """The last bid and ask; the sizes are the sandbox's own."""
    sides = {"ap": float(tick.ask), "as": 5, "ax": "V", "bp": float(tick.bid), "bs": 5, "bx": "V"}
    return {"t": stamp(tick.at), **sides, "c": ["R"], "z": "C"}


def minute(tick: Tick) -> Json:
    """The minute of the last trade: inside a window the price does not move."""
    price = float(tick.last)
    ohlc = {"o": price, "h": price, "l": price, "c": price, "v": 100}
    return {"t": stamp(tick.at.replace(second=0, microsecond=0)), **ohlc, "n": 1, "vw": price}


def days(bars: Series) -> list[Json]:
    """Daily bars."""
    columns = (column.tolist() for column in (*bars.prices(), bars.volume))
    starts = [stamp(datetime.fromtimestamp(ms / 1000, UTC)) for ms in bars.starts.tolist()]
    rows = zip(starts, *columns, strict=True)
    return [{**dict(zip("tohlcv", row, strict=True)), **NOT_RECORDED} for row in rows]


def today(world: World, symbol: str) -> Json | None:
    """The session so far, never what will be."""
    seen = world.seen(symbol)
    if not seen:
        return None
    midnight = datetime.combine(exchange_date(world.at), time(), NEW_YORK)
    ohlc = {"o": seen[0], "h": max(seen), "l": min(seen), "c": seen[-1], "v": 0}
    return {"t": stamp(midnight), **ohlc, **NOT_RECORDED}


def snapshot(world: World, symbol: str) -> Json | None:
    """One symbol now; None, as the vendor has it, for one nobody knows."""
    tick = world.exchange.ticks.get(symbol)
    if tick is None:
        return None
    known = world.known(symbol)
    day, before = (today(world, symbol), days(known[-1:])) if world.is_open else closed(known)
    return {
        "latestTrade": trade(tick),
        "latestQuote": quote(tick),
        "minuteBar": minute(tick),
        "dailyBar": day,
        "prevDailyBar": before[0] if before else None,
    }


def closed(known: Series) -> tuple[Json | None, list[Json]]:
    """The last completed day and the one before it."""
    rows = days(known[-2:])
    return (rows[-1] if rows else None), rows[:-1]


def listed(symbols: str) -> list[str]:
    """The symbols of a query. *Raises* `ApiError`."""
    names = [name for name in symbols.upper().split(",") if name]
    if not names:
        raise bad_request("symbols is required")
    return sorted(set(names))


def token(symbol: str, start: int) -> str:
    """Where the next page begins."""
    return base64.urlsafe_b64encode(f"{symbol}|D|{start}".encode()).decode()


def from_token(text: str) -> tuple[str, int]:
    """Symbol and start of a page. *Raises* `ApiError`."""
    try:
        symbol, _, start = base64.urlsafe_b64decode(text).decode().split("|")
        return symbol, int(start)
    except ValueError as error:
        raise bad_request(f"invalid page_token: {text}") from error


def paged(
    found: dict[str, Series], limit: int, page_token: str
) -> tuple[dict[str, list[Json]], str | None]:
    """One page over all symbols, in their order, and where the next one begins."""
    first, begin = from_token(page_token) if page_token else ("", 0)
    page: dict[str, list[Json]] = {}
    for symbol, series in found.items():
        if symbol < first:
            continue
        rest = series[int(np.searchsorted(series.starts, begin)) if symbol == first else 0 :]
        if len(rest) and limit == 0:
            return page, token(symbol, int(rest.starts[0]))
        if len(rest):
            page[symbol] = days(rest[:limit])
        if len(rest) > limit:
            return page, token(symbol, int(rest.starts[limit]))
        limit -= len(rest)
    return page, None


def between(series: Series, first: datetime, last: datetime) -> Series:
    """Bars whose day begins within a period."""
    bounds = (first.timestamp() * 1000, last.timestamp() * 1000)
    begin = int(np.searchsorted(series.starts, bounds[0]))
    return series[begin : int(np.searchsorted(series.starts, bounds[1], side="right"))]


def router(world: World, door: type[APIRoute]) -> APIRouter:
    """The paths of the data host."""
    routes = APIRouter(prefix="/v2/stocks", route_class=door)

    def ticks(symbols: str) -> dict[str, Tick]:
        """The last prices of those that have any."""
        known = world.exchange.ticks
        return {name: known[name] for name in listed(symbols) if name in known}

    @routes.get("/bars")
    async def bars(
        symbols: str = "",
        timeframe: str = "1Day",
        start: str | None = None,
        end: str | None = None,
        limit: Annotated[int, Query(ge=1, le=MOST)] = USUAL,
        adjustment: str = "split",
        page_token: str = "",
    ) -> Response:
        """Daily bars, completed ones only, adjusted for splits as they were recorded."""
        if timeframe not in ("1Day", "1D"):
            raise bad_request(f"timeframe {timeframe} is not simulated: use 1Day")
        if adjustment != "split":
            raise bad_request(f"adjustment {adjustment} is not simulated: use split")
        first = moment(start, "start") or world.at - timedelta(days=1)
        last = moment(end, "end") or world.at
        names = [name for name in listed(symbols) if name in world.symbols]
        found = {name: between(world.known(name), first, last) for name in names}
        page, following = paged(found, limit, page_token)
        return answer({"bars": page, "next_page_token": following})

    @routes.get("/snapshots")
    async def snapshots(symbols: str = "") -> Response:
        """Everything about now, by symbol."""
        return answer({name: snapshot(world, name) for name in listed(symbols)})

    @routes.get("/trades/latest")
    async def latest_trades(symbols: str = "") -> Response:
        """The last trade, by symbol."""
        return answer({"trades": {name: trade(tick) for name, tick in ticks(symbols).items()}})

    @routes.get("/quotes/latest")
    async def latest_quotes(symbols: str = "") -> Response:
        """The last quote, by symbol."""
        return answer({"quotes": {name: quote(tick) for name, tick in ticks(symbols).items()}})

    @routes.get("/bars/latest")
    async def latest_bars(symbols: str = "") -> Response:
        """The last minute, by symbol."""
        return answer({"bars": {name: minute(tick) for name, tick in ticks(symbols).items()}})

    return routes
