"""Whatever is ordered and whatever the price does: the books of the simulated broker hold.

A second, much simpler reckoning listens to the events and does its own arithmetic.
"""

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sandbox_alpaca_stage import Broker, open_broker

from services.sandbox import exchange_books, exchange_market
from services.sandbox.brackets import after_fill
from services.sandbox.exchange import ApiError

FINAL = {"filled", "canceled", "expired", "rejected", "replaced"}
STATUS = {  # what an event says of the order it is about
    "pending_new": "pending_new",
    "new": "new",
    "held": "held",
    "partial_fill": "partially_filled",
    "fill": "filled",
    "canceled": "canceled",
    "expired": "expired",
    "rejected": "rejected",
    "replaced": "replaced",
}


class Reckoning:
    """What must be so, from the events alone."""

    def __init__(self, broker: Broker) -> None:
        self.broker, self.cash = broker, broker.cash
        self.shares: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.filled: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.ended: dict[str, str] = {}
        self.executions: set[str] = set()
        self.group: dict[str, str] = {}  # leg -> entry
        self.side: dict[str, int] = {}  # of a bracket's entry
        self.net: defaultdict[str, Decimal] = defaultdict(Decimal)  # of a bracket
        broker.subscribe(self.hear)

    def hear(self, event):
        """One event, checked against all before."""
        order, kind = event["order"], event["event"]
        assert order["id"] not in self.ended, f"{kind} after {self.ended[order['id']]}"
        if kind in STATUS:
            assert order["status"] == STATUS[kind], kind
        if order["status"] in FINAL:
            self.ended[order["id"]] = order["status"]
        for leg in order["legs"] or ():
            if order["order_class"] in ("bracket", "oto"):
                self.group[leg["id"]] = self.group.get(order["id"], order["id"])
        if kind == "replaced" and order["replaced_by"]:
            old = order["id"]
            self.group[order["replaced_by"]] = self.group.get(old, old)
        if kind in ("fill", "partial_fill"):
            self.fill(event, order)

    def fill(self, event, order):
        """Shares against money, and never more than was asked for."""
        assert event["execution_id"] not in self.executions
        self.executions.add(event["execution_id"])
        sign = 1 if order["side"] == "buy" else -1
        qty, price = Decimal(event["qty"]), Decimal(event["price"])
        assert qty > 0
        held = self.shares[order["symbol"]]
        self.cash -= sign * qty * price
        self.shares[order["symbol"]] += sign * qty
        after = self.shares[order["symbol"]]
        assert held * after >= 0, "an order turned a position around"
        if order["position_intent"].endswith("to_close"):
            assert abs(after) < abs(held), "an exit opened a position"
        self.filled[order["id"]] += qty
        assert Decimal(order["filled_qty"]) == self.filled[order["id"]]
        assert self.filled[order["id"]] <= Decimal(order["qty"])
        assert Decimal(event["position_qty"]) == after
        if order["order_class"] in ("bracket", "oto"):
            self.bracket(self.group.get(order["id"], order["id"]), sign * qty)

    def bracket(self, entry, quantity):
        """A group gives back at most what its entry took."""
        side = self.side.setdefault(entry, 1 if quantity > 0 else -1)
        self.net[entry] += quantity
        assert side * self.net[entry] >= 0, "a bracket sold more than it bought"

    def compare(self):
        """The broker's own books say the same."""
        held = {symbol: qty for symbol, qty in self.shares.items() if qty}
        told = {p["symbol"]: Decimal(p["qty"]) for p in self.broker.positions()}
        account = self.broker.account()
        assert told == held and Decimal(account["cash"]) == self.cash
        value = sum(qty * self.broker.ticks[symbol].last for symbol, qty in held.items())
        assert Decimal(account["equity"]) == self.cash + value
        assert Decimal(account["buying_power"]) >= 0
        for order in self.broker.orders("all", limit=10_000):
            assert (order["status"] in FINAL) == (order["id"] in self.ended)
            assert self.filled[order["id"]] == Decimal(order["filled_qty"])
        self.compare_reserves(held)

    def compare_reserves(self, held):
        """Exits never hold more shares than there are."""
        for symbol, qty in held.items():
            reserved, _ = self.broker.reserved(symbol)
            assert 0 <= reserved <= abs(qty)


prices = st.integers(90, 110)
quantities = st.integers(1, 20)
widths = st.integers(1, 6)
sides = st.sampled_from(["buy", "sell"])
symbols = st.sampled_from(["AAPL", "AAPL", "AAPL", "IBM"])
picks = st.integers(0, 5)  # of the latest orders
moves = st.tuples(st.just("price"), symbols, prices)
brackets = st.tuples(st.just("bracket"), symbols, sides, quantities, widths)
steps = st.one_of(
    *[moves] * 5,
    *[brackets] * 3,
    st.tuples(st.just("market"), symbols, sides, quantities),
    st.tuples(st.just("limit"), symbols, sides, quantities, prices),
    st.tuples(st.just("stop"), symbols, sides, quantities, prices),
    st.tuples(st.just("oco"), symbols, sides, quantities, widths),
    st.tuples(st.just("fill"), picks, quantities, prices),
    st.tuples(st.just("cancel"), picks),
    st.tuples(st.just("replace"), picks, prices),
    st.tuples(st.just("resize"), picks, quantities),
    st.tuples(st.just("reject"), picks),
    st.tuples(st.just("flatten"), symbols),
    st.tuples(st.just("night")),
    st.tuples(st.just("reload")),
)
scripts = st.lists(steps, min_size=10, max_size=60)


class Script:
    """Plays steps; what the broker refuses is as good as what it takes."""

    def __init__(self) -> None:
        self.broker = open_broker(20_000)
        self.reckoning = Reckoning(self.broker)

    def play(self, steps):
        """Step by step, compared after each."""
        for name, *rest in steps:
            try:
                getattr(self, name)(*rest)
            except ApiError as refusal:
                assert refusal.body["code"] in (40010001, 40310000, 40410000, 42210000)
            self.reckoning.compare()

    def order(self, symbol, side, qty, **more):
        """Any order."""
        self.broker.ask_for(side, qty, symbol=symbol, **more)

    def market(self, symbol, side, qty):
        """For the next quote."""
        self.order(symbol, side, qty)

    def limit(self, symbol, side, qty, price):
        """For a day."""
        self.order(symbol, side, qty, type="limit", limit_price=price, time_in_force="day")

    def stop(self, symbol, side, qty, price):
        """For longer."""
        self.order(symbol, side, qty, type="stop", stop_price=price)

    def exits(self, symbol, side, width):
        """Target and stop around the last price."""
        last, sign = self.broker.ticks[symbol].last, 1 if side == "buy" else -1
        return {
            "take_profit": {"limit_price": last + sign * width},
            "stop_loss": {"stop_price": last - sign * width},
        }

    def bracket(self, symbol, side, qty, width):
        """An entry with both exits."""
        self.order(symbol, side, qty, order_class="bracket", **self.exits(symbol, side, width))

    def oco(self, symbol, side, qty, width):
        """Exits of a position that may not be there."""
        exits = self.exits(symbol, "buy" if side == "sell" else "sell", width)
        more = {"type": "limit", "limit_price": exits["take_profit"]["limit_price"]}
        self.order(symbol, side, qty, order_class="oco", **more, **exits)

    def price(self, symbol, price):
        """The market moves."""
        self.broker.price(price, symbol)

    def some_order(self, pick):
        """One of the orders there have been, perhaps one that is over."""
        found = self.broker.orders("all", limit=500)
        return found[pick % len(found)]["id"] if found else "none"

    def fill(self, pick, qty, price):
        """A part, whatever the quote says."""
        self.broker.fill(self.some_order(pick), qty, price, self.broker.at)

    def cancel(self, pick):
        """An end."""
        self.broker.cancel(self.some_order(pick), self.broker.at)

    def reject(self, pick):
        """An end by the venue."""
        self.broker.reject(self.some_order(pick), self.broker.at)

    def replace(self, pick, price):
        """Another price, of whichever kind the order has."""
        order = self.broker.order(self.some_order(pick))
        field = "stop_price" if order["stop_price"] else "limit_price"
        self.broker.replace(order["id"], {field: price}, self.broker.at)

    def resize(self, pick, qty):
        """Another size."""
        self.broker.replace(self.some_order(pick), {"qty": qty}, self.broker.at)

    def flatten(self, symbol):
        """Out."""
        self.broker.close_position(symbol, self.broker.at)

    def night(self):
        """A close and an open."""
        self.broker.close_market(self.broker.at + timedelta(hours=1))
        self.broker.open_market(self.broker.at + timedelta(hours=17))

    def reload(self):
        """The same books in another broker."""
        again = Broker.restored(self.broker.state())
        assert again.state() == self.broker.state()
        again.listeners = self.broker.listeners
        self.broker = self.reckoning.broker = again


def play(steps):
    """One script from the first step to the last."""
    Script().play(steps)


@given(scripts)
def test_the_books_hold_whatever_happens(steps):
    play(steps)


def forgets_siblings(ticket, family):
    """A seeded bug: an executed exit leaves its sibling alone."""
    return [change for change in after_fill(ticket, family) if change.what == "activate"]


def pays_twice(held, quantity, price):
    """A seeded bug: a sale is booked as a purchase."""
    return exchange_books.Holding(held.quantity + abs(quantity), price)


def never_reserved(held, tickets):
    """A seeded bug: exits hold no shares."""
    return Decimal(0), []


@pytest.mark.parametrize(
    ("module", "name", "bug"),
    [
        (exchange_market, "after_fill", forgets_siblings),
        (exchange_books, "booked", pays_twice),
        (exchange_books, "reserved_shares", never_reserved),
    ],
)
def test_a_broker_with_a_bug_is_caught(monkeypatch, module, name, bug):
    monkeypatch.setattr(module, name, bug)
    hunt = settings(
        max_examples=1000, phases=[Phase.generate], report_multiple_bugs=False, print_blob=False
    )
    with pytest.raises(AssertionError):
        hunt(given(scripts)(play))()
