"""A stand-in for Alpha Vantage: daily prices and TA-Lib's indicators, every error with HTTP 200."""

import json
from collections.abc import Callable, Mapping

import numpy as np
import talib
from fastapi import APIRouter, Request
from starlette.responses import Response

from argo_alpine.arithmetic import Floats
from services.common.clock import Clock
from services.sandbox.replies import Allowance, Answered, Json, answer, is_ours
from services.sandbox.tape import Series
from services.sandbox.world import World

CALLS_PER_MINUTE = 1200  # the largest plan
COMPACT = 100  # rows
ZONE = "US/Eastern"
PREMIUM = (
    "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to any of "
    "the premium plans at https://www.alphavantage.co/premium/ to instantly unlock all premium "
    "endpoints"
)
SPARINGLY = (
    "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more "
    "sparingly (1 request per second) to avoid hitting our API rate limit. Or subscribe to our "
    "premium plans at https://www.alphavantage.co/premium/ to instantaneously remove all daily "
    "rate limits and lift the free key rate limit (25 requests per day) as well."
)
BAD_KEY = (
    "the parameter apikey is invalid or missing. Please claim your free API key on "
    "(https://www.alphavantage.co/support/#api-key). It should take less than 20 seconds."
)
NAMES = {
    "RSI": "Relative Strength Index (RSI)",
    "SMA": "Simple Moving Average (SMA)",
    "EMA": "Exponential Moving Average (EMA)",
    "MACD": "Moving Average Convergence/Divergence (MACD)",
}
LINES: Mapping[str, Callable[[Floats, int], Floats]] = {
    "RSI": talib.RSI,
    "SMA": talib.SMA,
    "EMA": talib.EMA,
}
PREMIUM_SPANS = ("1min", "5min", "15min", "30min", "60min", "weekly", "monthly")


def error(text: str) -> Answered:
    """A mistake of the caller's."""
    return Answered(answer({"Error Message": text}))


def invalid(function: str) -> Answered:
    """What an unknown symbol or a wrong parameter gets."""
    return error(
        "Invalid API call. Please retry or visit the documentation "
        f"(https://www.alphavantage.co/documentation/) for {function}."
    )


def information(text: str) -> Answered:
    """A limit of the plan's."""
    return Answered(answer({"Information": text}))


def not_found(path: str) -> Response:
    """Alpha Vantage answers an unknown path with a page."""
    return Response("<html><body><h1>Not Found</h1></body></html>", 404, media_type="text/html")


def whole(told: Mapping[str, str], name: str, default: str | None = None) -> int:
    """A period of 2 bars and more. *Raises* the vendor's error."""
    text = told.get(name, default) or ""
    if not text.isdecimal() or not 2 <= int(text) <= 10_000:
        raise invalid(told["function"])
    return int(text)


def four(value: float) -> str:
    """A number as the vendor writes it."""
    return f"{value:.4f}"


def daily(bars: Series, told: Mapping[str, str]) -> Json:
    """TIME_SERIES_DAILY."""
    size = told.get("outputsize", "compact")
    if size not in ("compact", "full"):
        raise invalid(told["function"])
    some = bars if size == "full" else bars[-COMPACT:]
    columns = zip(*(column.tolist() for column in some.prices()), strict=True)
    heads = ("1. open", "2. high", "3. low", "4. close")
    rows = [dict(zip(heads, map(four, row), strict=True)) for row in columns]
    for row, volume in zip(rows, some.volume.tolist(), strict=True):
        row["5. volume"] = f"{volume:.0f}"
    meta = {
        "1. Information": "Daily Prices (open, high, low, close) and Volumes",
        "2. Symbol": bars.symbol,
        "3. Last Refreshed": some.dates()[-1],
        "4. Output Size": "Full size" if size == "full" else "Compact",
        "5. Time Zone": ZONE,
    }
    return {"Meta Data": meta, "Time Series (Daily)": newest_first(some.dates(), rows)}


def newest_first(dates: list[str], rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    """Rows by date."""
    return dict(zip(reversed(dates), reversed(rows), strict=True))


def drawn(bars: Series, lines: Mapping[str, Floats]) -> dict[str, dict[str, str]]:
    """Indicator lines as rows, from the first day on which all have a value."""
    cold = max(int(np.isnan(line).sum()) for line in lines.values())
    values = zip(*(line[cold:].tolist() for line in lines.values()), strict=True)
    rows = [dict(zip(lines, map(four, row), strict=True)) for row in values]
    return newest_first(bars[cold:].dates(), rows)


def indicator(bars: Series, told: Mapping[str, str]) -> Json:
    """RSI, SMA, EMA or MACD of one price."""
    function, price = told["function"], told.get("series_type", "")
    if price not in ("open", "high", "low", "close"):
        raise invalid(function)
    prices: Floats = np.ascontiguousarray(getattr(bars, price))
    meta: Json = {
        "1: Symbol": bars.symbol,
        "2: Indicator": NAMES[function],
        "3: Last Refreshed": bars.dates()[-1],
        "4: Interval": "daily",
    }
    if function == "MACD":
        periods, lines = momentum(prices, told)
    else:
        period = whole(told, "time_period")
        periods, lines = {"5: Time Period": period}, {function: LINES[function](prices, period)}
    meta |= {**periods, "6: Series Type": price, "7: Time Zone": ZONE}
    return {"Meta Data": meta, f"Technical Analysis: {function}": drawn(bars, lines)}


def momentum(
    prices: Floats, told: Mapping[str, str]
) -> tuple[dict[str, int], dict[str, Floats]]:  # periods for the head, lines in the vendor's order
    """MACD with its signal and histogram."""
    defaults = {"fastperiod": "12", "slowperiod": "26", "signalperiod": "9"}
    fast, slow, smooth = (whole(told, name, value) for name, value in defaults.items())
    macd, signal, histogram = talib.MACD(prices, fast, slow, smooth)
    heads = {"5.1: Fast Period": fast, "5.2: Slow Period": slow, "5.3: Signal Period": smooth}
    return heads, {"MACD": macd, "MACD_Signal": signal, "MACD_Hist": histogram}


class Desk:
    """Answers questions; the same question about the same bars is worked out once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.kept: dict[tuple[object, ...], bytes] = {}

    def reply(self, told: Mapping[str, str]) -> bytes:
        """The JSON for one query. *Raises* `Answered` for one that cannot be answered."""
        function = told.get("function", "")
        if function not in (*NAMES, "TIME_SERIES_DAILY"):
            raise information(PREMIUM) if function else invalid("any function")
        bars = self.bars(told, function)
        asked = tuple(sorted((k, v) for k, v in told.items() if k != "apikey"))
        key = (len(bars), asked)
        if key not in self.kept:
            body = indicator(bars, told) if function in NAMES else daily(bars, told)
            if len(self.kept) >= 256:  # a few symbols and functions a day: more is somebody's loop
                self.kept.clear()
            self.kept[key] = json.dumps(body, indent=4, allow_nan=False).encode()
        return self.kept[key]

    def bars(self, told: Mapping[str, str], function: str) -> Series:
        """Completed bars of the symbol asked for. *Raises* the vendor's errors."""
        symbol = told.get("symbol", "").upper()
        span = told.get("interval", "") if function in NAMES else "daily"
        if function in NAMES and span in PREMIUM_SPANS:
            raise information(PREMIUM)
        if symbol not in self.world.symbols or span != "daily":
            raise invalid(function)
        bars = self.world.known(symbol)
        if not len(bars):
            raise invalid(function)
        return bars


def router(world: World, clock: Clock, calls: int = CALLS_PER_MINUTE) -> APIRouter:
    """Alpha Vantage's one path."""
    routes = APIRouter(prefix="/alpha_vantage")
    desk, minute = Desk(world), Allowance(calls, 60.0, clock)

    @routes.get("/query")
    async def query(request: Request) -> Response:
        """Any function."""
        told = dict(request.query_params)
        if not is_ours(told.get("apikey", "")):
            raise error(BAD_KEY)
        if not minute.spend():
            raise information(SPARINGLY)
        return Response(desk.reply(told), media_type="application/json")

    return routes
