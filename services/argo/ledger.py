"""What became of our orders, from the broker's running totals, each change written down once."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import structlog
from sqlalchemy.orm import Session

from argo_alpine.domain import Fill, Order
from argo_alpine.moments import Portfolio
from services.argo import store
from services.argo.ports import BrokerOrder
from services.argo.store import Intent
from services.common.clock import Clock
from services.common.db import Writer

log = structlog.get_logger()


def added(order: BrokerOrder, filled: float, average: float) -> tuple[float, float]:
    """What an order's running totals add to those known: signed quantity and its own price."""
    more = order.filled - filled
    if more * order.quantity <= 0:  # nothing new, or an older message that came late
        return 0.0, 0.0
    if not filled:
        return more, order.average
    return more, (order.filled * order.average - filled * average) / more


class Ledger:
    """Hears of orders; `book` is the portfolio as of the last decision."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self.writer, self.clock = writer, clock
        self.book = Portfolio(cash=0.0, positions={})

    def hear(self, order: BrokerOrder, at: datetime) -> bool:
        """Book what an order's state adds to what is known; False when it is not ours."""
        with self.writer.transaction() as session:
            intent = store.find_intent(session, order.client_id)
            if intent is None:
                return self.hear_leg(session, order, at)
            self.hear_intent(session, intent, order, at)
            for leg in order.legs:
                store.keep_leg(session, intent.order.id, leg)
                self.hear_leg(session, leg, at)
            return True

    def hear_whole(self, order: BrokerOrder, at: datetime) -> None:
        """The same from an answer about this very order: a guard it no longer has is gone."""
        self.hear(order, at)
        with self.writer.transaction() as session:
            here = {leg.id for leg in order.legs}
            for leg in store.legs_of(session, order.client_id):
                if here and leg.broker_id not in here and leg.state not in store.DONE:
                    store.set_leg(session, leg.broker_id, state="canceled")
                    log.warning("guard_gone", symbol=leg.symbol, leg=leg.leg, id=leg.broker_id)

    def is_early(self, order: BrokerOrder) -> str:
        """The entry to be heard first, when a guard is filled before we know that its entry is."""
        if not order.filled:
            return ""
        with self.writer.transaction() as session:
            leg = store.find_leg(session, order.id)
            owner = store.find_intent(session, leg.intent) if leg else None
            if owner is None or owner.order.leg != "entry":
                return ""
            return owner.order.id if abs(owner.filled) < abs(order.filled) else ""

    def hear_intent(
        self, session: Session, intent: Intent, order: BrokerOrder, at: datetime
    ) -> None:
        """An order of ours."""
        more, price = added(order, intent.filled, intent.average)
        ours = intent.order
        if more:
            why = {"protect": "target", "flatten": "close"}.get(ours.leg, ours.leg)
            signal = ours.signal if ours.leg == "entry" else None
            name = ours.id if ours.leg in ("entry", "close") else ""
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
            owner = store.find_intent(session, leg.intent)
            fill = Fill(leg.symbol, more, price, 0.0, order.at, leg.leg)
            self.book_fill(session, order.id, fill, owner.order.signal.id if owner else "", at)
            store.set_leg(session, order.id, filled=order.filled, average=order.average)
        if leg.state not in store.DONE:
            store.set_leg(session, order.id, state=order.state.value, quantity=order.quantity)
        return True

    def book_fill(
        self, session: Session, broker_id: str, fill: Fill, signal: str, at: datetime
    ) -> None:
        """Write a fill down; one that passes through zero closes first and then opens."""
        held = self.held(session).get(fill.symbol, 0.0)
        parts = [fill]
        if held * fill.quantity < 0 and abs(fill.quantity) > abs(held):
            rest = fill.quantity + held
            parts = [replace(fill, quantity=-held), replace(fill, quantity=rest)]
            log.error("turned_over", symbol=fill.symbol, held=held, quantity=fill.quantity)
        for part in parts:
            store.add_fill(session, broker_id, part)
            entry = store.append(session, "fill", at, self.clock.wall(), part)
            store.announce(session, entry, "fill", replace(part, signal=None))
            log.info(
                "fill", signal=signal, symbol=part.symbol, quantity=part.quantity,
                price=part.price, why=part.why, seq=entry.seq,
            )  # fmt: skip

    def move(
        self, intent: Intent, at: datetime, state: str, note: str = "", **more: object
    ) -> None:
        """Write down that an order of ours is in another state."""
        with self.writer.transaction() as session:
            store.set_intent(session, intent.order.id, state=state, note=note, **more)
            self.write_state(session, intent.order, state, at, intent.filled, note)

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
        body: dict[str, object] = {"id": order.id, "symbol": order.symbol, "leg": order.leg}
        body |= {"state": str(state), "filled": filled, "note": note}
        store.append(session, "order", at, self.clock.wall(), body)
        log.info("order", signal=order.signal.id, **body)

    def held(self, session: Session) -> Mapping[str, float]:
        """What we hold, fills that no moment knows yet included."""
        held = defaultdict(float, {s: p.quantity for s, p in self.book.positions.items()})
        for fill in store.untold(session)[0]:
            held[fill.symbol] += fill.quantity
        return held

    def holdings(self) -> Mapping[str, float]:
        """The same, without what is zero."""
        with self.writer.transaction() as session:
            return {s: quantity for s, quantity in self.held(session).items() if quantity}
