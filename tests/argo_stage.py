"""A market, a broker and an engine in one process: days pass in milliseconds."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from argo_alpine.bars import Bars, one_bar
from argo_alpine.domain import Order, Quote, Reading
from argo_alpine.engine import Policy
from argo_alpine.loading import load
from argo_alpine.sessions import instant, session_at
from services.argo.board import Board
from services.argo.cycle import Engine, Plan
from services.argo.desk import Desk, Rules
from services.argo.ports import (
    BrokerAccount,
    BrokerOrder,
    BrokerPosition,
    Harvest,
    OrderState,
)
from services.argo.tape import expiry
from services.common.db import Writer
from tests.clocks import ManualClock

SYMBOLS = ("AAPL", "IBM", "MSFT", "GOOG")
FIRST = datetime(2005, 3, 1, 21, tzinfo=UTC)
SOURCES = ("massive", "alpha_vantage", "x_sentiment", "sonar")


def allowed(order: BrokerOrder, meant: Order, before: float | None, price: float) -> float | None:
    """What an order gets on the way to a price, as far as its limit allows; None: nothing."""
    limit, side = meant.signal.limit, 1 if order.quantity > 0 else -1
    if meant.leg != "entry" or math.isnan(limit):
        return price
    if side * (price - limit) > 0:
        return None
    is_passed = before is not None and side * (before - limit) > 0
    return limit if is_passed else price


@dataclass
class FakeBroker:
    """Fills at the last price; brackets by hand. Remembers every request."""

    time: ManualClock
    cash: float = 100_000.0
    prices: dict[str, float] = field(default_factory=dict)
    placed: dict[str, BrokerOrder] = field(default_factory=dict)
    meant: dict[str, Order] = field(default_factory=dict)
    held: dict[str, float] = field(default_factory=dict)
    posts: list[str] = field(default_factory=list)

    def account(self) -> BrokerAccount:
        worth = sum(q * self.prices[s] for s, q in self.held.items())
        return BrokerAccount(self.cash + worth, self.cash, max(self.cash, 0.0), True)

    def clock(self) -> datetime:
        return self.time.market()

    def positions(self) -> Mapping[str, BrokerPosition]:
        return {s: BrokerPosition(s, q, self.prices[s]) for s, q in self.held.items() if q}

    def orders(self, since: datetime) -> Sequence[BrokerOrder]:
        return [o for o in self.placed.values() if o.at >= since or not self.is_over(o)]

    def is_over(self, order: BrokerOrder) -> bool:
        return order.state.is_final and all(leg.state.is_final for leg in order.legs)

    def find(self, client_id: str) -> BrokerOrder | None:
        return self.placed.get(client_id)

    def submit(self, order: Order) -> BrokerOrder:
        self.posts.append(order.id)
        if order.id not in self.placed:
            self.meant[order.id] = order
            legs = self.legs(order) if order.leg in ("entry", "protect") else ()
            placed = BrokerOrder(
                f"b-{order.id}", order.id, order.symbol, float(order.quantity), 0.0, float("nan"),
                OrderState.OPEN, self.time.market(), legs=legs,
            )  # fmt: skip
            if order.leg == "protect":  # the target is the parent, the stop its leg
                target, stop = legs
                placed = replace(placed, leg="target", price=target.price, legs=(stop,))
            self.placed[order.id] = placed
        return self.placed[order.id]

    def legs(self, order: Order) -> tuple[BrokerOrder, ...]:
        prices = {"target": order.signal.target, "stop": order.signal.stop}
        quantity = float(-order.quantity if order.leg == "entry" else order.quantity)
        return tuple(
            BrokerOrder(
                f"b-{order.id}-{leg}", "", order.symbol, quantity, 0.0, float("nan"),
                OrderState.OPEN, self.time.market(), leg, price,
            )
            for leg, price in prices.items()
        )  # fmt: skip

    def cancel(self, broker_id: str) -> None:
        for order in list(self.placed.values()):
            if order.id == broker_id and not order.state.is_final:
                gone = tuple(replace(leg, state=OrderState.CANCELED) for leg in order.legs)
                self.placed[order.client_id] = replace(order, state=OrderState.CANCELED, legs=gone)
                continue
            if broker_id in {leg.id for leg in order.legs}:
                gone = tuple(replace(leg, state=OrderState.CANCELED) for leg in order.legs)
                self.placed[order.client_id] = replace(order, legs=gone)

    def listen(
        self, on_order: Callable[[BrokerOrder], None], on_gap: Callable[[], None]
    ) -> Callable[[], None]:
        return lambda: None

    def trade(self, prices: Mapping[str, float]) -> None:
        """The market moves: entries and closes fill, guards that are met fill and end."""
        before = dict(self.prices)
        self.prices.update(prices)
        for name, order in list(self.placed.items()):
            price = self.prices.get(order.symbol)
            if price is None:
                continue
            if order.leg == "target" and not order.state.is_final:
                self.exit_own(name, order, price)
            elif not order.state.is_final:
                got = allowed(order, self.meant[name], before.get(order.symbol), price)
                if got is not None:
                    self.placed[name] = order = self.filled(order, got)
            elif order.state == OrderState.FILLED:
                self.guard(name, order, price)

    def filled(self, order: BrokerOrder, price: float) -> BrokerOrder:
        self.cash -= order.quantity * price
        self.held[order.symbol] = self.held.get(order.symbol, 0.0) + order.quantity
        at = self.time.market()
        return replace(order, filled=order.quantity, average=price, state=OrderState.FILLED, at=at)

    def exit_own(self, name: str, order: BrokerOrder, price: float) -> None:
        (stop,), side = order.legs, 1 if order.quantity > 0 else -1
        if side * (price - stop.price) >= 0:
            ended = replace(order, state=OrderState.CANCELED, legs=(self.filled(stop, price),))
        elif side * (order.price - price) >= 0:
            gone = replace(stop, state=OrderState.CANCELED)
            ended = replace(self.filled(order, price), legs=(gone,))
        else:
            return
        self.placed[name] = ended

    def guard(self, name: str, order: BrokerOrder, price: float) -> None:
        for met in order.legs:
            side = 1 if met.quantity > 0 else -1  # buys back a short
            beyond = side * (price - met.price) * (1 if met.leg == "stop" else -1) >= 0
            if not met.state.is_final and beyond:
                done = self.filled(met, price)
                rest = [replace(o, state=OrderState.CANCELED) for o in order.legs if o is not met]
                self.placed[name] = replace(order, legs=(done, *rest))
                return


@dataclass
class Stage:
    """Real prices, four sources, one engine on a clock that is moved by hand."""

    path: Path
    first: datetime = FIRST
    policy: Policy = field(default_factory=Policy)
    auto_execute: bool = True
    patience: float = 0.0
    history: int = 10_000  # bars before the first day; fewer make a faster start

    def __post_init__(self) -> None:
        self.bars: Bars = load([*SYMBOLS])
        self.closed = [instant(at) for at in self.bars.at]
        self.t = next(i for i, at in enumerate(self.closed) if at >= self.first)
        self.clock = ManualClock(self.closed[self.t] - timedelta(seconds=30))
        self.broker = FakeBroker(self.clock)
        self.board = Board()
        self.board.put("massive", Harvest(bars=self.past(self.t)))
        self.engine = self.start()

    def start(self) -> Engine:
        """An engine on the same book and the same broker, as after a restart."""
        self.writer = Writer(self.path)
        rules = Rules(self.auto_execute)
        desk = Desk(self.broker, self.writer, self.clock, rules)
        plan = Plan(self.policy, SYMBOLS, SOURCES, self.patience)
        return Engine(plan, self.clock, self.writer, self.board, desk)

    def restart(self) -> None:
        """The process died; all that is left is the file and the broker."""
        self.writer.close()
        self.board = Board()
        self.board.put("massive", Harvest(bars=self.past(self.t)))
        self.engine = self.start()

    def past(self, t: int) -> tuple:
        return tuple(
            one_bar(self.bars, i, s)
            for s, _ in enumerate(self.bars.symbols)
            for i in range(max(0, t - self.history), t)
            if self.bars.close[i, s] == self.bars.close[i, s]
        )

    def at(self, moment: datetime) -> None:
        """Let time pass until then."""
        self.clock.move((moment - self.clock.market()).total_seconds())

    def quote(self, prices) -> None:
        """The market says a price for every symbol."""
        said = {s: float(prices[i]) for i, s in enumerate(self.bars.symbols)}
        self.broker.trade(said)
        at = self.clock.market()
        self.board.put("massive", Harvest(quotes=tuple(Quote(s, at, p) for s, p in said.items())))

    def close(self) -> None:
        """The close of day t: its bars, and what the other sources make of them."""
        self.at(self.closed[self.t])
        bars = tuple(one_bar(self.bars, self.t, s) for s, _ in enumerate(self.bars.symbols))
        self.board.put("massive", Harvest(bars=bars))
        self.engine.listen_to_tape()
        for i, symbol in enumerate(self.engine.tape.index):
            self.opine(i, symbol, self.closed[self.t])

    def opine(self, i: int, symbol: str, at: datetime) -> None:
        """Readings of the other three, made of the past like everything else."""
        state = self.engine.tape.states[i]
        names = ("close", "rsi", "macd", "ema", "sma")
        values = {name: round(float(state[name]), 4) for name in names}
        lean = 1.0 if state["close"] > state["sma"] else -1.0
        mood = {"score": 0.3 * lean, "authors": 9.0}
        said = {"direction": lean, "confidence": 80.0}
        for source, seen in (("alpha_vantage", values), ("x_sentiment", mood), ("sonar", said)):
            reading = Reading(source, symbol, at, expiry(at), seen)
            self.board.put(source, Harvest(readings=(reading,)))

    def day(self) -> None:
        """After the close of day t, then the open, low, high and last price of the next."""
        for step in self.steps():
            step()
            self.engine.cycle()

    def steps(self) -> Iterator[Callable[[], None]]:
        """What happens outside, one thing before each cycle."""
        yield self.close
        self.t += 1
        session = session_at(self.clock.market() + timedelta(seconds=1))
        assert session is not None
        prices = (self.bars.open, self.bars.low, self.bars.high, self.bars.close)
        for hours, price in zip((0.01, 2, 4, 6), prices, strict=True):
            for seconds in (0.0, 3.0):
                when = session.open + timedelta(hours=hours, seconds=seconds)
                yield partial(self.say, when, price[self.t])

    def say(self, when: datetime, prices: Sequence[float]) -> None:
        """The market says a price for every symbol."""
        self.at(when)
        self.quote(prices)


@contextmanager
def staged(path: Path, **options):
    """A stage whose file is let go of."""
    stage = Stage(path, **options)
    try:
        yield stage
    finally:
        stage.writer.close()
