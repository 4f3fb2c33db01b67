"""Every update is heard or counted as a gap, and the thread ends when told to."""

import json
import logging
import queue
import threading
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
from test_broker_fake import KEY, SECRET, alpaca, broker, raw_order
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from services.argo.brokers import alpaca_stream
from services.argo.ports import OrderState

FIXTURES = Path(__file__).parents[2].parent / "shared" / "fixtures" / "alpaca"
SOON = 10.0  # seconds before a test gives up

AUTHORIZED = {"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}}
UNAUTHORIZED = {"stream": "authorization", "data": {"status": "unauthorized", "action": "listen"}}
LISTENING = {"stream": "listening", "data": {"streams": ["trade_updates"]}}


def update(raw, event="new"):
    return {"stream": "trade_updates", "data": {"event": event, "order": raw}}


def binary(said):
    """As the paper host sends it."""
    return json.dumps(said).encode()


class Line:
    """A stream server that lets the test speak, one connection after the other."""

    def __init__(self):
        self.connections = queue.Queue()
        self.greeted = queue.Queue()
        self.begun = []  # when each connection came
        self.greeting = [AUTHORIZED, LISTENING]
        self.over = threading.Event()
        self.url = ""

    def serve(self, socket):
        self.begun.append(monotonic())
        heard = []
        try:
            for said in self.greeting:
                heard.append(json.loads(socket.recv()))
                socket.send(binary(said))
            self.greeted.put(heard)
            self.connections.put(socket)
            for _ in socket:
                """Wait for the client to leave."""
        except ConnectionClosed:
            """The client left first."""

    def connection(self):
        return self.connections.get(timeout=SOON)


@contextmanager
def stream():
    line, silent = Line(), logging.getLogger("line")
    silent.setLevel(logging.WARNING)  # it would write down what it was sent
    with serve(line.serve, "127.0.0.1", 0, logger=silent) as server:
        line.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/stream"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield line
        finally:
            server.shutdown()
            thread.join()


class Ears:
    """What an engine hears."""

    def __init__(self):
        self.heard = queue.Queue()
        self.sore = False

    def order(self, order):
        if self.sore:
            self.sore = False
            raise RuntimeError("the engine has a fault")
        self.heard.put(order)

    def gap(self):
        self.heard.put("gap")

    def next(self):
        return self.heard.get(timeout=SOON)


@pytest.fixture
def line():
    with stream() as running:
        yield running


@pytest.fixture
def fake():
    with alpaca() as running:
        yield running


@pytest.fixture
def ears():
    return Ears()


@pytest.fixture
def quick(monkeypatch):
    """Reconnect after hundredths of a second instead of seconds."""
    monkeypatch.setattr(alpaca_stream.Updates, "_reconnect_delay", lambda self, retries: 0.02)


@pytest.fixture
def listening(fake, line, ears):
    stop = broker(fake, stream_url=line.url).listen(ears.order, ears.gap)
    yield line.connection()
    stop()


def test_the_greeting_is_the_vendors_and_ends_in_a_gap(listening, line, ears):
    assert line.greeted.get(timeout=SOON) == [
        {"action": "authenticate", "data": {"key_id": KEY, "secret_key": SECRET}},
        {"action": "listen", "data": {"streams": ["trade_updates"]}},
    ]
    assert ears.next() == "gap"


def test_an_update_is_read_as_rest_replies_are(listening, ears):
    raw = raw_order("b0", "aa1-entry", "AAPL", 5, "sell")
    filled = raw | {"status": "filled", "filled_qty": "5", "filled_avg_price": "9.5"}
    listening.send(binary(update(raw | {"status": "unheard_of"})))
    listening.send(json.dumps(update(filled, "fill")))  # as text, as other hosts send it
    assert ears.next() == "gap"
    first, second = ears.next(), ears.next()
    assert (first.client_id, first.quantity, first.state) == ("aa1-entry", -5, OrderState.OPEN)
    assert (second.filled, second.average, second.state) == (-5, 9.5, OrderState.FILLED)


def test_the_documented_conversation_is_understood(listening, ears):
    path = FIXTURES / "ws_session_trade_updates_doc.json"
    if not path.exists():
        pytest.skip(f"{path.name} is missing")
    said = [m["frame"] for m in json.loads(path.read_text()) if m["from"] == "server"]
    listening.send(binary(said[-1]))
    assert ears.next() == "gap"
    found = ears.next()
    assert (found.symbol, found.filled, found.state) == ("SOLUSD", -1790.86, OrderState.FILLED)


GAPS = {
    "an order that cannot be read": binary(update({"id": "b0", "secret": SECRET})),
    "an order that is our secret": binary(update([SECRET])),
    "no order": binary({"stream": "trade_updates", "data": None}),
    "no JSON": b"\xff\xfe{",
    "no object": b"[1]",
    "endless brackets": b"[" * 100_000,
    "a correction": binary(update(raw_order("b9", "c9", "AAPL", 1, "buy"), "trade_bust")),
}


@pytest.mark.parametrize("frame", GAPS.values(), ids=GAPS)
def test_what_cannot_be_relied_on_is_a_gap_and_the_stream_goes_on(listening, ears, caplog, frame):
    caplog.set_level(logging.DEBUG)
    listening.send(frame)
    listening.send(binary(update(raw_order("b0", "c0", "AAPL", 5, "buy"))))
    heard = [ears.next(), ears.next(), ears.next()]
    if b"trade_bust" in frame:
        heard.append(ears.next())
    assert heard.count("gap") == 2
    assert heard[-1].id == "b0"
    assert "CANARY" not in caplog.text


def test_a_fault_of_the_engine_is_a_gap_and_ends_nothing(listening, ears):
    ears.sore = True
    listening.send(binary(update(raw_order("b0", "c0", "AAPL", 5, "buy"))))
    listening.send(binary(update(raw_order("b1", "c1", "AAPL", 5, "buy"))))
    assert [ears.next(), ears.next()] == ["gap", "gap"]
    assert ears.next().id == "b1"


def test_every_new_connection_is_a_gap(quick, listening, line, ears):
    assert ears.next() == "gap"
    listening.close()
    again = line.connection()
    assert ears.next() == "gap"
    again.send(binary(update(raw_order("b0", "c0", "AAPL", 5, "buy"))))
    assert ears.next().id == "b0"


@pytest.mark.parametrize(
    "greeting",
    [
        [UNAUTHORIZED],
        [AUTHORIZED, UNAUTHORIZED],
        [AUTHORIZED, {"stream": "listening", "data": {"streams": []}}],
        [{"stream": "nonsense"}],
    ],
    ids=["wrong key", "not for this key", "no such stream", "nonsense"],
)
def test_a_server_that_does_not_let_us_listen_is_not_pestered(fake, line, ears, caplog, greeting):
    caplog.set_level(logging.DEBUG)
    line.greeting = greeting
    stop = broker(fake, stream_url=line.url).listen(ears.order, ears.gap)
    line.connection()
    line.connection()
    stop()
    assert ears.heard.empty()
    assert line.begun[1] - line.begun[0] >= 0.5
    assert "CANARY" not in caplog.text


def test_a_library_that_writes_its_frames_down_is_caught(fake, line, ears, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    talkative = alpaca_stream.SOCKET | {"logger": logging.getLogger("talkative")}
    monkeypatch.setattr(alpaca_stream, "SOCKET", talkative)
    stop = broker(fake, stream_url=line.url).listen(ears.order, ears.gap)
    line.connection()
    stop()
    assert "CANARY" in caplog.text


def test_the_wait_between_attempts_grows_to_half_a_minute(fake, ears):
    updates = alpaca_stream.Updates(KEY, SECRET, "ws://127.0.0.1:1/stream", ears.order, ears.gap)
    assert all(15 <= updates._reconnect_delay(n) <= 30 for n in (6, 10, 1_000))


@pytest.mark.parametrize("state", ["listening", "unreachable", "mute", "waiting"])
def test_the_thread_and_its_socket_end_within_two_seconds(fake, line, ears, state):
    there = broker(fake, stream_url=line.url)
    if state == "unreachable":
        there.stream_url = "ws://127.0.0.1:1/stream"
    if state == "mute":
        line.greeting = []
    if state == "waiting":
        line.greeting = [UNAUTHORIZED]
    before = set(threading.enumerate())
    stop = there.listen(ears.order, ears.gap)
    (thread,) = {t for t in threading.enumerate() if t.name == "alpaca-updates"} - before
    if state != "unreachable":
        line.connection()
    assert thread.is_alive()
    began = monotonic()
    stop()
    assert not thread.is_alive()
    assert monotonic() - began < 2
    stop()  # a second time changes nothing


def test_a_stream_may_be_ended_from_within(fake, line, ears):
    ends = []
    ends.append(broker(fake, stream_url=line.url).listen(ears.order, lambda: ends[0]()))
    (thread,) = (t for t in threading.enumerate() if t.name == "alpaca-updates")
    thread.join(SOON)
    assert not thread.is_alive()
