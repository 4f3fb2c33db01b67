"""What was delivered, read again: signals and what became of them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from argo_alpine.domain import Fill, Signal, Trade
from argo_alpine.orders import order_id
from services.alpine import intake
from services.alpine.plans import Plan, allowed
from services.alpine.tables import feed, signals, sources

LATEST = 50


@dataclass(frozen=True, slots=True)
class VoteView:
    """What one source said."""

    source: str
    direction: str
    confidence: float  # percent
    why: str
    at: datetime


@dataclass(frozen=True, slots=True)
class FillView:
    """What the market did."""

    at: datetime
    why: str  # entry, close, stop or target
    quantity: float  # signed
    price: float
    fee: float


@dataclass(frozen=True, slots=True)
class SignalView:
    """A signal, who voted for it, and what became of it."""

    id: str
    symbol: str
    direction: str
    confidence: float  # percent
    at: datetime  # market time
    entry: float
    stop: float
    target: float
    size_pct: float
    expires: datetime
    turnout: float  # 0..1
    votes: tuple[VoteView, ...]
    received_at: datetime  # wall time
    feed: int  # number of its delivery
    sandbox: bool
    fills: tuple[FillView, ...]
    outcome: str | None  # open, target, stop or close; None: nothing was bought or sold
    pnl: float | None  # account currency, after fees, of what is closed


@dataclass(frozen=True, slots=True)
class SourceView:
    """A book, and how far it has come."""

    epoch: str
    high: int
    sandbox: bool
    last: datetime | None  # wall time of the last delivery


@dataclass(frozen=True, slots=True)
class Asked:
    """Which signals."""

    symbol: str | None = None
    direction: str | None = None
    since: datetime | None = None  # market time
    until: datetime | None = None
    before: int | None = None  # of the feed
    after: int | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """As a query says it."""
        row = signals.c
        if self.symbol is not None:
            yield row.symbol == self.symbol
        if self.direction is not None:
            yield row.direction == self.direction
        if self.since is not None:
            yield row.at >= self.since
        if self.until is not None:
            yield row.at <= self.until
        if self.before is not None:
            yield row.feed < self.before
        if self.after is not None:
            yield row.feed > self.after


value_of = lru_cache(20_000)(intake.value_of)  # a message never changes


def head(session: Session) -> int:
    """The number of the last delivery; 0 before the first."""
    return session.execute(select(func.max(feed.c.id))).scalar() or 0


def current(session: Session) -> Any:
    """The book that was heard of last, as a row of `sources`; None before the first."""
    last = select(feed.c.epoch).order_by(feed.c.id.desc()).limit(1).scalar_subquery()
    return session.execute(select(sources).where(sources.c.epoch == last)).first()


def is_sandbox(session: Session) -> bool:
    """Whether what is shown now comes from a sandbox."""
    source = current(session)
    return source is not None and bool(source.sandbox)


def books(session: Session) -> tuple[SourceView, ...]:
    """All books, oldest first."""
    last = (
        select(feed.c.received_at)
        .where(feed.c.epoch == sources.c.epoch, feed.c.n == sources.c.high)
        .scalar_subquery()
    )
    query = select(sources, last.label("last")).order_by(sources.c.created_at, sources.c.epoch)
    rows = session.execute(query)
    return tuple(SourceView(row.epoch, row.high, row.sandbox, row.last) for row in rows)


def find_signals(
    session: Session,
    plan: Plan,
    now: datetime,
    asked: Asked,
    *,
    limit: int,
    newest: bool = True,  # first
) -> tuple[SignalView, ...]:
    """What the plan allows of what is asked; never sandbox and real together."""
    order = signals.c.feed.desc() if newest else signals.c.feed
    query = (
        select(signals, feed.c.body, feed.c.epoch)
        .join(feed, feed.c.id == signals.c.feed)
        .where(allowed(plan, now), signals.c.sandbox == is_sandbox(session), *asked.conditions())
        .order_by(order)
        .limit(limit)
    )
    return views(session, session.execute(query).all(), plan, now)


def views(
    session: Session, rows: Sequence[Any], plan: Plan, now: datetime
) -> tuple[SignalView, ...]:
    """Rows of signals with what became of them."""
    if not rows:
        return ()
    known = Aftermath(
        session, min(row.feed for row in rows), {row.epoch for row in rows}, plan.until(now)
    )
    return tuple(view(row, value_of("signal", row.body), known) for row in rows)


class Aftermath:
    """Fills and trades since a delivery, by book and symbol, as far as a plan may know."""

    def __init__(self, session: Session, since: int, epochs: set[str], until: datetime) -> None:
        self.fills: Mapping[tuple[str, str], list[Fill]] = defaultdict(list)
        self.trades: Mapping[tuple[str, str], list[Trade]] = defaultdict(list)
        query = select(feed.c.epoch, feed.c.kind, feed.c.body).where(
            feed.c.kind.in_(("fill", "trade")),
            feed.c.id > since,
            feed.c.epoch.in_(sorted(epochs)),
            feed.c.received_at <= until,
        )
        for row in session.execute(query.order_by(feed.c.id)):
            value = value_of(row.kind, row.body)
            kept: Any = self.fills if row.kind == "fill" else self.trades
            kept[row.epoch, value.symbol].append(value)

    def of(
        self, epoch: str, signal: Signal
    ) -> tuple[tuple[FillView, ...], str | None, float | None]:
        """The fills of a signal, its outcome and its profit."""
        fills, name = self.fills[epoch, signal.symbol], order_id(signal.id, "entry")
        entries = [fill for fill in fills if fill.order == name]
        since = {fill.at for fill in entries}
        trades = [trade for trade in self.trades[epoch, signal.symbol] if trade.opened in since]
        ends = {trade.closed for trade in trades}
        exits = [fill for fill in fills if fill.why != "entry" and fill.at in ends]
        shown = tuple(
            FillView(fill.at, fill.why, fill.quantity, fill.price, fill.fee)
            for fill in sorted((*entries, *exits), key=lambda fill: fill.at)
        )
        if not entries:
            return shown, None, None
        bought = abs(sum(fill.quantity for fill in entries))
        is_over = bool(trades) and sum(trade.quantity for trade in trades) >= bought - 1e-9
        outcome = max(trades, key=lambda trade: trade.closed).why if is_over else "open"
        return shown, outcome, sum(trade.pnl for trade in trades) if trades else None


def view(row: Any, signal: Signal, known: Aftermath) -> SignalView:
    """A row as a value."""
    fills, outcome, pnl = known.of(row.epoch, signal)
    votes = tuple(
        VoteView(vote.source, vote.direction.name, vote.confidence, vote.why, vote.at)
        for vote in signal.consensus.votes
    )
    return SignalView(
        signal.id, signal.symbol, signal.direction.name, signal.confidence, signal.at,
        signal.entry, signal.stop, signal.target, signal.size_pct, signal.expires,
        signal.consensus.turnout, votes, row.received_at, row.feed, row.sandbox,
        fills, outcome, pnl,
    )  # fmt: skip
