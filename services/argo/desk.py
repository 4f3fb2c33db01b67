"""Between a decision and its fill: at most one broker order per intent, whatever happens."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from argo_alpine.domain import (
    Fill,
    Order,
    Portfolio,
    RefusedOrder,
    UnavailableBroker,
    UnknownOutcome,
)
from argo_alpine.engine import order_id
from services.argo import store
from services.argo.ports import Broker, BrokerOrder
from services.argo.store import Intent
from services.common.clock import Clock
from services.common.db import Writer

log = structlog.get_logger()

RESEND = timedelta(seconds=15)  # as long, an order nobody can find is sent again under its id
GIVE_UP = timedelta(seconds=60)  # after that, one nobody can find is taken as never placed
LOOKBACK = timedelta(days=1)  # before the oldest open order: the broker's lists lag
LOOKUPS = 8  # single queries in one round, so that a full book cannot use up the quota


@dataclass(frozen=True, slots=True)
class Rules:
    """What the desk may do."""

    auto_execute: bool = False
    entry_ttl: timedelta = timedelta(seconds=60)  # market time an entry may stay unfilled


def added(order: BrokerOrder, filled: float, average: float) -> tuple[float, float]:
    """What an order's running totals add to those known: signed quantity and its own price."""
    more = order.filled - filled
    if more * order.quantity <= 0:  # nothing new, or an older message that came late
        return 0.0, 0.0
    if not filled:
        return more, order.average
    return more, (order.filled * order.average - filled * average) / more


class Desk:
    """Sends intents, hears of their fate, and writes both down before anything else happens."""

    def __init__(self, broker: Broker, writer: Writer, clock: Clock, rules: Rules) -> None:
        self.broker, self.writer, self.clock, self.rules = broker, writer, clock, rules
        self.known: dict[str, tuple[object, bool]] = {}  # broker id -> last heard, and is it ours

    # What became of orders

    def hear(self, order: BrokerOrder, at: datetime) -> bool:
        """Book what an order's state adds to what is known; False when it is not ours."""
        with self.writer.transaction() as session:
            intent = store.find_intent(session, order.client_id)
            if intent is not None:
                self.hear_intent(session, intent, order, at)
                for leg in order.legs:
                    store.keep_leg(session, intent.order.id, leg)
                    self.hear_leg(session, leg, at)
                return True
            return self.hear_leg(session, order, at)

    def hear_intent(
        self, session: Session, intent: Intent, order: BrokerOrder, at: datetime
    ) -> None:
        """An order of ours."""
        more, price = added(order, intent.filled, intent.average)
        ours = intent.order
        if more:
            why = "target" if ours.leg == "protect" else ours.leg
            signal = ours.signal if ours.leg == "entry" else None
            name = "" if ours.leg == "protect" else ours.id
            fill = Fill(ours.symbol, more, price, 0.0, order.at, why, signal, name)
            self.book_fill(session, order.id, fill, ours.signal.id, at)
            store.set_intent(session, ours.id, filled=order.filled, average=order.average)
        is_over = intent.state in store.DONE and intent.broker_id == order.id
        is_late = is_over or abs(order.filled) < abs(intent.filled)
        if is_late or ((intent.state, intent.broker_id) == (order.state, order.id) and not more):
            return
        store.set_intent(session, ours.id, state=order.state.value, broker_id=order.id, note="")
        self.write_state(session, ours, order.state, at, order.filled)

    def hear_leg(self, session: Session, order: BrokerOrder, at: datetime) -> bool:
        """A guard of one of our positions."""
        leg = store.find_leg(session, order.id)
        if leg is None:
            return False
        more, price = added(order, leg.filled, leg.average)
        if more:
            fill = Fill(leg.symbol, more, price, 0.0, order.at, leg.leg)
            self.book_fill(session, order.id, fill, self.signal_of(session, leg.intent), at)
            store.set_leg(session, order.id, filled=order.filled, average=order.average)
        if leg.state != order.state and leg.state not in store.DONE:
            store.set_leg(session, order.id, state=order.state.value)
        return True

    def signal_of(self, session: Session, name: str) -> str:
        """The id of the signal behind an order."""
        intent = store.find_intent(session, name)
        return intent.order.signal.id if intent else ""

    def book_fill(
        self, session: Session, broker_id: str, fill: Fill, signal: str, at: datetime
    ) -> None:
        """Write a fill down; the next moment will be told of it."""
        store.add_fill(session, broker_id, fill)
        entry = store.append(session, "fill", at, self.clock.wall(), fill)
        store.announce(session, entry, "fill", replace(fill, signal=None))
        log.info(
            "fill", signal=signal, symbol=fill.symbol, quantity=fill.quantity, price=fill.price,
            why=fill.why, seq=entry.seq,
        )  # fmt: skip

    def write_state(
        self,
        session: Session,
        order: Order,
        state: str,
        at: datetime,
        filled: float,
        note: str = "",
    ) -> None:
        """Journal that an order is in another state."""
        body = {"id": order.id, "symbol": order.symbol, "leg": order.leg, "state": str(state)}
        body |= {"filled": filled, "note": note}  # type: ignore[dict-item]
        store.append(session, "order", at, self.clock.wall(), body)
        log.info("order", signal=order.signal.id, **body)

    # Sending

    def move(
        self, intent: Intent, at: datetime, state: str, note: str = "", **more: object
    ) -> None:
        """Write down that an order of ours is in another state."""
        with self.writer.transaction() as session:
            store.set_intent(session, intent.order.id, state=state, note=note, **more)
            self.write_state(session, intent.order, state, at, intent.filled, note)

    def dispatch(self, at: datetime, book: Portfolio) -> None:
        """Take every order whose end is not known one step further."""
        with self.writer.transaction() as session:
            waiting = store.open_intents(session)
        for intent in waiting:
            if intent.state == "new":
                self.begin(intent, at, book)
            elif intent.state in ("sending", "unknown"):
                self.resolve(intent, at)
            elif self.is_overdue(intent, at):
                self.cancel(intent.broker_id)

    def is_overdue(self, intent: Intent, at: datetime) -> bool:
        """Whether an entry has been at the market for longer than it may."""
        return intent.order.leg == "entry" and at - intent.order.at > self.rules.entry_ttl

    def begin(self, intent: Intent, at: datetime, book: Portfolio) -> None:
        """Send an order for the first time, unless it is too late or not allowed."""
        if not self.rules.auto_execute:
            self.move(intent, at, "canceled", "auto_execute is off")
        elif self.is_overdue(intent, at):
            self.move(intent, at, "unsent", "decided too long ago")
        elif intent.order.leg != "close":
            self.send(intent, at)
        elif self.is_unguarded(intent.order.symbol):
            if self.held(intent.order.symbol, book) != -intent.order.quantity:
                self.move(intent, at, "canceled", "the position has changed meanwhile")
            else:
                self.send(intent, at)

    def send(self, intent: Intent, at: datetime) -> None:
        """Submit an order; it is written down as being sent before a byte leaves."""
        self.move(
            intent, at, "sending", tries=intent.tries + 1, tried_at=self.clock.wall()
        )  # fmt: skip
        try:
            placed = self.broker.submit(intent.order)
        except RefusedOrder as error:
            # a refusal after an attempt of unknown outcome proves nothing
            self.move(intent, at, "unknown" if intent.tries else "rejected", str(error))
        except UnknownOutcome as error:
            self.move(intent, at, "unknown", str(error))
        except UnavailableBroker as error:
            self.move(intent, at, "unknown" if intent.tries else "new", str(error))
        else:
            self.hear(placed, at)

    def resolve(self, intent: Intent, at: datetime) -> None:
        """Find out whether an order was placed; send it again under the same id, or give up."""
        try:
            found = self.broker.find(intent.order.id)
        except UnavailableBroker as error:
            log.warning("order_lookup_failed", id=intent.order.id, error=str(error))
            return
        age = self.clock.wall() - intent.recorded_at
        if found is not None:
            self.hear(found, at)
        elif age < RESEND and not self.is_overdue(intent, at):
            self.send(intent, at)
        elif age >= GIVE_UP:
            self.move(intent, at, "canceled", "the broker knows of no such order")

    def cancel(self, broker_id: str | None) -> None:
        """Ask the broker to end an order."""
        if broker_id is None:
            return
        try:
            self.broker.cancel(broker_id)
        except UnavailableBroker as error:
            log.warning("cancel_failed", broker_id=broker_id, error=str(error))

    def is_unguarded(self, symbol: str) -> bool:
        """Whether no guard of this symbol holds shares any more; asks for it if one does."""
        with self.writer.transaction() as session:
            guards = [leg.broker_id for leg in store.open_legs(session, symbol)]
            guards += store.own_guards(session, symbol)
        for guard in guards:
            self.cancel(guard)
        return not guards

    def held(self, symbol: str, book: Portfolio) -> float:
        """What we hold of a symbol, fills that no moment knows yet included."""
        return self.holdings(book).get(symbol, 0.0)

    def holdings(self, book: Portfolio) -> Mapping[str, float]:
        """What we hold, fills that no moment knows yet included; only what is not zero."""
        held = Counter({symbol: p.quantity for symbol, p in book.positions.items()})
        with self.writer.transaction() as session:
            for fill in store.untold(session)[0]:
                held[fill.symbol] += fill.quantity  # type: ignore[assignment]
        return {symbol: quantity for symbol, quantity in held.items() if quantity}

    # Comparing

    def is_busy(self) -> bool:
        """Whether anything of ours is with the broker."""
        with self.writer.transaction() as session:
            return bool(store.moving(session) or store.guarded(session))

    def settle(self, at: datetime) -> Sequence[str]:
        """Ask the broker about every order that may have moved; the symbols of foreign ones."""
        with self.writer.transaction() as session:
            sent, oldest = store.sent(session), store.oldest_open(session) or at
            guards = store.open_legs(session)
        listed = self.broker.orders(oldest - LOOKBACK)
        self.known = {order.id: self.known[order.id] for order in listed if order.id in self.known}
        ours = [self.hear_once(order, at) for order in listed]
        seen = {o.id for order in listed for o in (order, *order.legs)}
        asked = {name for name, broker_id in sent.items() if broker_id not in seen}
        asked |= {leg.intent for leg in guards if leg.broker_id not in seen}
        for name in sorted(asked)[:LOOKUPS]:
            found = self.broker.find(name)
            if found is not None:
                self.hear(found, at)
        pairs = zip(listed, ours, strict=True)
        return [
            order.symbol for order, is_ours in pairs if not is_ours and not order.state.is_final
        ]

    def hear_once(self, order: BrokerOrder, at: datetime) -> bool:
        """Hear of an order unless it says what it said the last time; False when not ours."""
        news = [(o.state, o.filled) for o in (order, *order.legs)]
        before, is_ours = self.known.get(order.id, (None, False))
        if before != news:
            is_ours = self.hear(order, at)
            self.known[order.id] = (news, is_ours)
        return is_ours

    def compare(self, at: datetime, book: Portfolio) -> Mapping[str, str]:
        """The symbols on which our book and the broker's differ, and how."""
        foreign = self.settle(at)
        theirs = {s: p.quantity for s, p in self.broker.positions().items() if p.quantity}
        ours = self.holdings(book)
        with self.writer.transaction() as session:
            moving = store.moving(session)
        wrong = {
            symbol: f"we hold {ours.get(symbol, 0):g}, the broker says {theirs.get(symbol, 0):g}"
            for symbol in sorted({*ours, *theirs} - moving)
            if ours.get(symbol, 0.0) != theirs.get(symbol, 0.0)
        }
        return {**{symbol: "an open order that is not ours" for symbol in foreign}, **wrong}

    def protect(self, at: datetime, book: Portfolio) -> None:
        """Give every position without a guard a stop and a target of its own."""
        held = self.holdings(book)
        with self.writer.transaction() as session:
            bare = {*held} - store.moving(session) - store.guarded(session)
            for symbol in sorted(bare):
                self.guard(session, at, symbol, held[symbol])

    def guard(self, session: Session, at: datetime, symbol: str, quantity: float) -> None:
        """Write down a pair of exits for a position that lost its own."""
        entry = store.last_entry_of(session, symbol)
        if entry is None or entry.signal.direction * quantity <= 0:
            return  # not what our last signal opened: a comparison freezes it
        name = order_id(entry.signal.id, "protect", store.guards_of(session, symbol))
        order = Order(name, symbol, -int(quantity), at, "protect", entry.signal)
        row = store.append(session, "protect", at, self.clock.wall(), order)
        store.add_intent(session, row.seq, order, self.clock.wall())
