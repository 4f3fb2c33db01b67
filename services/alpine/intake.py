"""What Argo sends, checked to the last byte before any of it is kept."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import insert, or_, select, update
from sqlalchemy.orm import Session

from argo_alpine.domain import Fill, Invalid, Refused, Signal, Trade
from argo_alpine.records import canonical, digest
from argo_alpine.records import parsed as parsed_value
from services.alpine.store import in_order
from services.alpine.tables import feed, signals, sources

MOST = 100  # messages
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[int, Field(ge=0, lt=2**63)]


class RefusedBatch(Refused):
    """A batch that is not what Argo would have sent."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What the account was worth."""

    at: datetime
    equity: float
    cash: float


KINDS: Mapping[str, Any] = {"signal": Signal, "fill": Fill, "trade": Trade, "equity": Mark}


class Strict(BaseModel):
    """Nothing but what is named, of exactly these types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Message(Strict):
    """A row of Argo's outbox."""

    n: Annotated[int, Field(ge=1, lt=2**63)]
    seq: Number  # of the journal
    entry: Digest  # its id
    kind: str
    hash: Digest
    body: str  # canonical JSON


class Batch(Strict):
    """Some rows, in order, and of which book."""

    epoch: Digest
    sandbox: bool
    start: Annotated[int, Field(ge=1, lt=2**63, alias="from")]
    messages: Annotated[tuple[Message, ...], Field(max_length=MOST, strict=False)]


@dataclass(frozen=True, slots=True)
class Taken:
    """How far the book has come, or why it has not."""

    high: int
    expected: int | None = None  # there is a gap: go back to this number
    conflict: int | None = None  # this number was another message


def batch_of(body: bytes) -> Batch:
    """A batch in which every message is what it claims. *Raises* `RefusedBatch`."""
    try:
        batch = Batch.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))[:60]
        raise RefusedBatch(f"{place}: {first['msg']}") from None
    for n, message in enumerate(batch.messages, batch.start):
        if message.n != n:
            raise RefusedBatch(f"message {message.n} stands where {n} belongs")
        check(message)
    return batch


def check(message: Message) -> None:
    """*Raises* `RefusedBatch` unless the message is what its hash and its kind say."""
    if message.kind not in KINDS:
        raise RefusedBatch(f"message {message.n}: kind {message.kind[:16]!r} is unknown")
    text = message.body
    try:
        if digest((message.entry, message.kind, text)) != message.hash:
            raise RefusedBatch(f"message {message.n} is not what its hash says")
        value = value_of(message.kind, text)
        is_ours = is_sound(value) and canonical(value) == text and "\\u0000" not in text
    except (Invalid, ArithmeticError, LookupError, TypeError, ValueError, RecursionError):
        is_ours = False
    if not is_ours:
        raise RefusedBatch(f"message {message.n} is not a {message.kind} as we write it")


def value_of(kind: str, body: str) -> Any:
    """The value in a message. *Raises* `Invalid`, `ValueError`."""
    return parsed_value(KINDS[kind], json.loads(body))


def is_sound(value: Any) -> bool:
    """Whether texts are texts and numbers are finite, however deep."""
    if is_dataclass(value):
        named = all(
            isinstance(getattr(value, name), str)
            and re.fullmatch(pattern, getattr(value, name), re.ASCII)
            for name, pattern in (("symbol", r"[A-Z][A-Z.]{0,7}"), ("source", r"[a-z_]{1,32}"))
            if hasattr(value, name)
        )
        whole = not isinstance(value, Signal) or is_signal(value)
        parts = (getattr(value, f.name) for f in fields(value) if not is_unlimited(value, f.name))
        return named and whole and all(map(is_sound, parts))
    if isinstance(value, tuple):
        return all(map(is_sound, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int | datetime)


def is_unlimited(value: Any, name: str) -> bool:
    """Whether this is the limit of an entry at the market, which has none."""
    return isinstance(value, Signal) and name == "limit" and math.isnan(value.limit)


def is_signal(value: Signal) -> bool:
    """Whether its id and its confidence can be."""
    is_named = isinstance(value.id, str) and re.fullmatch(r"[0-9a-f]{64}", value.id) is not None
    return is_named and 0 <= value.confidence <= 100 and value.direction != 0


def take(session: Session, batch: Batch, now: datetime) -> Taken:
    """Keep what is new, all of it or nothing; what is known already is passed over."""
    in_order(session)
    source = session.execute(select(sources).where(sources.c.epoch == batch.epoch)).first()
    high = 0 if source is None else source.high
    if source is not None and source.sandbox != batch.sandbox:
        return Taken(high, conflict=batch.start)
    if (clash := conflict(session, batch, high)) is not None:
        return Taken(high, conflict=clash)
    if batch.messages and batch.start > high + 1:
        return Taken(high, expected=high + 1)
    fresh = [message for message in batch.messages if message.n > high]
    if not fresh:
        return Taken(high)
    if source is None:
        row = {"epoch": batch.epoch, "high": 0, "sandbox": batch.sandbox, "created_at": now}
        session.execute(insert(sources).values(row))
    for message in fresh:
        keep(session, batch, message, now)
    last = fresh[-1].n
    session.execute(update(sources).where(sources.c.epoch == batch.epoch).values(high=last))
    return Taken(last)


def conflict(session: Session, batch: Batch, high: int) -> int | None:
    """The first message that is known otherwise."""
    names = [message.hash for message in batch.messages]
    same = (feed.c.epoch == batch.epoch) & feed.c.n.in_([m.n for m in batch.messages])
    found = select(feed.c.epoch, feed.c.n, feed.c.hash).where(or_(same, feed.c.hash.in_(names)))
    rows = session.execute(found).all()
    by_number = {row.n: row.hash for row in rows if row.epoch == batch.epoch}
    by_hash = {row.hash: (row.epoch, row.n) for row in rows}
    for message in batch.messages:
        is_other = by_number.get(message.n, message.hash) != message.hash
        place = (batch.epoch, message.n)
        if is_other or by_hash.get(message.hash, place) != place:
            return message.n
    twice = len(set(names)) < len(names)
    return batch.start if twice else None


def keep(session: Session, batch: Batch, message: Message, now: datetime) -> None:
    """Append a message to the delivery log."""
    row = message.model_dump() | {"epoch": batch.epoch, "received_at": now}
    number = session.execute(insert(feed).values(row).returning(feed.c.id)).scalar_one()
    if message.kind == "signal":
        keep_signal(session, value_of("signal", message.body), number, batch.sandbox, now)


def keep_signal(
    session: Session, signal: Signal, number: int, sandbox: bool, now: datetime
) -> None:
    """A signal is itself once; a sandbox that begins anew makes its own again."""
    values = {
        "feed": number,
        "symbol": signal.symbol,
        "direction": signal.direction.name,
        "confidence": signal.confidence,
        "at": signal.at,
        "received_at": now,
        "sandbox": sandbox,
    }
    before = session.execute(select(signals.c.sandbox).where(signals.c.id == signal.id)).scalar()
    if before is None:
        session.execute(insert(signals).values(values | {"id": signal.id}))
    elif before and sandbox:
        session.execute(update(signals).where(signals.c.id == signal.id).values(values))
