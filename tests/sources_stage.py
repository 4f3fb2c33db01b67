"""Vendors that say what a test tells them to, on a port of their own."""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

FIXTURES = Path(__file__).parents[1].parent / "shared" / "fixtures"
KEY = "canary/Qz7+pL2xW9vT4k"  # with characters that change in a URL
AT = datetime(2024, 3, 1, 22, 0, tzinfo=UTC)  # an hour after the close of Friday, 1 March
CLOSE = datetime(2024, 3, 1, 21, 0, tzinfo=UTC)


def fixture(vendor: str, name: str) -> bytes:
    """A recorded reply, or a test that is skipped by name."""
    path = FIXTURES / vendor / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"no fixture {vendor}/{name}")
    return path.read_bytes()


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Said:
    """One reply."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Callable[[], Iterator[bytes]] | None = None  # instead of body, one by one
    raw: bytes | None = None  # instead of everything, and then silence

    def bytes(self) -> bytes:
        """The body as it goes out."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Vendor:
    """Answers with what `answer` makes of a request, and remembers all of them."""

    base: str = ""
    answer: Callable[[Asked], Said] = lambda asked: Said({}, 404)
    asked: list[Asked] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def says(self, body: Any, status: int = 200, **headers: str) -> None:
        """The same answer from now on."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer = lambda asked: Said(body, status, named)


@contextmanager
def serving() -> Iterator[Vendor]:
    """A vendor that listens, and stops at the end."""
    vendor = Vendor()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            url, size = urlsplit(self.path), int(self.headers.get("Content-Length", 0))
            sent = self.rfile.read(size)
            body = json.loads(sent) if sent else None
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, url.path, dict(parse_qsl(url.query)), headers, body)
            vendor.asked.append(asked)
            try:
                self.reply(vendor.answer(asked))
            except OSError:
                self.close_connection = True  # the other side had enough

        do_POST = do_GET

        def reply(self, said: Said) -> None:
            if said.raw is not None:
                self.wfile.write(said.raw)
                vendor.released.wait(10)
                self.close_connection = True
                return
            self.send_response_only(said.status)  # without a date of its own
            for name, value in said.headers.items():
                self.send_header(name, value)
            if said.pieces:
                self.send_header("Connection", "close")
                self.end_headers()
                for piece in said.pieces():
                    self.wfile.write(piece)
                return
            content = said.bytes()
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    vendor.base = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield vendor
    finally:
        vendor.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class Counts:
    """A `Meter` in memory."""

    def __init__(self) -> None:
        self.days: dict[Any, list[float]] = defaultdict(lambda: [0, 0.0])

    def used(self, source: str, day: Any) -> tuple[int, float]:
        calls, usd = self.days[source, day]
        return int(calls), usd

    def use(self, source: str, day: Any, calls: int, usd: float) -> None:
        self.days[source, day][0] += calls
        self.days[source, day][1] += usd


class Ticks:
    """A monotonic clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# Replies as the vendors make them when all is well

DAYS = ("2024-02-28", "2024-02-29", "2024-03-01")


def midnight(day: str) -> int:
    """Midnight in New York (winter), milliseconds."""
    return int(datetime.fromisoformat(f"{day}T05:00:00+00:00").timestamp() * 1000)


def bar_row(day: str, price: float = 100.0) -> dict[str, Any]:
    """A day of trading."""
    low, high = price - 2, price + 2
    return {
        **{"v": 1.5e6, "vw": price, "o": price - 1, "c": price, "h": high, "l": low},
        **{"t": midnight(day), "n": 10},
    }


def aggregates(symbol: str, days: tuple[str, ...] = DAYS, **more: Any) -> dict[str, Any]:
    """A page of daily bars."""
    rows = [bar_row(day) for day in days]
    head = {"ticker": symbol, "adjusted": True, "status": "OK", "resultsCount": len(rows)}
    return {**head, **({"results": rows} if rows else {}), **more}


def nanoseconds(at: datetime) -> int:
    """An instant as trades have it."""
    return int(at.timestamp() * 1_000_000) * 1000


def snapshot(*symbols: str, at: datetime = CLOSE, price: float = 101.5) -> dict[str, Any]:
    """Last trades."""
    trade = {"p": price, "t": nanoseconds(at), "s": 100}
    shots = [{"ticker": symbol, "lastTrade": trade} for symbol in symbols]
    return {"count": len(shots), "status": "OK", "tickers": shots}


def massive_vendor(asked: Asked) -> Said:
    """Massive on a good day."""
    if "snapshot" in asked.path:
        return Said(snapshot(*asked.query["tickers"].split(",")))
    *_, symbol, _, _, _, first, last = asked.path.split("/")
    return Said(aggregates(symbol, tuple(d for d in DAYS if first <= d <= last)))


VALUES = {"RSI": "61.2500", "MACD": "1.2345", "EMA": "99.5000", "SMA": "97.1250"}


def indicator(asked: dict[str, str], day: str = DAYS[-1], value: str | None = None) -> Any:
    """One answer of Alpha Vantage."""
    function = asked["function"]
    if function == "TIME_SERIES_DAILY":
        meta = {"2. Symbol": asked["symbol"], "3. Last Refreshed": day}
        row = {"1. open": "99.0", "4. close": value or "100.2500", "5. volume": "1"}
        return {"Meta Data": meta, "Time Series (Daily)": {day: row}}
    meta = {"1: Symbol": asked["symbol"], "3: Last Refreshed": day, "4: Interval": "daily"}
    if "time_period" in asked:
        meta["5: Time Period"] = int(asked["time_period"])  # type: ignore[assignment]
    row = {f"{function}_Signal": "9.9", function: value or VALUES[function]}
    return {"Meta Data": meta, f"Technical Analysis: {function}": {day: row}}


def alpha_vendor(asked: Asked) -> Said:
    """Alpha Vantage on a good day."""
    return Said(indicator(asked.query))


def post(number: int, text: str, *, author: int = 7, at: datetime = CLOSE) -> dict[str, Any]:
    """A post."""
    stamp = f"{at:%Y-%m-%dT%H:%M:%S}.000Z"
    return {"id": str(number), "text": text, "author_id": str(author), "created_at": stamp}


def page(*posts: dict[str, Any]) -> dict[str, Any]:
    """An answer of X."""
    if not posts:
        return {"meta": {"result_count": 0}}
    return {"data": [*posts], "meta": {"result_count": len(posts), "newest_id": posts[0]["id"]}}


def answer(
    direction: Any = "LONG", confidence: Any = 80, reason: Any = "demand", **more: Any
) -> dict[str, Any]:
    """An answer of Perplexity's Agent API."""
    form = {"direction": direction, "confidence": confidence, "reason": reason, "citations": []}
    return agent_reply(json.dumps(form), **more)


def agent_reply(text: Any, at: datetime = CLOSE, **more: Any) -> dict[str, Any]:
    """The envelope around a text."""
    message = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    stamp = int(at.timestamp())
    head = {"status": "completed", "error": None, "created_at": stamp, "completed_at": stamp}
    usage = {"cost": {"currency": "USD", "total_cost": 0.0015}}
    found = {"type": "search_results", "results": []}
    return {**head, "output": [found, message], "usage": usage, **more}


def later(**by: float) -> datetime:
    """Market time, moved."""
    return AT + timedelta(**by)
