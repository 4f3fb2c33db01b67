"""The stand-in inside the whole sandbox, over the recorded days."""

import json
from datetime import date

import pytest
from sandbox_alpaca_stage import served, trading

from argo_alpine.loading import load
from services.sandbox.app import create_app
from services.sandbox.world import SYMBOLS, World


@pytest.fixture
def world():
    """The recorded market, standing still."""
    return World(load(SYMBOLS), date(2005, 3, 1))


def bracket(world, width=0.05):
    """A bracket around the last price."""
    price = world.quotes["AAPL"].last
    return {
        "symbol": "AAPL",
        "qty": 100,
        "side": "buy",
        "type": "market",
        "time_in_force": "gtc",
        "order_class": "bracket",
        "take_profit": {"limit_price": round(price * (1 + width), 2)},
        "stop_loss": {"stop_price": round(price * (1 - width), 2)},
        "client_order_id": "mine",
    }


def test_an_order_meets_the_markets_next_second(world):
    with served(create_app(world)) as host:
        client = trading(host, raw=True)
        client.post("/orders", bracket(world))
        assert client.get("/positions") == []
        world.move(1)
        (position,) = client.get("/positions")
        assert position["avg_entry_price"] == str(world.quotes["AAPL"].ask)


def test_an_order_sent_after_the_close_is_filled_at_the_next_days_open(world):
    world.leap(1)
    with served(create_app(world)) as host:
        client = trading(host, raw=True)
        assert not client.get("/clock")["is_open"]
        assert client.post("/orders", bracket(world))["status"] == "accepted"
        world.move(world.dwell - 1)
        assert client.get("/orders")[-1]["status"] == "accepted"
        world.leap(1)
        order = client.get("/orders:by_client_order_id", {"client_order_id": "mine"})
        assert order["status"] == "filled"
        assert float(order["filled_avg_price"]) == world.quotes["AAPL"].ask
        assert client.get("/clock")["timestamp"] == "2005-03-02T09:30:00-05:00"


def test_a_restored_world_has_its_orders_back(world):
    world.exchange.submit(bracket(world), world.at)
    state = json.loads(json.dumps(world.state()))
    with served(create_app(world)) as host:
        client = trading(host, raw=True)
        world.leap(30)
        assert client.get("/orders") == []  # stopped out, or better
        world.restore(state)
        assert world.state() == state
        assert client.get("/orders")[-1]["client_order_id"] == "mine"
