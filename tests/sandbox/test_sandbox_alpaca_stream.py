"""The stream of trade updates, heard by the official client and by a bare socket."""

import json
from collections.abc import Iterator

import pytest
from sandbox_alpaca_stage import (
    PATIENCE,
    Broker,
    Stage,
    application,
    listening,
    open_broker,
    served,
)
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

OLD = {"action": "authenticate", "data": {"key_id": "sandbox-k", "secret_key": "sandbox-s"}}
NEW = {"action": "auth", "key": "sandbox-k", "secret": "sandbox-s"}
LISTEN = {"action": "listen", "data": {"streams": ["trade_updates", "weather"]}}


@pytest.fixture
def stage() -> Stage:
    """A broker just after the open."""
    return Stage(open_broker())


@pytest.fixture
def host(stage: Stage) -> Iterator[str]:
    """Where it is served."""
    with served(application(stage)) as host:
        yield host


def heard(socket: ClientConnection) -> dict:
    """The next frame, which is binary."""
    frame = socket.recv(PATIENCE)
    assert isinstance(frame, bytes)
    return json.loads(frame)


def said(socket: ClientConnection, message: dict) -> dict:
    """What is answered."""
    socket.send(json.dumps(message))
    return heard(socket)


def test_the_official_client_hears_a_bracket_from_its_first_event_to_its_last(stage, host):
    broker = stage.exchange
    with listening(host) as ear:
        entry, target, stop = broker.bracket()
        broker.price(100)
        broker.price(94)
        updates = ear.next(8)
    told = [(str(getattr(u.event, "value", u.event)), str(u.order.id)) for u in updates]
    assert told == [
        ("pending_new", entry),
        ("new", entry),
        ("held", target),
        ("held", stop),
        ("fill", entry),
        ("new", target),
        ("fill", stop),
        ("canceled", target),
    ]
    fill = updates[6]
    assert (fill.price, fill.qty, fill.position_qty) == (93.99, 10, 0)
    assert fill.execution_id and fill.order.filled_avg_price == "93.99"


def test_the_official_client_parses_every_kind_of_event(stage, host):
    broker = stage.exchange
    with listening(host) as ear:
        entry, target, _ = broker.bracket()
        broker.fill(entry, 4, 100, broker.at)
        broker.price(100)
        broker.fill(target, 4, 105, broker.at)
        other = broker.ask_for(symbol="IBM", type="limit", limit_price=90)["id"]
        broker.reject(broker.replace(other, {"limit_price": 91}, broker.at)["id"], broker.at)
        broker.ask_for(symbol="IBM", type="limit", limit_price=90, time_in_force="day")
        broker.close_market(broker.at)
        seen = [str(getattr(u.event, "value", u.event)) for u in ear.next(18)]
    assert set(seen) >= {
        "pending_new", "new", "held", "partial_fill", "fill", "restated",
        "replaced", "rejected", "expired",
    }  # fmt: skip


@pytest.mark.parametrize("greeting", [OLD, NEW])
def test_both_forms_of_authentication_are_understood(stage, host, greeting):
    with connect(f"ws://{host}/alpaca/stream") as socket:
        answer = {"status": "authorized", "action": greeting["action"]}
        assert said(socket, greeting) == {"stream": "authorization", "data": answer}
        streams = {"streams": ["trade_updates"]}
        assert said(socket, LISTEN) == {"stream": "listening", "data": streams}
        stage.exchange.ask_for(client_order_id="mine")
        update = heard(socket)
    assert update["stream"] == "trade_updates" and update["data"]["event"] == "pending_new"
    assert update["data"]["order"]["client_order_id"] == "mine"
    assert {"at", "timestamp", "event_id"} <= update["data"].keys()


@pytest.mark.parametrize(
    "greeting", [{"action": "auth", "key": "live", "secret": "sandbox"}, {"action": "auth"}]
)
def test_wrong_keys_are_told_so_and_sent_away(host, greeting):
    with connect(f"ws://{host}/alpaca/stream") as socket:
        answer = {"status": "unauthorized", "action": "auth"}
        assert said(socket, greeting) == {"stream": "authorization", "data": answer}
        with pytest.raises(ConnectionClosed):
            socket.recv(PATIENCE)


@pytest.mark.parametrize("frame", [json.dumps(LISTEN), "no json", "[]", b"\xff"])
def test_whoever_has_not_said_who_it_is_hears_nothing(stage, host, frame):
    with connect(f"ws://{host}/alpaca/stream") as socket:
        socket.send(frame)
        assert heard(socket)["data"]["status"] == "unauthorized"
        stage.exchange.ask_for()
        assert said(socket, NEW)["data"]["status"] == "authorized"  # and nothing in between


def test_an_empty_list_ends_the_stream_but_not_the_connection(stage, host):
    with connect(f"ws://{host}/alpaca/stream") as socket:
        said(socket, NEW), said(socket, LISTEN)
        silence = {"action": "listen", "data": {"streams": []}}
        assert said(socket, silence)["data"] == {"streams": []}
        stage.exchange.ask_for()
        assert said(socket, LISTEN)["stream"] == "listening"


def test_every_connection_hears_everything_and_nothing_is_replayed(stage, host):
    broker = stage.exchange
    with (
        connect(f"ws://{host}/alpaca/stream") as first,
        connect(f"ws://{host}/alpaca/stream") as second,
    ):
        said(first, NEW), said(first, LISTEN)
        broker.ask_for(client_order_id="before")
        assert [heard(first)["data"]["event"] for _ in range(2)] == ["pending_new", "new"]
        said(second, NEW), said(second, LISTEN)
        broker.price(100)
        assert heard(first) == heard(second)  # the fill; the past is lost to the second


def test_a_broker_put_in_anothers_place_ends_the_connection(stage, host):
    with connect(f"ws://{host}/alpaca/stream") as socket:
        said(socket, NEW), said(socket, LISTEN)
        stage.exchange = Broker.restored(stage.exchange.state())
        with pytest.raises(ConnectionClosed):
            socket.recv(PATIENCE)


def test_a_client_that_went_is_forgotten(stage, host):
    with connect(f"ws://{host}/alpaca/stream") as socket:
        said(socket, NEW)
        assert len(stage.exchange.listeners) == 1
    with connect(f"ws://{host}/alpaca/stream") as socket:
        for _ in range(100):  # each answer gives the server time to notice
            said(socket, NEW)
            if len(stage.exchange.listeners) == 1:
                return
    raise AssertionError("the server goes on talking to a client that went")
