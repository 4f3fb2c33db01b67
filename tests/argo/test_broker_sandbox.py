"""The adapter against the sandbox: an order's whole life, seen by REST and by the stream."""

import queue
from collections.abc import Iterator
from datetime import date
from time import monotonic

import pytest
from test_broker_fake import AlpacaBroker, order

from argo_alpine.domain import RefusedOrder, UnavailableBroker, UnknownOutcome
from argo_alpine.loading import load
from argo_alpine.sessions import day_number
from services.argo.brokers.limiter import Limiter
from services.argo.ports import OrderState
from tests.sandbox_server import Running, running

SOON = 10.0  # seconds before a test gives up


def broker(sandbox: Running) -> AlpacaBroker:
    url = f"{sandbox.base}/alpaca"
    return AlpacaBroker(
        key="sandbox-key",
        secret="sandbox-secret",
        base_url=url,
        stream_url=url.replace("http", "ws", 1) + "/stream",
        limiter=Limiter(monotonic),
    )


@pytest.fixture
def sandbox() -> Iterator[Running]:
    """At the open of 2 March 2005: AAPL will rise a little and then fall."""
    with running(start=date(2005, 3, 1)) as started:
        assert started.step(windows=2)["window"] == "open"
        yield started


def near(sandbox: Running, quantity: int = 5, id: str = "aa1-entry"):
    """An entry whose target is close and whose stop is far."""
    price = sandbox.world.quotes["AAPL"].last
    return order(quantity, id=id, stop=price * 0.9, target=price * 1.003)


def test_an_entry_is_filled_its_target_is_met_and_its_stop_is_canceled(sandbox):
    there, heard = broker(sandbox), queue.Queue()
    since = there.clock()
    stop = there.listen(heard.put, lambda: heard.put("gap"))
    try:
        assert heard.get(timeout=SOON) == "gap"
        entry = near(sandbox)
        placed = there.submit(entry)
        assert (placed.state, len(placed.legs)) == (OrderState.OPEN, 2)
        sandbox.step(seconds=1)
        filled = there.find(entry.id)
        assert (filled.state, filled.filled) == (OrderState.FILLED, 5)
        assert there.positions()["AAPL"].quantity == 5
        sandbox.step(windows=1)
        ended = {leg.leg: leg for leg in there.find(entry.id).legs}
        assert ended["target"].filled == -5
        assert ended["target"].average >= ended["target"].price
        assert ended["stop"].state is OrderState.CANCELED
        assert there.positions() == {}
        (listed,) = [each for each in there.orders(since) if each.client_id == entry.id]
        assert {leg.id for leg in listed.legs} == {leg.id for leg in ended.values()}
        told = {}
        while told.get(ended["stop"].id) is not OrderState.CANCELED:
            update = heard.get(timeout=SOON)
            told[update.id] = update.state
        assert told[placed.id] is told[ended["target"].id] is OrderState.FILLED
    finally:
        stop()


def lowest(sandbox: Running) -> float:
    """The low of the day on which a sandbox stands."""
    bars = load(["AAPL"])
    return float(bars.low[bars.days == day_number(date(2005, 3, 2)), 0][0])


def limited(sandbox: Running, limit: float, id: str = "aa1-limit"):
    """An entry at a limit with both legs far away."""
    price = sandbox.world.quotes["AAPL"].last
    return order(5, id=id, stop=price * 0.8, target=price * 1.2, limit=limit)


def test_a_limit_entry_waits_for_its_price_and_is_filled_there(sandbox):
    there, price = broker(sandbox), sandbox.world.quotes["AAPL"].last
    low = lowest(sandbox)
    assert low < price - 0.05
    limit = round((price + low) / 2, 2)
    entry = limited(sandbox, limit)
    placed = there.submit(entry)
    assert (placed.state, placed.price, len(placed.legs)) == (OrderState.OPEN, limit, 2)
    sandbox.step(seconds=5)
    assert there.find(entry.id).state is OrderState.OPEN
    assert there.positions() == {}
    for _ in range(2):  # one of them is the low
        sandbox.step(windows=1)
    filled = there.find(entry.id)
    assert (filled.state, filled.filled) == (OrderState.FILLED, 5)
    assert filled.average <= limit
    assert {leg.leg: leg.state for leg in filled.legs} == {
        "target": OrderState.OPEN,
        "stop": OrderState.OPEN,
    }
    assert there.positions()["AAPL"].quantity == 5


def test_a_limit_above_the_market_is_filled_at_the_market(sandbox):
    there, price = broker(sandbox), sandbox.world.quotes["AAPL"].last
    entry = limited(sandbox, round(price * 1.05, 2))
    there.submit(entry)
    sandbox.step(seconds=1)
    assert there.find(entry.id).average < price * 1.01


def test_a_limit_the_market_never_reaches_stays_open_until_it_is_canceled(sandbox):
    there, low = broker(sandbox), lowest(sandbox)
    entry = limited(sandbox, round(low * 0.97, 2))
    placed = there.submit(entry)
    sandbox.step(windows=3)
    assert there.find(entry.id).state is OrderState.OPEN
    there.cancel(placed.id)
    sandbox.step(seconds=1)
    ended = there.find(entry.id)
    assert {each.state for each in (ended, *ended.legs)} == {OrderState.CANCELED}
    assert there.positions() == {}


def test_an_answer_lost_after_placing_never_makes_a_second_order(sandbox):
    there = broker(sandbox)
    since = there.clock()
    entry = near(sandbox)
    sandbox.faults({"prefix": "/alpaca", "method": "POST", "kind": "drop_after", "times": 1})
    with pytest.raises(UnknownOutcome):
        there.submit(entry)
    placed = there.submit(entry)
    assert placed == there.find(entry.id)
    assert [each.id for each in there.orders(since)] == [placed.id]


def test_a_close_flattens_and_a_cancel_too_late_is_no_error(sandbox):
    there = broker(sandbox)
    placed = there.submit(near(sandbox))
    sandbox.step(seconds=1)
    for leg in placed.legs:
        there.cancel(leg.id)
    there.submit(order(-5, "close", "aa1-close"))
    sandbox.step(seconds=1)
    assert there.positions() == {}
    assert there.find("aa1-close").filled == -5
    there.cancel(placed.id)


def test_too_large_an_order_is_refused_and_an_unknown_key_is_no_answer(sandbox):
    there = broker(sandbox)
    with pytest.raises(RefusedOrder, match="buying power"):
        there.submit(near(sandbox, quantity=1_000_000))
    assert there.find("aa1-entry") is None
    there._secrets = ("nobody", "nothing")
    there._local.__dict__.clear()
    with pytest.raises(UnavailableBroker, match="401"):
        there.account()
