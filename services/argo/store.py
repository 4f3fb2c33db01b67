"""What is written into a book, and read from it: values in, values out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import isfinite
from typing import Any, TypeAlias

from sqlalchemy import (
    Table,
    and_,
    func,
    insert,
    not_,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.orm import Session

from argo_alpine.domain import FLAWS, Bar, Fill, InvalidJournal, Order, Reading, flaw
from argo_alpine.moments import Decision
from argo_alpine.records import Entry, canonical, chained, digest
from services.argo.ports import BrokerOrder, OrderState
from services.argo.tables import (
    APPEND_ONLY,
    SCHEMA,
    bars,
    decisions,
    entries,
    equity,
    fills,
    intents,
    legs,
    meters,
    notes,
    outbox,
    readings,
    signals,
    tables,
    trades,
)
from services.argo.tape import Split
from services.argo.wire import loaded


@dataclass(frozen=True, slots=True)
class Intent:
    """An order of ours, and what is known of it."""

    order: Order
    state: str  # new, sending, unknown, unsent, or an `OrderState`
    recorded_at: datetime
    tries: int
    tried_at: datetime | None
    broker_id: str | None
    filled: float  # signed, cumulative
    average: float
    note: str


@dataclass(frozen=True, slots=True)
class Leg:
    """A broker's order that guards one of our positions."""

    broker_id: str
    intent: str
    symbol: str
    leg: str  # target or stop
    quantity: float  # signed
    state: str
    filled: float
    average: float


def create(session: Session) -> None:
    """Make the tables, and forbid changes to history."""
    connection = session.connection()
    tables.create_all(connection)
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER IF NOT EXISTS {table.name}_no_{verb.lower()} "
                f"BEFORE {verb} ON {table.name} "
                f"BEGIN SELECT RAISE(ABORT, '{table.name} is append-only'); END"
            )
    connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA}")


# The journal


def entry_of(row: Any) -> Entry:
    """A row of the journal as a value."""
    return Entry(row.seq, row.kind, row.at, row.recorded_at, row.body, row.previous, row.id)


def last_entry(session: Session, kind: str | None = None) -> Entry | None:
    """The head of the journal, or the last of a kind."""
    query = select(entries).order_by(entries.c.seq.desc()).limit(1)
    row = session.execute(query.where(entries.c.kind == kind) if kind else query).first()
    return entry_of(row) if row else None


def read_journal(session: Session, after: int = -1) -> Iterable[Entry]:
    """Every entry after one, in order."""
    query = select(entries).where(entries.c.seq > after).order_by(entries.c.seq)
    for row in session.execute(query).yield_per(100):
        yield entry_of(row)


def find_entry(session: Session, seq: int) -> Entry | None:
    """One entry."""
    row = session.execute(select(entries).where(entries.c.seq == seq)).first()
    return entry_of(row) if row else None


def furthest(session: Session) -> int:
    """The last entry that any table names, be it in the journal or not; -1 for none.

    *Raises* `InvalidJournal`.
    """
    named = [c for table in tables.sorted_tables for c in table.c if c.name in ("seq", "told")]
    seqs = {str(column): session.execute(select(func.max(column))).scalar() for column in named}
    seqs["the note verified"] = find_mark(session).get("seq")
    for name, seq in seqs.items():
        if not isinstance(seq, int | None):
            raise InvalidJournal(
                f"{name} must be the number of an entry, was {seq!r}; "
                "restore the book from a backup"
            )
    return max((seq for seq in seqs.values() if seq is not None), default=-1)


def append(session: Session, kind: str, at: datetime, recorded_at: datetime, body: object) -> Entry:
    """Write the next entry of the journal."""
    entry = chained(last_entry(session), kind, at, recorded_at, body)
    row = {name: getattr(entry, name) for name in entries.columns.keys()}  # noqa: SIM118
    session.execute(insert(entries).values(row))
    return entry


# What was seen


def keep_readings(session: Session, seen: Iterable[Reading]) -> tuple[str, ...]:
    """Keep readings under their digests; the same content is kept once."""
    names = []
    for reading in seen:
        name = digest(reading)
        row = {"digest": name, "body": canonical(reading), "at": reading.at}
        row |= {"source": reading.source, "symbol": reading.symbol}
        session.execute(upsert(readings).values(row).on_conflict_do_nothing())
        names.append(name)
    return tuple(names)


def find_reading(session: Session, name: str) -> Reading | None:
    """A reading by its digest."""
    text = session.execute(select(readings.c.body).where(readings.c.digest == name)).scalar()
    return None if text is None else loaded(Reading, text)


def keep_bars(session: Session, seq: int, seen: Sequence[Bar]) -> None:
    """Keep the bars that an entry was the first to use."""
    names = ("symbol", "at", "open", "high", "low", "close", "volume")
    rows = [{"seq": seq} | {name: getattr(bar, name) for name in names} for bar in seen]
    if rows:
        session.execute(insert(bars), rows)


def read_bars(session: Session) -> Iterable[tuple[int, Bar]]:
    """Every bar with the entry that used it first, in that order."""
    query = select(bars).order_by(bars.c.seq, bars.c.at, bars.c.symbol)
    for row in session.execute(query).yield_per(1000):
        yield row.seq, bar_of(row)


def bar_of(row: Any) -> Bar:
    """A row as a value. *Raises* `InvalidJournal` for what is no number, or no market made."""
    numbers = {name: getattr(row, name) for name in ("open", "high", "low", "close", "volume")}
    for name, value in numbers.items():
        if not (isinstance(value, float) and isfinite(value)):
            raise InvalidJournal(
                f"{row.symbol} at {row.at:%Y-%m-%d %H:%M}: {name} must be a number, "
                f"was {value!r}; restore the book from a backup"
            )
    if wrong := flaw(**numbers):
        said = ", ".join(f"{name} {value!r}" for name, value in numbers.items())
        raise InvalidJournal(
            f"{row.symbol} at {row.at:%Y-%m-%d %H:%M}: {FLAWS[wrong]}, was {said}; "
            "restore the book from a backup"
        )
    return Bar(row.symbol, row.at, **numbers)


def read_splits(session: Session) -> list[Split]:
    """Every split that was noticed, in that order."""
    query = select(entries.c.body).where(entries.c.kind == "split").order_by(entries.c.seq)
    return [loaded(Split, text) for text in session.execute(query).scalars()]


Rows: TypeAlias = dict[str, object]


def derived(entry: Entry, decision: Decision) -> Iterator[tuple[Table, Rows]]:
    """What a decision means to those who ask: why, signals made, trades closed."""
    refused = {refusal.symbol: refusal.reasons for refusal in decision.refusals}
    made = {signal.symbol: signal.id for signal in decision.signals}
    at = {"seq": entry.seq, "at": entry.at}
    for symbol, why in sorted(decision.why.items()):
        body: dict[str, object] = {"consensus": decision.consensus.get(symbol)}
        body |= {"signal": made.get(symbol), "reasons": refused.get(symbol, ())}
        yield decisions, {**at, "symbol": symbol, "why": why, "body": canonical(body)}
    for signal in decision.signals:
        row = {"id": signal.id, "seq": entry.seq, "at": signal.at, "symbol": signal.symbol}
        yield signals, {**row, "body": canonical(signal)}
    for trade in decision.trades:
        row = {"seq": entry.seq, "closed": trade.closed, "pnl": trade.pnl}
        yield trades, {**row, "body": canonical(trade)}


def keep_decision(session: Session, entry: Entry, decision: Decision) -> None:
    """Keep what a decision means; a signal that was made before stays as it was."""
    for table, row in derived(entry, decision):
        session.execute(upsert(table).values(row).on_conflict_do_nothing())


def misread(session: Session, entry: Entry, decision: Decision) -> str:
    """The table that no longer says what the decision meant; empty when all do."""
    meant: dict[Table, list[Rows]] = {decisions: [], signals: [], trades: []}
    for table, row in derived(entry, decision):
        meant[table].append(row)
    for table, rows in meant.items():
        names = [c for c in table.c if c.name != "n"]
        kept = session.execute(select(*names).where(table.c.seq == entry.seq)).mappings().all()
        if sorted(map(str, (dict(row) for row in kept))) != sorted(
            str({c.name: row[c.name] for c in names}) for row in rows
        ):
            return table.name
    return ""


def keep_equity(session: Session, entry: Entry, total: float, cash: float) -> None:
    """What the account was worth when an entry was written."""
    row = {"seq": entry.seq, "at": entry.at, "equity": total, "cash": cash}
    session.execute(insert(equity).values(row))


def find_equity(session: Session, seq: int) -> dict[str, Any] | None:
    """What the account was worth when an entry was written, and when that was."""
    query = select(equity.c.at, equity.c.equity, equity.c.cash).where(equity.c.seq == seq)
    row = session.execute(query).mappings().first()
    return None if row is None else dict(row)


def astray(session: Session) -> Iterator[tuple[str, int]]:
    """Tables with what only a decision brings, but of an entry that is none; and that entry."""
    right = select(entries.c.seq).where(entries.c.kind == "moment")
    for table in (decisions, signals, trades, equity):
        query = select(func.min(table.c.seq)).where(table.c.seq.not_in(right))
        if (seq := session.execute(query).scalar()) is not None:
            yield table.name, seq


# Orders and fills


def add_intent(session: Session, seq: int, order: Order, recorded_at: datetime) -> None:
    """Write down an order before anybody is told; one that was never sent may be meant again."""
    row = {"id": order.id, "seq": seq, "symbol": order.symbol, "leg": order.leg, "at": order.at}
    row |= {"recorded_at": recorded_at, "state": "new", "told": None, "body": canonical(order)}
    again = upsert(intents).values(row | {"tries": 0, "filled": 0.0, "average": 0.0, "note": ""})
    session.execute(
        again.on_conflict_do_update(
            index_elements=["id"], set_=row, where=intents.c.state == "unsent"
        )
    )


def intent_of(row: Any) -> Intent:
    """A row as a value."""
    return Intent(
        loaded(Order, row.body), row.state, row.recorded_at, row.tries, row.tried_at,
        row.broker_id, row.filled, row.average, row.note,
    )  # fmt: skip


DONE = ("unsent", *(state.value for state in OrderState if state.is_final))


def open_intents(session: Session) -> list[Intent]:
    """Orders whose end is not known yet, oldest first."""
    query = select(intents).where(intents.c.state.not_in(DONE)).order_by(intents.c.seq)
    return [intent_of(row) for row in session.execute(query)]


def moving(session: Session) -> set[str]:
    """The symbols with an order of ours whose end is not known; a resting guard moves nothing."""
    query = select(intents.c.symbol).where(intents.c.state.not_in(DONE))
    rests = and_(intents.c.leg == "protect", intents.c.state == OrderState.OPEN)
    return {*session.execute(query.where(not_(rests))).scalars()}


def sent(session: Session) -> dict[str, str | None]:
    """Orders the broker has and whose end is not known: our id, and the broker's."""
    query = select(intents.c.id, intents.c.broker_id).where(
        and_(intents.c.state.not_in(DONE), intents.c.broker_id.is_not(None))
    )
    return {row.id: row.broker_id for row in session.execute(query)}


def oldest_open(session: Session) -> datetime | None:
    """When the oldest order whose end is not known was decided."""
    query = select(intents.c.at).where(intents.c.state.not_in(DONE))
    return session.execute(query.order_by(intents.c.at).limit(1)).scalar()


def own_guards(session: Session, symbol: str) -> list[str]:
    """The broker's ids of exits we placed ourselves for a symbol and that still rest."""
    query = select(intents.c.broker_id).where(
        and_(
            intents.c.symbol == symbol,
            intents.c.leg == "protect",
            intents.c.state.not_in(DONE),
            intents.c.broker_id.is_not(None),
        )
    )
    return [str(name) for name in session.execute(query).scalars()]


def covered(session: Session) -> dict[str, float]:
    """How many shares of each symbol an open stop would still trade, signed."""
    left = func.sum(legs.c.quantity - legs.c.filled)
    query = select(legs.c.symbol, left).where(and_(legs.c.state.not_in(DONE), legs.c.leg == "stop"))
    return {symbol: float(sum_) for symbol, sum_ in session.execute(query.group_by(legs.c.symbol))}


def guarded(session: Session) -> set[str]:
    """The symbols whose position has an exit resting at the broker."""
    theirs = select(legs.c.symbol).where(legs.c.state.not_in(DONE))
    own = select(intents.c.symbol).where(
        and_(intents.c.leg == "protect", intents.c.state.not_in(DONE))
    )
    return {*session.execute(theirs.union(own)).scalars()}


def find_intent(session: Session, name: str) -> Intent | None:
    """One order of ours."""
    row = session.execute(select(intents).where(intents.c.id == name)).first()
    return intent_of(row) if row else None


def find_order(session: Session, name: str) -> tuple[int, str] | None:
    """The entry that meant an order of ours last, and its content."""
    query = select(intents.c.seq, intents.c.body).where(intents.c.id == name)
    row = session.execute(query).first()
    return None if row is None else (row.seq, row.body)


def order_entries(session: Session) -> Iterable[tuple[str, int]]:
    """Every order of ours, and the entry that meant it last."""
    for row in session.execute(select(intents.c.id, intents.c.seq).order_by(intents.c.seq)):
        yield row.id, row.seq


def last_entry_of(session: Session, symbol: str) -> Order | None:
    """The last entry of a symbol of which anything was filled."""
    query = select(intents.c.body).where(
        and_(intents.c.symbol == symbol, intents.c.leg == "entry", intents.c.filled != 0)
    )
    text = session.execute(query.order_by(intents.c.seq.desc()).limit(1)).scalar()
    return None if text is None else loaded(Order, text)


def exits_of(session: Session, symbol: str) -> list[Intent]:
    """The exits of our own since the last entry of a symbol, oldest first."""
    last = select(func.max(intents.c.seq)).where(
        and_(intents.c.symbol == symbol, intents.c.leg == "entry")
    )
    query = select(intents).where(
        and_(
            intents.c.symbol == symbol,
            intents.c.leg.in_(("protect", "flatten")),
            intents.c.seq > last.scalar_subquery(),
        )
    )
    return [intent_of(row) for row in session.execute(query.order_by(intents.c.seq))]


def set_intent(session: Session, name: str, **changes: object) -> None:
    """Move an order to another state."""
    session.execute(update(intents).where(intents.c.id == name).values(**changes))


def leg_of(row: Any) -> Leg:
    """A row as a value."""
    return Leg(
        row.broker_id, row.intent, row.symbol, row.leg, row.quantity, row.state, row.filled,
        row.average,
    )  # fmt: skip


def keep_leg(session: Session, intent: str, leg: BrokerOrder) -> None:
    """Remember a guard when it is first seen."""
    row: dict[str, object] = {"broker_id": leg.id, "intent": intent, "symbol": leg.symbol}
    row |= {"leg": leg.leg, "quantity": leg.quantity, "price": leg.price}
    row |= {"state": OrderState.OPEN.value, "filled": 0.0, "average": 0.0}
    session.execute(upsert(legs).values(row).on_conflict_do_nothing())


def legs_of(session: Session, intent: str) -> list[Leg]:
    """Every guard an order of ours has had."""
    return [leg_of(row) for row in session.execute(select(legs).where(legs.c.intent == intent))]


def open_legs(session: Session, symbol: str | None = None) -> list[Leg]:
    """Guards that may still be filled."""
    query = select(legs).where(legs.c.state.not_in(DONE))
    query = query.where(legs.c.symbol == symbol) if symbol else query
    return [leg_of(row) for row in session.execute(query)]


def find_leg(session: Session, broker_id: str) -> Leg | None:
    """One guard, by the broker's id."""
    row = session.execute(select(legs).where(legs.c.broker_id == broker_id)).first()
    return leg_of(row) if row else None


def set_leg(session: Session, broker_id: str, **changes: object) -> None:
    """Move a guard to another state."""
    session.execute(update(legs).where(legs.c.broker_id == broker_id).values(**changes))


def add_fill(session: Session, broker_id: str, fill: Fill) -> None:
    """Write down a fill that no moment knows yet."""
    row: dict[str, object] = {"broker_id": broker_id, "at": fill.at, "body": canonical(fill)}
    session.execute(insert(fills).values(row))


def untold(session: Session) -> tuple[tuple[Fill, ...], tuple[str, ...], tuple[str, ...]]:
    """Fills, ended orders and orders never sent that no moment was told of."""
    query = select(fills.c.body).where(fills.c.told.is_(None)).order_by(fills.c.n)
    news = tuple(loaded(Fill, text) for text in session.execute(query).scalars())
    ended = select(intents.c.id, intents.c.state).where(
        and_(intents.c.told.is_(None), intents.c.state.in_(DONE))
    )
    rows = session.execute(ended.order_by(intents.c.seq, intents.c.id)).all()
    gone = tuple(row.id for row in rows if row.state != "unsent")
    return news, gone, tuple(row.id for row in rows if row.state == "unsent")


def read_fills(session: Session) -> Iterable[tuple[int | None, str]]:
    """Every fill in order: the moment that was told of it, if one was, and its content."""
    for row in session.execute(select(fills.c.told, fills.c.body).order_by(fills.c.n)):
        yield row.told, row.body


def tell(session: Session, seq: int, ended: Sequence[str]) -> None:
    """Mark as told what the moment of this entry was told."""
    session.execute(update(fills).where(fills.c.told.is_(None)).values(told=seq))
    session.execute(update(intents).where(intents.c.id.in_(ended)).values(told=seq))


# What subscribers must hear


def announce(session: Session, entry: Entry, kind: str, body: object) -> None:
    """Put a message into the outbox, in the transaction of what it is about."""
    text = canonical(body)
    row = {"seq": entry.seq, "kind": kind, "hash": digest((entry.id, kind, text)), "body": text}
    session.execute(insert(outbox).values(row))


def read_messages(session: Session) -> Iterable[tuple[int, str, str, str]]:
    """Every message in order: the entry it is about, kind, hash and content."""
    query = select(outbox.c.seq, outbox.c.kind, outbox.c.hash, outbox.c.body)
    for row in session.execute(query.order_by(outbox.c.seq, outbox.c.n)).yield_per(1000):
        if isinstance(row.seq, int):  # `furthest` tells of others
            yield row.seq, row.kind, row.hash, row.body


# Small facts


def keep_note(session: Session, name: str, body: Mapping[str, object]) -> None:
    """Write down a fact that may change."""
    row = {"name": name, "body": canonical(body)}
    session.execute(
        upsert(notes).values(row).on_conflict_do_update(index_elements=["name"], set_=row)
    )


def find_note(session: Session, name: str) -> Mapping[str, Any]:
    """A fact that may change; empty when it was never written. *Raises* `InvalidJournal`."""
    text = session.execute(select(notes.c.body).where(notes.c.name == name)).scalar()
    body: object = {} if text is None else loaded(dict, text)
    if not isinstance(body, dict):
        raise InvalidJournal(
            f"the note {name} must hold names and values, was {text!r}; "
            "restore the book from a backup"
        )
    return body


def keep_mark(session: Session, entry: Entry) -> None:
    """Write down up to which entry the journal was found whole."""
    keep_note(session, "verified", {"seq": entry.seq, "id": entry.id})


def find_mark(session: Session) -> Mapping[str, Any]:
    """What that wrote: `seq` and `id`; empty before. *Raises* `InvalidJournal`."""
    mark = find_note(session, "verified")
    seq, name = mark.get("seq"), mark.get("id")
    if mark and not (type(seq) is int and seq >= 0 and isinstance(name, str)):
        raise InvalidJournal(
            f"the note verified must name an entry by seq and id, was {dict(mark)}; "
            "restore the book from a backup"
        )
    return mark


def used(session: Session, source: str, day: date) -> tuple[int, float]:
    """Calls and US dollars a source has used on a day."""
    query = select(meters.c.calls, meters.c.usd).where(
        and_(meters.c.source == source, meters.c.day == day)
    )
    row = session.execute(query).first()
    return (row.calls, row.usd) if row else (0, 0.0)


def use(session: Session, source: str, day: date, calls: int, usd: float) -> None:
    """Add to what a source has used."""
    row: dict[str, object] = {"source": source, "day": day, "calls": calls, "usd": usd}
    more = {"calls": meters.c.calls + calls, "usd": meters.c.usd + usd}
    session.execute(
        upsert(meters)
        .values(row)
        .on_conflict_do_update(index_elements=["source", "day"], set_=more)
    )


def count(session: Session, table: Table) -> int:
    """Rows of a table."""
    return int(session.execute(select(func.count()).select_from(table)).scalar_one())
