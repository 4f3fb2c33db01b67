"""No position without a stop: exits of our own for what lost the broker's."""

from collections.abc import Collection
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from argo_alpine.domain import Order
from argo_alpine.orders import order_id
from services.argo import store
from services.argo.desk import Desk
from services.argo.ports import OrderState

log = structlog.get_logger()

PAUSE = timedelta(seconds=30)  # after an exit was refused; doubles up to sixteen times as long


def protect(desk: Desk, at: datetime, held_back: Collection[str]) -> None:
    """See to it that a stop covers every position; nothing for the symbols held back."""
    if not desk.rules.auto_execute:
        return  # whoever sends nothing must not cancel anything either
    held = desk.ledger.holdings()
    with desk.writer.transaction() as session:
        free = {*held} - store.moving(session) - {*held_back}
        covered = store.covered(session)
    for symbol in sorted(free):
        cover = covered.get(symbol, 0.0)
        if cover != -held[symbol] and (not cover or desk.is_unguarded(symbol)):
            with desk.writer.transaction() as session:
                guard(session, desk, at, symbol, held[symbol])


def guard(session: Session, desk: Desk, at: datetime, symbol: str, quantity: float) -> None:
    """Write down an exit: a stop and a target, or the market where those cannot be had."""
    entry, tries = store.last_entry_of(session, symbol), store.exits_of(session, symbol)
    if entry is None:
        return  # never ours: a comparison freezes it
    last = tries[-1] if tries else None
    refused = last is not None and last.state == OrderState.REJECTED
    now = desk.clock.wall()
    if refused and last is not None and now - last.recorded_at < pause(len(tries)):
        return
    # a stop beyond the price is refused, and a position turned over has no stop to go back to
    hopeless = refused or entry.signal.direction * quantity <= 0
    leg = "flatten" if hopeless else "protect"
    name = order_id(entry.signal.id, "exit", len(tries))
    order = Order(name, symbol, -int(quantity), at, leg, entry.signal)
    row = store.append(session, "protect", at, now, order)
    store.add_intent(session, row.seq, order, now)
    log.warning("unguarded", signal=entry.signal.id, symbol=symbol, quantity=quantity, exit=leg)


def pause(tries: int) -> timedelta:
    """How long to wait after so many exits."""
    return PAUSE * float(min(2 ** max(tries - 1, 0), 16))
