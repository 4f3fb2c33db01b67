"""What the API tells of money: equity, trades and how many of them won."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Float, cast, func, select
from sqlalchemy.orm import Session

from argo_alpine.domain import Trade
from argo_alpine.metrics import win_rate
from argo_alpine.shares import FLOOR
from services.argo import tables
from services.argo.views import inside, number, value_of, whole_entries


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """What the account was worth when an entry was written."""

    seq: int
    at: datetime
    equity: float
    cash: float


@dataclass(frozen=True, slots=True)
class EquityView:
    """A piece of the curve, and the whole of it in four numbers."""

    points: tuple[EquityPoint, ...]  # ascending
    start: float | None
    now: float | None
    peak: float | None
    drawdown: float | None  # now, from the peak: -1..0
    max_drawdown: float | None  # ever


@dataclass(frozen=True, slots=True)
class TradeView:
    """A closed round trip."""

    seq: int
    symbol: str
    direction: str
    quantity: float
    opened: datetime
    closed: datetime
    entry: float
    exit: float
    fees: float
    pnl: float  # after fees
    why: str  # close, stop or target


@dataclass(frozen=True, slots=True)
class Sums:
    """All trades together."""

    n: int
    pnl: float  # after fees
    fees: float


@dataclass(frozen=True, slots=True)
class TradesView:
    """A page of trades, newest first, and the sums of all."""

    trades: tuple[TradeView, ...]
    sums: Sums


@dataclass(frozen=True, slots=True)
class WinRate:
    """The share of trades that won, with its 95 % interval, once there are enough."""

    n: int
    wins: int
    rate: float | None  # 0..1
    low: float | None
    high: float | None
    why_not: str  # why there is no rate; empty when there is one


def equity(session: Session, *, limit: int, after: int | None = None) -> EquityView:
    """The last points, or the first after an entry."""
    table = tables.equity
    if after is None:
        newest = select(table).order_by(table.c.seq.desc()).limit(limit)
        rows = list(reversed(session.execute(newest).all()))
    else:
        more = select(table).where(table.c.seq > after).order_by(table.c.seq).limit(limit)
        rows = list(session.execute(more).all())
    points = tuple(EquityPoint(row.seq, row.at, row.equity, row.cash) for row in rows)
    return EquityView(points, *curve(session))


def curve(session: Session) -> tuple[float | None, ...]:
    """Start, now, peak, drawdown and the deepest one, of all that is kept."""
    table = tables.equity
    worth = select(table.c.equity).limit(1)
    start = session.execute(worth.order_by(table.c.seq)).scalar()
    now = session.execute(worth.order_by(table.c.seq.desc())).scalar()
    if start is None or now is None:
        return None, None, None, None, None
    peaks = func.max(table.c.equity).over(order_by=table.c.seq).label("peak")
    seen = select(table.c.equity, peaks).subquery()
    depth = select(func.max(seen.c.peak), func.min(seen.c.equity / func.nullif(seen.c.peak, 0) - 1))
    peak, deepest = session.execute(depth).one()
    return start, now, peak, (now / peak - 1 if peak > 0 else None), number(deepest)


def trades(session: Session, *, limit: int, before: int | None = None) -> TradesView:
    """The last trades, newest first; an entry is never torn, so there may be a few more."""
    query = whole_entries(tables.trades, limit, None, before).order_by(tables.trades.c.n.desc())
    views = tuple(trade_view(row) for row in session.execute(query))
    return TradesView(views, sums(session))


def trade_view(row: Any) -> TradeView:
    """A row as a value."""
    done: Trade = value_of(Trade, row.body)
    return TradeView(
        row.seq, done.symbol, done.direction.name, done.quantity, done.opened, done.closed,
        done.entry, done.exit, done.fees, done.pnl, done.why,
    )  # fmt: skip


def sums(session: Session) -> Sums:
    """All trades, added up."""
    table = tables.trades
    fees = func.coalesce(func.sum(cast(inside(table, "fees"), Float)), 0.0)
    query = select(func.count(), func.coalesce(func.sum(table.c.pnl), 0.0), fees)
    n, pnl, paid = session.execute(query.select_from(table)).one()
    return Sums(n, float(pnl), float(paid))


def wins(session: Session) -> WinRate:
    """How many trades won; too few are a count and no rate."""
    pnl = np.array(session.execute(select(tables.trades.c.pnl)).scalars().all(), np.float64)
    rate, won = win_rate(pnl), int((pnl > 0).sum())
    if rate.n < FLOOR:
        why = f"{rate.n} trades are too few for a rate: it takes {FLOOR}"
        return WinRate(rate.n, won, None, None, None, why)
    return WinRate(rate.n, won, rate.share, rate.low, rate.high, "")
