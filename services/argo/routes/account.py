"""The account and its record: what is held, what it is worth, what was won and lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.orm import Session

from argo_alpine.domain import Position, Quote
from argo_alpine.moments import Mode, Portfolio
from services.argo import record_views, store, tables
from services.argo.cycle import Engine
from services.argo.record_views import EquityView, TradesView
from services.argo.routes import needs
from services.argo.views import number
from services.common.db import Db

router = APIRouter(prefix="/api", tags=["account"], route_class=needs.Guarded)


@dataclass(frozen=True, slots=True)
class AccountView:
    """What the broker says we have, and where the limits are measured from."""

    at: datetime | None  # market time
    sandbox: bool
    known: bool  # whether the broker answered in the last cycle
    why_not: str  # why not; empty when it did
    equity: float | None
    cash: float | None
    buying_power: float | None
    active: bool | None
    blocks: tuple[str, ...]
    mode: str | None
    latched: bool | None
    halted: datetime | None
    opening: float | None  # equity at the close before today
    peak: float | None
    day: float | None  # gained since then, account currency
    drawdown: float | None  # from the peak, -1..0
    auto_execute: bool


@dataclass(frozen=True, slots=True)
class GuardView:
    """A broker's order that protects a position."""

    id: str  # the broker's
    symbol: str
    leg: str  # target or stop
    price: float | None
    state: str


@dataclass(frozen=True, slots=True)
class PositionView:
    """What is held of one symbol, and what it is worth by the last quote."""

    symbol: str
    quantity: float  # signed
    price: float  # average paid
    stop: float | None
    target: float | None
    opened: datetime
    last: float | None
    last_at: datetime | None
    value: float | None  # signed
    pnl: float | None  # not realised, before fees
    why_not: str  # why a number is missing; empty when none is
    guards: tuple[GuardView, ...]


@dataclass(frozen=True, slots=True)
class WorkingView:
    """An order on its way or at the market."""

    id: str
    symbol: str
    leg: str  # entry, close or protect
    quantity: int  # signed
    filled: float  # signed
    state: str
    note: str
    at: datetime
    signal: str


@dataclass(frozen=True, slots=True)
class PositionsView:
    """What is held, and what is on its way."""

    at: datetime | None  # market time of the last cycle
    positions: tuple[PositionView, ...]
    orders: tuple[WorkingView, ...]


@router.get("/account")
def get_account(engine: needs.Argo, sandbox: needs.IsSandbox) -> AccountView:
    """What the broker says we have."""
    return account_view(engine, sandbox)


@router.get("/positions")
def list_positions(db: Db, engine: needs.Argo) -> PositionsView:
    """What is held, what guards it, and what is on its way."""
    quotes = {quote.symbol: quote for quote in engine.board.latest()[0]}
    guards, held = guards_of(db), engine.status.book
    positions = held.positions if held else {}
    return PositionsView(
        engine.status.at,
        tuple(
            position_view(positions[symbol], quotes.get(symbol), guards.get(symbol, ()))
            for symbol in sorted(positions)
        ),
        working(db),
    )


@router.get("/equity")
def get_equity(db: Db, limit: needs.Limit = 500, after: needs.Cursor = None) -> EquityView:
    """The last points of the curve; with `after`, the first ones after that `seq`."""
    return record_views.equity(db, limit=limit, after=after)


@router.get("/trades")
def list_trades(db: Db, limit: needs.Limit = 50, before: needs.Cursor = None) -> TradesView:
    """Closed round trips, newest first; for the next page give the last `seq` as `before`."""
    return record_views.trades(db, limit=limit, before=before)


def account_view(engine: Engine, sandbox: bool) -> AccountView:
    """The account as of the last cycle."""
    now, held = engine.status, engine.status.book
    said = now.account
    worth = number(said.equity) if said else None
    why = "" if said else "the broker did not answer" if now.cycles else "no cycle yet"
    day, drawdown = moves(held, worth)
    return AccountView(
        at=now.at,
        sandbox=sandbox,
        known=said is not None,
        why_not=why,
        equity=worth,
        cash=number(said.cash) if said else None,
        buying_power=number(said.buying_power) if said else None,
        active=said.active if said else None,
        blocks=said.blocks if said else (),
        mode=Mode(held.mode).name if held else None,
        latched=held.latched if held else None,
        halted=held.halted if held else None,
        opening=number(held.opening) if held else None,
        peak=number(held.peak) if held else None,
        day=day,
        drawdown=drawdown,
        auto_execute=engine.desk.rules.auto_execute,
    )


def moves(held: Portfolio | None, worth: float | None) -> tuple[float | None, float | None]:
    """What was gained today, and the distance from the peak."""
    if held is None or worth is None or held.peak <= 0:
        return None, None
    return worth - held.opening, min(worth / held.peak - 1, 0.0)


def position_view(
    held: Position, quote: Quote | None, guards: tuple[GuardView, ...]
) -> PositionView:
    """A position by its last quote."""
    last = number(quote.price) if quote else None
    reasons = [] if last is not None else ["no quote"]
    reasons += [
        f"no {name}"
        for name, value in (("stop", held.stop), ("target", held.target))
        if number(value) is None
    ]
    return PositionView(
        symbol=held.symbol,
        quantity=held.quantity,
        price=held.price,
        stop=number(held.stop),
        target=number(held.target),
        opened=held.opened,
        last=last,
        last_at=quote.at if quote else None,
        value=None if last is None else held.quantity * last,
        pnl=None if last is None else held.quantity * (last - held.price),
        why_not=", ".join(reasons),
        guards=guards,
    )


def guards_of(session: Session) -> Mapping[str, tuple[GuardView, ...]]:
    """Guards that may still be filled, by symbol."""
    legs = tables.legs
    query = select(legs).where(legs.c.state.not_in(store.DONE)).order_by(legs.c.leg)
    found: dict[str, tuple[GuardView, ...]] = {}
    for row in session.execute(query):
        guard = GuardView(row.broker_id, row.symbol, row.leg, number(row.price), row.state)
        found[row.symbol] = (*found.get(row.symbol, ()), guard)
    return found


def working(session: Session) -> tuple[WorkingView, ...]:
    """Orders whose end is not known yet, oldest first."""
    return tuple(
        WorkingView(
            intent.order.id, intent.order.symbol, intent.order.leg, intent.order.quantity,
            intent.filled, intent.state, intent.note, intent.order.at, intent.order.signal.id,
        )
        for intent in store.open_intents(session)
    )  # fmt: skip
