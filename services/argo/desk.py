"""Between a decision and its fill: at most one broker order per intent, whatever happens."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from argo_alpine.domain import RefusedOrder, UnavailableBroker, UnknownOutcome
from services.argo import store
from services.argo.ledger import Ledger
from services.argo.ports import Broker, BrokerOrder
from services.argo.store import Intent
from services.common.clock import Clock
from services.common.db import Writer

log = structlog.get_logger()

RESEND = timedelta(seconds=15)  # as long, an order nobody can find is sent again under its id
GIVE_UP = timedelta(seconds=60)  # after that, one nobody can find is taken as never placed
LOOKBACK = timedelta(days=1)  # before the oldest open order: the broker's lists lag
LOOKUPS = 8  # single queries in one round, so that a full book cannot use up the quota
ABSENCES = 15  # rounds in which a broker may not know an order it had taken


@dataclass(frozen=True, slots=True)
class Rules:
    """What the desk may do."""

    auto_execute: bool = False
    entry_ttl: timedelta = timedelta(seconds=60)  # market time an entry may stay unfilled


class Desk:
    """Sends intents and asks for their fate; the ledger writes both down."""

    def __init__(self, broker: Broker, writer: Writer, clock: Clock, rules: Rules) -> None:
        self.broker, self.writer, self.clock, self.rules = broker, writer, clock, rules
        self.ledger = Ledger(writer, clock)
        self.known: dict[str, tuple[object, bool]] = {}  # broker id -> last heard, and is it ours
        self.asked: dict[str, int] = {}  # our id -> the round in which we last asked for it
        self.absent: Counter[str] = Counter()  # our id -> rounds in which it was not there
        self.rounds = 0

    # Sending

    def dispatch(self, at: datetime, held_back: Collection[str] | None) -> None:
        """Take every order whose end is not known one step further.

        Nothing is sent for the symbols held back; None: for no symbol at all.
        """
        with self.writer.transaction() as session:
            waiting = store.open_intents(session)
        for intent in waiting:
            may_send = held_back is not None and intent.order.symbol not in held_back
            if intent.state == "new":
                self.begin(intent, at, may_send)
            elif intent.state in ("sending", "unknown"):
                self.resolve(intent, at, may_send)
            elif self.is_overdue(intent, at):
                self.cancel(intent.broker_id)

    def is_overdue(self, intent: Intent, at: datetime) -> bool:
        """Whether an order has waited for longer than it may."""
        order = intent.order
        is_late = order.signal.expires <= at
        if order.leg == "entry":
            waits = not math.isnan(order.signal.limit)  # a limit is good for one bar
            return at - order.at > self.rules.entry_ttl or (waits and is_late)
        return order.leg == "close" and is_late

    def begin(self, intent: Intent, at: datetime, may_send: bool) -> None:
        """Send an order for the first time, unless it is too late or not allowed."""
        order = intent.order
        if not self.rules.auto_execute:
            self.ledger.move(intent, at, "canceled", "auto_execute is off")
        elif self.is_overdue(intent, at):
            state = "unsent" if order.leg == "entry" else "canceled"
            self.ledger.move(intent, at, state, "decided too long ago")
        elif may_send and (order.leg in ("entry", "protect") or self.is_unguarded(order.symbol)):
            moved = order.leg != "entry" and self.held(order.symbol) != -order.quantity
            if moved:
                self.ledger.move(intent, at, "canceled", "the position has changed meanwhile")
            else:
                self.send(intent, at)

    def held(self, symbol: str) -> float:
        """What we hold of a symbol, fills that no moment knows yet included."""
        return self.ledger.holdings().get(symbol, 0.0)

    def send(self, intent: Intent, at: datetime) -> None:
        """Submit an order; it is written down as being sent before a byte leaves."""
        move, now = self.ledger.move, self.clock.wall()
        move(intent, at, "sending", tries=intent.tries + 1, tried_at=now)
        try:
            placed = self.broker.submit(intent.order)
        except RefusedOrder as error:
            # a refusal after an attempt of unknown outcome proves nothing
            move(intent, at, "unknown" if intent.tries else "rejected", str(error))
        except UnknownOutcome as error:
            move(intent, at, "unknown", str(error))
        except UnavailableBroker as error:
            move(intent, at, "unknown" if intent.tries else "new", str(error))
        else:
            self.ledger.hear(placed, at)

    def resolve(self, intent: Intent, at: datetime, may_send: bool) -> None:
        """Find out whether an order was placed; send it again under the same id, or give up."""
        try:
            found = self.broker.find(intent.order.id)
        except UnavailableBroker as error:
            log.warning("order_lookup_failed", id=intent.order.id, error=str(error))
            return
        age = self.clock.wall() - intent.recorded_at
        if found is not None:
            self.ledger.hear_whole(found, at)
        elif age >= GIVE_UP:
            self.ledger.move(intent, at, "canceled", "the broker knows of no such order")
        elif age < RESEND and may_send and not self.is_overdue(intent, at):
            self.send(intent, at)

    def cancel(self, broker_id: str | None) -> None:
        """Ask the broker to end an order."""
        if not broker_id:
            return
        try:
            self.broker.cancel(broker_id)
        except UnavailableBroker as error:
            log.warning("cancel_failed", broker_id=broker_id, error=str(error))

    def is_unguarded(self, symbol: str) -> bool:
        """Whether no guard of this symbol holds shares any more; asks for it if one does."""
        with self.writer.transaction() as session:
            guards = [leg.broker_id for leg in store.open_legs(session, symbol)]
            own = store.own_guards(session, symbol)
        for guard in (*guards, *own):
            self.cancel(guard)
        return not guards and not own

    # Asking

    def is_busy(self) -> bool:
        """Whether anything of ours is with the broker."""
        with self.writer.transaction() as session:
            return bool(store.moving(session) or store.guarded(session))

    def hear(self, order: BrokerOrder, at: datetime) -> bool:
        """Hear of an order; of an entry before its guards. *Raises* `UnavailableBroker`."""
        if early := self.ledger.is_early(order):
            entry = self.broker.find(early)
            if entry is not None:
                self.ledger.hear_whole(entry, at)
        return self.ledger.hear(order, at)

    def settle(self, at: datetime) -> Sequence[str]:
        """Ask the broker about every order that may have moved; the symbols of foreign ones."""
        with self.writer.transaction() as session:
            sent, oldest = store.sent(session), store.oldest_open(session) or at
            guards = store.open_legs(session)
        listed = self.broker.orders(oldest - LOOKBACK)
        self.known = {o.id: self.known[o.id] for o in listed if o.id in self.known}
        ours = [self.hear_once(order, at) for order in listed]
        seen = {o.id for order in listed for o in (order, *order.legs)}
        asked = {name for name, broker_id in sent.items() if broker_id not in seen}
        asked |= {leg.intent for leg in guards if leg.broker_id not in seen}
        self.look_up(asked, at)
        pairs = zip(listed, ours, strict=True)
        return [order.symbol for order, mine in pairs if not mine and not order.state.is_final]

    def look_up(self, names: Collection[str], at: datetime) -> None:
        """Ask for single orders, those first that waited longest; one that is gone has ended."""
        self.rounds += 1
        self.asked = {name: n for name, n in self.asked.items() if name in names}
        for name in sorted(names, key=lambda n: (self.asked.get(n, 0), n))[:LOOKUPS]:
            self.asked[name] = self.rounds
            found = self.broker.find(name)
            if found is not None:
                self.absent.pop(name, None)
                self.ledger.hear_whole(found, at)
                continue
            self.absent[name] += 1
            if self.absent[name] >= ABSENCES:
                self.end_absent(name, at)

    def end_absent(self, name: str, at: datetime) -> None:
        """Take an order that the broker had and has no longer as ended; the books then tell."""
        del self.absent[name]
        with self.writer.transaction() as session:
            intent = store.find_intent(session, name)
            for leg in store.legs_of(session, name):
                if leg.state not in store.DONE:
                    store.set_leg(session, leg.broker_id, state="canceled")
        if intent is not None and intent.state not in store.DONE:
            self.ledger.move(intent, at, "canceled", "the broker knows it no longer")

    def hear_once(self, order: BrokerOrder, at: datetime) -> bool:
        """Hear of an order unless it says what it said the last time; False when not ours."""
        news = [(o.id, o.state, o.filled, o.quantity) for o in (order, *order.legs)]
        before, is_ours = self.known.get(order.id, (None, False))
        if before != news:
            is_ours = self.hear(order, at)
            self.known[order.id] = (news, is_ours)
        return is_ours

    def compare(self, at: datetime) -> Mapping[str, str]:
        """The symbols on which our book and the broker's differ, and how."""
        foreign = self.settle(at)
        theirs = {s: p.quantity for s, p in self.broker.positions().items() if p.quantity}
        ours = self.ledger.holdings()
        with self.writer.transaction() as session:
            moving = store.moving(session)
        wrong = {
            symbol: f"we hold {ours.get(symbol, 0):g}, the broker says {theirs.get(symbol, 0):g}"
            for symbol in sorted({*ours, *theirs} - moving)
            if ours.get(symbol, 0.0) != theirs.get(symbol, 0.0)
        }
        return {**{symbol: "an open order that is not ours" for symbol in foreign}, **wrong}
