"""A stand-in for Massive: daily aggregates, snapshots and the market's status."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Annotated, Literal
from urllib.parse import parse_qsl

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from argo_alpine.domain import NEW_YORK
from argo_alpine.sessions import microseconds
from services.sandbox.replies import Answered, Json, answer, bearer, hexadecimal, is_ours
from services.sandbox.tape import Series
from services.sandbox.world import TRADING, Quoted, World

MOST = 50_000  # aggregates a page
USUAL = 5_000
NOT_ENTITLED = (
    "You are not entitled to this data. Please upgrade your plan at https://massive.com/pricing"
)
Sort = Literal["asc", "desc"]


def refusal(request: Request, status: int, word: str, key: str, text: str) -> Answered:
    """An error as Massive words it; some say `error`, some say `message`."""
    number = hexadecimal(request.url.path, request.url.query)
    return Answered(answer({"status": word, "request_id": number, key: text}, status))


def authenticated(request: Request) -> None:
    """*Raises* the vendor's 401."""
    if not is_ours(bearer(request) or request.query_params.get("apiKey", "")):
        raise refusal(request, 401, "ERROR", "error", "Unknown API Key")


def not_found(path: str) -> Response:
    """Massive answers an unknown path in plain text."""
    return Response("404 page not found\n", 404, media_type="text/plain")


def milliseconds(request: Request, name: str, text: str) -> int:
    """A bound given as a date of the exchange or in milliseconds. *Raises* the vendor's 400."""
    if text.isdecimal():
        return int(text)
    try:
        midnight = datetime.combine(date.fromisoformat(text), time(), NEW_YORK)
        return int(midnight.timestamp() * 1000)
    except ValueError as error:
        why = f"Could not parse the time parameter: '{name}'. Use YYYY-MM-DD or Unix MS Timestamps"
        raise refusal(request, 400, "ERROR", "error", why) from error


@dataclass(frozen=True, slots=True)
class Page:
    """How aggregates are cut into pages."""

    limit: int
    sort: Sort

    def cursor(self) -> str:
        """The same as text for `next_url`; the key never is in it."""
        text = f"limit={self.limit}&sort={self.sort}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def page(request: Request, limit: int, sort: Sort, cursor: str) -> Page:
    """What was asked for, or what the cursor says. *Raises* the vendor's 400."""
    if not cursor:
        return Page(limit, sort)
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        told = dict(parse_qsl(base64.urlsafe_b64decode(padded).decode()))
        return Page(int(told["limit"]), "desc" if told["sort"] == "desc" else "asc")
    except (KeyError, ValueError) as error:
        raise refusal(request, 400, "ERROR", "error", f"cursor {cursor!r} is invalid") from error


def aggregates(bars: Series) -> list[Json]:
    """Bars as rows; `vw` and `n` are optional and not recorded, so they are left out."""
    columns = (bars.volume, *bars.prices(), bars.starts)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [dict(zip("vohlct", row, strict=True)) for row in rows]


def next_url(
    request: Request, rest: Series, ticker: str, bounds: tuple[str, str], cut: Page
) -> str:
    """Where the next page is."""
    start, end = bounds
    if cut.sort == "asc":
        start = str(rest.starts[0])
    else:
        end = str(rest.starts[-1])
    base = str(request.base_url).rstrip("/")
    where = f"{base}/massive/v2/aggs/ticker/{ticker}/range/1/day/{start}/{end}"
    return f"{where}?cursor={cut.cursor()}"


def split(bars: Series, cut: Page) -> tuple[Series, Series]:
    """One page, still oldest first, and the rest."""
    if cut.sort == "asc":
        return bars[: cut.limit], bars[cut.limit :]
    edge = max(len(bars) - cut.limit, 0)
    return bars[edge:], bars[:edge]


def volume_so_far(world: World, symbol: str, before: Series) -> int:
    """The day's own once it is over; until then a share of the day before."""
    known = world.known(symbol)
    if not world.is_open:
        return int(known.volume[-1])
    passed = TRADING.index(world.window) + 1
    return int(before.volume[-1] * passed / 5) if len(before) else 0


def trade_and_quote(quote: Quoted) -> Json:
    """The last trade and quote, stamped in nanoseconds."""
    at = microseconds(quote.at) * 1000
    trade = {"c": [14, 41], "i": str(at // 1_000_000_000), "p": quote.last, "s": 100, "t": at}
    return {
        "lastQuote": {"P": quote.ask, "S": 5, "p": quote.bid, "s": 5, "t": at},
        "lastTrade": {**trade, "x": 4},
        "updated": at,
    }


def minute(quote: Quoted, volume: int) -> Json:
    """The minute of the last trade: inside a window the price does not move."""
    price, at = quote.last, microseconds(quote.at) // 60_000_000 * 60_000
    ohlc = {"c": price, "h": price, "l": price, "o": price}
    return {"av": volume, **ohlc, "n": 1, "t": at, "v": 100, "vw": price}


def snapshot(world: World, symbol: str) -> Json | None:
    """One symbol now: what has happened so far, never what will."""
    seen, quote = world.seen(symbol), world.quotes.get(symbol)
    if not seen or quote is None:
        return None
    known = world.known(symbol)
    before = known if world.is_open else known[:-1]
    volume = volume_so_far(world, symbol, before)
    day = {"c": seen[-1], "h": max(seen), "l": min(seen), "o": seen[0], "v": volume}
    then = day_before(before)
    change = seen[-1] - then["c"] if then else 0.0
    percent = 100 * change / then["c"] if then else 0.0
    changes = {"todaysChange": round(change, 4), "todaysChangePerc": round(percent, 4)}
    parts = {"day": day, "min": minute(quote, volume), "prevDay": then or None}
    return {"ticker": symbol, **parts, **trade_and_quote(quote), **changes}


def day_before(before: Series) -> Json:
    """The last completed day before this one; empty when there is none."""
    if not len(before):
        return {}
    o, h, lo, c = (float(column[-1]) for column in before.prices())
    return {"c": c, "h": h, "l": lo, "o": o, "v": int(before.volume[-1])}


def market_status(world: World) -> Json:
    """Open, after hours, or closed for good when the recorded days are over."""
    after = not world.is_open and not world.ended
    word = "open" if world.is_open else "extended-hours" if after else "closed"
    there = world.at.astimezone(NEW_YORK)
    return {
        "market": word,
        "earlyHours": False,
        "afterHours": after,
        "serverTime": there.replace(microsecond=0).isoformat(),
        "exchanges": {name: word for name in ("nyse", "nasdaq", "otc")},
        "currencies": {"fx": "open", "crypto": "open"},
    }


def between(bars: Series, first: int, last: int) -> Series:
    """Bars whose day begins within two instants, in milliseconds."""
    begin = int(np.searchsorted(bars.starts, first))
    return bars[begin : int(np.searchsorted(bars.starts, last, side="right"))]


def listing(world: World, names: Iterable[str]) -> list[Json]:
    """Snapshots of those that are known."""
    return [shot for name in names if name in world.symbols and (shot := snapshot(world, name))]


def router(world: World) -> APIRouter:
    """Massive's paths."""
    routes = APIRouter(prefix="/massive", dependencies=[Depends(authenticated)])

    @routes.get("/v2/aggs/ticker/{ticker}/range/{multiplier}/{span}/{start}/{end}")
    async def ranges(
        request: Request,
        ticker: str,
        multiplier: int,
        span: str,
        start: str,
        end: str,
        adjusted: bool = True,
        sort: Sort = "asc",
        limit: Annotated[int, Query(ge=1, le=MOST)] = USUAL,
        cursor: str = "",
    ) -> Response:
        """Daily bars, completed ones only."""
        # the recorded prices are adjusted for splits: others would be invented
        if (multiplier, span, adjusted) != (1, "day", True):
            raise refusal(request, 403, "NOT_AUTHORIZED", "message", NOT_ENTITLED)
        bounds = (milliseconds(request, "from", start), milliseconds(request, "to", end))
        cut = page(request, limit, sort, cursor)
        found = world.known(ticker) if ticker in world.symbols else None
        some, rest = split(between(found, *bounds), cut) if found else (None, None)
        rows = aggregates(some) if some else []
        body: Json = {"ticker": ticker, "queryCount": len(rows), "resultsCount": len(rows)}
        body |= {"adjusted": True}
        if rows:
            body["results"] = rows if cut.sort == "asc" else rows[::-1]
        body |= {"status": "OK", "request_id": hexadecimal(request.url, world.at)}
        if rest:
            body["next_url"] = next_url(request, rest, ticker, (start, end), cut)
        return answer(body)

    @routes.get("/v2/snapshot/locale/us/markets/stocks/tickers")
    async def snapshots(tickers: str = "") -> Response:
        """Many symbols in one call; unknown ones are left out."""
        names = tickers.split(",") if tickers else world.symbols
        shots = listing(world, dict.fromkeys(names))
        return answer({"count": len(shots), "status": "OK", "tickers": shots})

    @routes.get("/v1/marketstatus/now")
    async def status_now() -> Response:
        """Whether the market trades."""
        return answer(market_status(world))

    return routes
