"""What the API tells of signals: who voted how, and what became of them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from argo_alpine.domain import Fill, Signal, Trade
from argo_alpine.engine import WAITS
from services.argo import tables, words
from services.argo.views import ConsensusView, Weights, consensus_view, inside, number, value_of

OPEN_ENDED = ("signal", *WAITS)  # a signal that waited until it expired ends with one of these


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order that a signal caused."""

    id: str
    leg: str  # entry, close or protect
    quantity: int  # signed
    state: str
    filled: float  # signed
    average: float | None  # price; None: nothing is filled
    note: str


@dataclass(frozen=True, slots=True)
class FillView:
    """What the market did for it."""

    at: datetime
    why: str  # entry, close, stop or target
    quantity: float  # signed
    price: float
    fee: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a signal, as far as is known."""

    state: str  # a reason while there is no order, an order's state after that, or finished
    words: str
    orders: tuple[OrderView, ...] = ()
    fills: tuple[FillView, ...] = ()
    pnl: float | None = None  # account currency, of what was closed; None: nothing was


@dataclass(frozen=True, slots=True)
class SignalView:
    """A signal and its story."""

    id: str
    seq: int
    symbol: str
    direction: str
    confidence: float  # percent
    at: datetime
    entry: float
    stop: float
    target: float
    size_pct: float  # of equity
    expires: datetime
    age_seconds: float | None  # market time; None: the market's time is not known
    consensus: ConsensusView
    outcome: Outcome
    sandbox: bool


@dataclass(frozen=True, slots=True)
class SignalStats:
    """How many signals there are, and of which kinds."""

    n: int
    first: datetime | None
    last: datetime | None
    by_symbol: Mapping[str, int]
    by_direction: Mapping[str, int]
    by_confidence: Mapping[str, int]  # decile, such as 70-80, without its upper end
    by_outcome: Mapping[str, int]


@dataclass(slots=True)
class Traces:
    """What the book holds about some signals, by id; filled while reading."""

    orders: dict[str, list[OrderView]] = field(default_factory=lambda: defaultdict(list))
    fills: dict[str, list[FillView]] = field(default_factory=lambda: defaultdict(list))


def recent_signals(
    session: Session,
    weights: Weights,
    now: datetime | None,
    *,
    limit: int,
    symbol: str | None = None,
    sandbox: bool = False,
) -> tuple[SignalView, ...]:
    """The latest signals, newest first."""
    made = tables.signals
    query = select(made).order_by(made.c.seq.desc(), made.c.symbol).limit(limit)
    query = query.where(made.c.symbol == symbol) if symbol else query
    return views(session, session.execute(query).all(), weights, now, sandbox)


def find_signal(
    session: Session, name: str, weights: Weights, now: datetime | None, sandbox: bool = False
) -> SignalView | None:
    """One signal, by its id."""
    rows = session.execute(select(tables.signals).where(tables.signals.c.id == name)).all()
    return next(iter(views(session, rows, weights, now, sandbox)), None)


def views(
    session: Session, rows: Sequence[Any], weights: Weights, now: datetime | None, sandbox: bool
) -> tuple[SignalView, ...]:
    """Rows as values, each with its story."""
    signals = {row.id: value_of(Signal, row.body) for row in rows}
    found = outcomes(session, [(row.seq, signals[row.id]) for row in rows], now)
    return tuple(
        view(row.seq, signals[row.id], found[row.id], weights, now, sandbox) for row in rows
    )


def view(
    seq: int, s: Signal, outcome: Outcome, weights: Weights, now: datetime | None, sandbox: bool
) -> SignalView:
    """A signal as the API tells it."""
    age = (now - s.at).total_seconds() if now else None
    return SignalView(
        s.id, seq, s.symbol, s.direction.name, s.confidence, s.at, s.entry, s.stop, s.target,
        s.size_pct, s.expires, age, consensus_view(s.consensus, s.symbol, weights), outcome,
        sandbox,
    )  # fmt: skip


def stats(session: Session, now: datetime | None) -> SignalStats:
    """All signals, counted."""
    rows = session.execute(select(tables.signals).order_by(tables.signals.c.seq)).all()
    signals = [(row.seq, value_of(Signal, row.body)) for row in rows]
    found = outcomes(session, signals, now)
    made = [signal for _, signal in signals]
    return SignalStats(
        len(made),
        min((s.at for s in made), default=None),
        max((s.at for s in made), default=None),
        counted(s.symbol for s in made),
        counted(s.direction.name for s in made),
        counted(decile(s.confidence) for s in made),
        counted(found[s.id].state for s in made),
    )


def counted(names: Any) -> Mapping[str, int]:
    """How often each name occurs, by name."""
    return dict(sorted(Counter(names).items()))


def decile(confidence: float) -> str:
    """The ten percent a confidence lies in; 100 belongs to the last ten."""
    low = min(int(confidence // 10) * 10, 90)
    return f"{low}-{low + 10}"


# What became of them


def outcomes(
    session: Session, signals: Sequence[tuple[int, Signal]], now: datetime | None
) -> Mapping[str, Outcome]:
    """What became of signals, by id."""
    if not signals:
        return {}
    first = min(seq for seq, _ in signals)
    symbols = {signal.symbol for _, signal in signals}
    traces = traced(session, first, symbols)
    told, trades = reasons(session, first, symbols), closed(session, first, symbols)
    return {
        signal.id: outcome(
            signal, traces, told.get((signal.symbol, seq), "signal"), trades, now
        )
        for seq, signal in signals
    }  # fmt: skip


def traced(session: Session, first: int, symbols: set[str]) -> Traces:
    """Orders and fills since an entry, under the signals that caused them."""
    traces, owners = Traces(), dict[str, str]()
    ours, guards = tables.intents, tables.legs
    about = inside(ours, "signal.id").label("signal")
    query = select(ours, about).where(ours.c.seq >= first, ours.c.symbol.in_(symbols))
    names: dict[str, str] = {}
    for row in session.execute(query.order_by(ours.c.seq)):
        names[row.id] = row.signal
        owners |= {row.broker_id: row.signal} if row.broker_id else {}
        traces.orders[row.signal].append(order_view(row))
    for leg in session.execute(select(guards).where(guards.c.symbol.in_(symbols))):
        owners |= {leg.broker_id: names[leg.intent]} if leg.intent in names else {}
    fills = select(tables.fills).where(inside(tables.fills, "symbol").in_(symbols))
    for row in session.execute(fills.order_by(tables.fills.c.n)):
        if row.broker_id in owners:
            traces.fills[owners[row.broker_id]].append(fill_view(value_of(Fill, row.body)))
    return traces


def order_view(row: Any) -> OrderView:
    """A row as a value."""
    quantity = int(value_of(dict, row.body)["quantity"])
    average = number(row.average) if row.filled else None
    return OrderView(row.id, row.leg, quantity, row.state, row.filled, average, row.note)


def fill_view(fill: Fill) -> FillView:
    """A fill as the API tells it."""
    return FillView(fill.at, fill.why, fill.quantity, fill.price, fill.fee)


def reasons(session: Session, first: int, symbols: set[str]) -> Mapping[tuple[str, int], str]:
    """The last word on each signal before the next bar: by symbol and the signal's entry."""
    rows = tables.decisions
    is_bar = (func.json_type(rows.c.body, "$.consensus") != "null").label("is_bar")
    is_made = (func.json_type(rows.c.body, "$.signal") != "null").label("is_made")
    query = select(rows.c.seq, rows.c.symbol, rows.c.why, is_bar, is_made)
    query = query.where(rows.c.seq >= first, rows.c.symbol.in_(symbols)).order_by(rows.c.seq)
    told: dict[tuple[str, int], str] = {}
    current: dict[str, int | None] = {}
    for row in session.execute(query):
        if row.is_bar:
            current[row.symbol] = row.seq if row.is_made else None
        if (at := current.get(row.symbol)) is not None:
            told[row.symbol, at] = row.why
    return told


def closed(session: Session, first: int, symbols: set[str]) -> Sequence[Trade]:
    """Round trips of some symbols since an entry."""
    done = tables.trades
    query = select(done.c.body).where(
        done.c.seq >= first, or_(*(inside(done, "symbol") == symbol for symbol in sorted(symbols)))
    )
    return [value_of(Trade, text) for text in session.execute(query).scalars()]


def outcome(
    signal: Signal, traces: Traces, reason: str, trades: Sequence[Trade], now: datetime | None
) -> Outcome:
    """What became of one signal."""
    orders, fills = tuple(traces.orders[signal.id]), tuple(traces.fills[signal.id])
    entry = next((order for order in reversed(orders) if order.leg == "entry"), None)
    if entry is None:
        is_late = reason in OPEN_ENDED and now is not None and signal.expires <= now
        state = "expired" if is_late else reason
        return Outcome(state, words.why(state), orders, fills)
    since = {fill.at for fill in fills if fill.why == "entry"}
    mine = [trade for trade in trades if trade.symbol == signal.symbol and trade.opened in since]
    pnl = sum(trade.pnl for trade in mine) if mine else None
    is_over = bool(mine) and sum(trade.quantity for trade in mine) >= abs(entry.filled)
    if is_over:
        return Outcome("finished", finished(mine, pnl), orders, fills, pnl)
    note = f" {entry.note}" if entry.note else ""
    return Outcome(entry.state, words.order(entry.state) + note, orders, fills, pnl)


def finished(trades: Sequence[Trade], pnl: float | None) -> str:
    """How a position ended, as a sentence."""
    how = {"close": "by an order of ours", "stop": "at its stop", "target": "at its target"}
    last = max(trades, key=lambda trade: trade.closed)
    return f"Closed {how.get(last.why, last.why)} with {pnl:+,.2f}."
