"""A stand-in for Alpaca: the trading API over the simulated broker."""

from datetime import date, timedelta
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from argo_alpine.domain import NEW_YORK, Session, exchange_date
from argo_alpine.sessions import session_at, sessions
from services.common.clock import Clock, SystemClock
from services.sandbox import alpaca_data, alpaca_stream, exchange_views
from services.sandbox.alpaca_door import Limiter, day, guarded, moment
from services.sandbox.exchange_values import ApiError, bad_request, missing
from services.sandbox.replies import answer

Json = dict[str, Any]
Payload = Annotated[Json, Body()]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
ACTIVITIES = ("CSD", "CSW", "DIV", "FEE", "INT", "JNLC", "JNLS", "MISC", "SPLIT", "TRANS")
PERIODS = {"D": 1, "W": 7, "M": 31, "A": 366}


class World(alpaca_stream.World, alpaca_data.World, Protocol):
    """What the stand-in needs to know of the world."""

    @property
    def session(self) -> Session | None:
        """In progress, else the next."""

    @property
    def is_open(self) -> bool:
        """Whether the market trades."""


def clock_face(world: World) -> Json:
    """The broker's clock, New York time."""
    session = world.session
    following = session_at(session.close) if world.is_open and session else session
    times = (
        world.at,
        following.open if following else world.at,
        session.close if session else world.at,
    )
    now, opens, closes = (at.astimezone(NEW_YORK).isoformat() for at in times)
    return {"timestamp": now, "is_open": world.is_open, "next_open": opens, "next_close": closes}


def calendar(first: date, last: date) -> list[Json]:
    """Trading days, New York wall-clock time."""
    if last < first:
        raise bad_request("end must not be before start")
    rows = []
    for at, opens, closes, _ in sessions(first, last).itertuples():
        begin, end = (t.astimezone(NEW_YORK).strftime("%H:%M") for t in (opens, closes))
        extended = {"session_open": "0400", "session_close": "2000"}
        rows.append({"date": f"{at:%Y-%m-%d}", "open": begin, "close": end, **extended})
    return rows


def router(
    world: World, calls_per_minute: int | None = 200, clock: Clock | None = None
) -> APIRouter:
    """All of Alpaca's paths, trading, data and stream."""
    clock = clock or SystemClock()
    limiter = Limiter(calls_per_minute, clock)
    routes = APIRouter(prefix="/alpaca")
    routes.include_router(alpaca_stream.router(world))
    data = Limiter(calls_per_minute, clock)
    routes.include_router(alpaca_data.router(world, guarded(data, "too many requests.")))
    door = guarded(limiter, "rate limit exceeded")
    for build in (order_routes, position_routes, account_routes, market_routes):
        trading = APIRouter(prefix="/v2", route_class=door)
        build(world, trading)
        routes.include_router(trading)
    rest = APIRouter(route_class=door)

    @rest.api_route("/{path:path}", methods=METHODS)
    async def unknown(path: str) -> Response:
        """There is nothing here."""
        raise missing("endpoint not found.")

    routes.include_router(rest)
    return routes


def order_routes(world: World, routes: APIRouter) -> None:
    """Orders."""

    @routes.post("/orders")
    async def submit(body: Payload) -> Response:
        """Place an order."""
        return answer(world.exchange.submit(body, world.at))

    @routes.get("/orders")
    async def orders(
        status: Literal["open", "closed", "all"] = "open",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        after: str | None = None,
        until: str | None = None,
        direction: Literal["asc", "desc"] = "desc",
        nested: bool = False,
        symbols: str = "",
        side: Literal["", "buy", "sell"] = "",
    ) -> Response:
        """List orders."""
        period = (moment(after, "after"), moment(until, "until"))
        names = [name for name in symbols.upper().split(",") if name]
        found = world.exchange.orders(status, limit, *period, direction, nested, names, side)
        return answer(found)

    @routes.delete("/orders")
    async def cancel_all() -> Response:
        """Cancel every open order."""
        return answer(world.exchange.cancel_all(world.at), 207)

    @routes.get("/orders:by_client_order_id")
    async def by_client_order_id(client_order_id: str) -> Response:
        """Find an order by the client's own id."""
        return answer(world.exchange.named_order(client_order_id))

    @routes.get("/orders/{order_id}")
    async def order(order_id: str, nested: bool = False) -> Response:
        """Find an order by the broker's id."""
        return answer(world.exchange.order(order_id, nested))

    @routes.patch("/orders/{order_id}")
    async def replace(order_id: str, body: Payload) -> Response:
        """Replace an open order."""
        return answer(world.exchange.replace(order_id, body, world.at))

    @routes.delete("/orders/{order_id}")
    async def cancel(order_id: str) -> Response:
        """Cancel an open order."""
        world.exchange.cancel(order_id, world.at)
        return Response(status_code=204)


def position_routes(world: World, routes: APIRouter) -> None:
    """Positions."""

    @routes.get("/positions")
    async def positions() -> Response:
        """All that is held."""
        return answer(world.exchange.positions())

    @routes.delete("/positions")
    async def close_all(cancel_orders: bool = False) -> Response:
        """Close everything."""
        return answer(world.exchange.close_all(world.at, cancel_orders), 207)

    @routes.get("/positions/{symbol}")
    async def position(symbol: str) -> Response:
        """What is held of one symbol."""
        return answer(world.exchange.position(symbol))

    @routes.delete("/positions/{symbol}")
    async def close(symbol: str, qty: str | None = None, percentage: str | None = None) -> Response:
        """Close one position, or a part of it."""
        return answer(world.exchange.close_position(symbol, world.at, qty, percentage))


def account_routes(world: World, routes: APIRouter) -> None:
    """The account, its past and its settings."""

    @routes.get("/account")
    async def account() -> Response:
        """Money, and whether it may trade."""
        return answer(world.exchange.account())

    @routes.get("/account/configurations")
    async def configurations() -> Response:
        """The account's settings."""
        return answer(world.exchange.configure({}))

    @routes.patch("/account/configurations")
    async def configure(body: Payload) -> Response:
        """Change the account's settings."""
        return answer(world.exchange.configure(body))

    @routes.get("/account/portfolio/history")
    async def history(timeframe: str = "1D", period: str = "") -> Response:
        """Equity at every close."""
        if timeframe != "1D":
            raise bad_request(f"timeframe {timeframe} is not simulated: use 1D")
        return answer(recent(world.exchange.history(), period, world))

    @routes.get("/account/activities")
    async def activities(
        activity_types: str = "",
        date: str | None = None,
        after: str | None = None,
        until: str | None = None,
        direction: Literal["asc", "desc"] = "desc",
        page_size: Annotated[int, Query(ge=1, le=100)] = 100,
        page_token: str = "",
    ) -> Response:
        """What happened to the account: here, fills only."""
        wanted = [name for name in activity_types.upper().split(",") if name]
        for name in wanted:
            if name not in (*ACTIVITIES, "FILL"):
                raise bad_request(f"invalid activity type: {name}")
        begin, end = moment(date or after, "after"), moment(until, "until")
        if date and begin:
            end = begin + timedelta(days=1)
            begin -= timedelta(microseconds=1)
        if wanted and "FILL" not in wanted:
            return answer([])
        found = world.exchange.activities(begin, end, direction, page_size, page_token)
        return answer(found)

    @routes.get("/account/activities/{activity_type}")
    async def activities_of_type(
        activity_type: str,
        date: str | None = None,
        after: str | None = None,
        until: str | None = None,
        direction: Literal["asc", "desc"] = "desc",
        page_size: Annotated[int, Query(ge=1, le=100)] = 100,
        page_token: str = "",
    ) -> Response:
        """The same for one type."""
        return await activities(activity_type, date, after, until, direction, page_size, page_token)


def recent(history: Json, period: str, world: World) -> Json:
    """The end of a history: `1D`, `2W`, `3M`, `1A`; everything when not said."""
    if not period or period == "all":
        return history
    if not period[:-1].isdecimal() or period[-1] not in PERIODS:
        raise bad_request(f"invalid period: {period}")
    begin = world.at - timedelta(days=int(period[:-1]) * PERIODS[period[-1]])
    late = sum(at >= begin.timestamp() for at in history["timestamp"])
    start = len(history["timestamp"]) - late
    return {k: v[start:] if isinstance(v, list) else v for k, v in history.items()}


def market_routes(world: World, routes: APIRouter) -> None:
    """Assets, clock and calendar."""

    @routes.get("/assets")
    async def assets(status: str = "active", asset_class: str = "us_equity") -> Response:
        """What can be traded."""
        all_of_them = status in ("", "active") and asset_class == "us_equity"
        names = world.symbols if all_of_them else ()
        return answer([exchange_views.asset(name) for name in names])

    @routes.get("/assets/{name}")
    async def asset(name: str) -> Response:
        """One asset, by symbol or id."""
        for symbol in world.symbols:
            if name.upper() == symbol or name == exchange_views.asset_id(symbol):
                return answer(exchange_views.asset(symbol))
        raise missing(f"asset not found for {name}")

    @routes.get("/clock")
    async def clock() -> Response:
        """The broker's time."""
        return answer(clock_face(world))

    @routes.get("/calendar")
    async def days(start: str | None = None, end: str | None = None) -> Response:
        """Trading days of a period; a year to either side when not said."""
        today = exchange_date(world.at)
        first = day(start, "start", today - timedelta(days=365))
        last = day(end, "end", today + timedelta(days=365))
        return answer(calendar(first, last))


__all__ = ["ApiError", "World", "router"]
