"""A hand-written Alpaca that misbehaves as scripted, and proof that it does."""

import json
import math
import socket
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import requests

from argo_alpine.domain import Consensus, Direction, Order, Signal
from services.argo.brokers.limiter import Limiter

with warnings.catch_warnings():  # alpaca-py 0.44 imports websockets.legacy
    warnings.simplefilter("ignore", DeprecationWarning)
    from services.argo.brokers.alpaca import AlpacaBroker

KEY, SECRET = "sandbox-key-CANARY-7f3a", "sandbox-secret-CANARY-91bc"
AT = datetime(2005, 3, 1, 21, tzinfo=UTC)
STAMP = "2005-03-01T21:00:00.123456789Z"


def order(
    quantity: int = 5,
    leg: str = "entry",
    id: str = "aa1-entry",
    stop: float = 97.03,
    target: float = 105.04,
    symbol: str = "AAPL",
    limit: float = math.nan,
) -> Order:
    side = Direction.LONG if quantity > 0 else Direction.SHORT
    pooled = Consensus(side, 80.0, 1.0, AT, ())
    signal = Signal("s", symbol, side, 80.0, AT, 100.0, stop, target, 10.0, AT, pooled, limit)
    return Order(id, symbol, quantity, AT, leg, signal)


@dataclass(frozen=True)
class Act:
    """What the next call meets; as it is: a broker that works."""

    status: int = 200
    body: Any = None  # None: the honest answer; a text: these bytes
    apply: bool = True
    drop: bool = False  # the line breaks instead of an answer
    hang: bool = False  # nothing is answered
    cut: bool = False  # the line breaks in the middle of the answer
    method: str = "POST"


def error(code: int, message: str, **details: Any) -> dict[str, Any]:
    return {"code": code, "message": message, **details}


DUPLICATE = error(40010001, "client_order_id must be unique")


class FakeAlpaca:
    """Orders by client id, a script of misdeeds, and a record of every request."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.replies: dict[str, Any] = {}  # path -> body, for what has no logic
        self.script: deque[Act] = deque()
        self.requests: list[tuple[str, str, Any]] = []
        self.nests_by_client_id = True
        self.cancels = True
        self.bent: dict[str, Any] = {}  # put into the stop of every new bracket
        self.over = threading.Event()
        self.url = ""

    def posts(self) -> list[Any]:
        return [body for method, _, body in self.requests if method == "POST"]

    def reset(self) -> None:
        url, over = self.url, self.over
        self.__init__()  # type: ignore[misc]
        self.url, self.over = url, over

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        parts = urlsplit(target)
        path, query = unquote(parts.path), parse_qs(parts.query)
        if path in self.replies:
            return 200, self.replies[path]
        if method == "POST" and path == "/v2/orders":
            return self.place(body)
        if path == "/v2/orders:by_client_order_id":
            return self.show(query["client_order_id"][0], self.nests_by_client_id)
        if path.startswith("/v2/orders/"):
            wanted = path.rsplit("/", 1)[1]
            found = next((c for c, o in self.orders.items() if o["id"] == wanted), "")
            return self.end(found) if method == "DELETE" else self.show(found, True)
        if path == "/v2/orders":
            return 200, list(self.orders.values())
        return 404, error(40410000, "endpoint not found.")

    def place(self, body: dict[str, Any]) -> tuple[int, Any]:
        if body["client_order_id"] in self.orders:
            return 422, DUPLICATE
        self.orders[body["client_order_id"]] = self.placed(body)
        return 200, self.orders[body["client_order_id"]]

    def placed(self, body: dict[str, Any]) -> dict[str, Any]:
        n = str(len(self.orders))
        other = "sell" if body["side"] == "buy" else "buy"
        raw = raw_order(f"b{n}", body["client_order_id"], body["symbol"], body["qty"], body["side"])
        raw["order_class"] = body.get("order_class", "")
        raw["type"] = body.get("type", "market")
        raw["limit_price"] = str(body["limit_price"]) if "limit_price" in body else None
        if raw["order_class"] == "bracket":
            common = {"order_class": "bracket", "status": "held"}
            legs = [
                raw_order(f"b{n}-{name}", f"leg-{n}-{name}", body["symbol"], body["qty"], other)
                for name in ("target", "stop")
            ]
            price, stop = body["take_profit"]["limit_price"], body["stop_loss"]["stop_price"]
            legs[0] |= common | {"type": "limit", "limit_price": str(price)}
            legs[1] |= common | {"type": "stop", "stop_price": str(stop)} | self.bent
            raw["legs"] = legs
        return raw

    def show(self, client_id: str, nested: bool) -> tuple[int, Any]:
        if client_id not in self.orders:
            return 404, error(40410000, f"order not found for {client_id}")
        raw = self.orders[client_id]
        return 200, raw if nested else raw | {"legs": None}

    def end(self, client_id: str) -> tuple[int, Any]:
        if client_id not in self.orders:
            return 404, error(40410000, "order not found")
        if self.cancels:
            for each in (self.orders[client_id], *(self.orders[client_id]["legs"] or ())):
                each["status"] = "canceled"
        return 204, ""


def raw_order(id: str, client_id: str, symbol: str, qty: float, side: str) -> dict[str, Any]:
    return {
        "id": id,
        "client_order_id": client_id,
        "symbol": symbol,
        "qty": f"{qty:g}",
        "filled_qty": "0",
        "filled_avg_price": None,
        "order_class": "",
        "type": "market",
        "side": side,
        "time_in_force": "gtc",
        "limit_price": None,
        "stop_price": None,
        "status": "accepted",
        "submitted_at": STAMP,
        "updated_at": STAMP,
        "legs": None,
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer waits 40 ms
    fake: FakeAlpaca

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.fake.requests.append((self.command, self.path, body))
        script = self.fake.script
        act = script.popleft() if script and script[0].method == self.command else Act()
        status, said = self.fake.answer(self.command, self.path, body) if act.apply else (200, "")
        if act.hang:
            self.fake.over.wait(10)
        if act.drop or act.hang:
            self.end_line()
            return
        if act.body is not None or act.status != 200:
            status, said = act.status, act.body if act.body is not None else ""
        self.reply(status, said if isinstance(said, str) else json.dumps(said), act.cut)

    do_POST = do_DELETE = do_GET

    def reply(self, status: int, said: str, cut: bool) -> None:
        data = said.encode()
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.end_line()

    def end_line(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def alpaca() -> Iterator[FakeAlpaca]:
    """A fake on a free port of this machine."""
    fake = FakeAlpaca()
    handler = type("Bound", (Handler,), {"fake": fake})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        fake.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def broker(fake: FakeAlpaca, **options: Any) -> AlpacaBroker:
    """The adapter under test, pointed at a fake."""
    stream = fake.url.replace("http", "ws") + "/stream"
    arguments: dict[str, Any] = {
        "key": KEY,
        "secret": SECRET,
        "base_url": fake.url,
        "stream_url": stream,
        "limiter": Limiter(lambda: 0.0, per_minute=100_000, reserve=10),
    }
    return AlpacaBroker(**(arguments | options))


BODY = {"client_order_id": "c", "symbol": "AAPL", "qty": 1.0, "side": "buy"}


def test_the_fake_places_an_order_even_when_its_answer_says_otherwise():
    with alpaca() as fake:
        fake.script.append(Act(504, "<html>"))
        assert requests.post(f"{fake.url}/v2/orders", json=BODY, timeout=5).status_code == 504
        assert list(fake.orders) == ["c"]


@pytest.mark.parametrize(("applied", "there"), [(True, ["c"]), (False, [])])
def test_the_fake_breaks_the_line_before_or_after_placing_the_order(applied, there):
    with alpaca() as fake:
        fake.script.append(Act(drop=True, apply=applied))
        with pytest.raises(requests.ConnectionError):
            requests.post(f"{fake.url}/v2/orders", json=BODY, timeout=5)
        assert list(fake.orders) == there
