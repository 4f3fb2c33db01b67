"""What the API tells of votes, decisions and the journal: read from the book, as plain values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import Table, func, select
from sqlalchemy.orm import Session

from argo_alpine.domain import Consensus, Direction, InvalidJournal, Vote
from argo_alpine.records import parsed
from argo_alpine.votes import SOURCES
from services.argo import store, tables, words
from services.argo.wire import loaded

Weights: TypeAlias = Mapping[str, int]  # source -> basis points


@dataclass(frozen=True, slots=True)
class VoteView:
    """What one source said of one symbol, or that it said nothing."""

    source: str
    symbol: str
    weight: float  # 0..1
    abstained: bool
    direction: str
    confidence: float | None  # percent; None: nothing was heard
    why: str
    at: datetime | None
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class ConsensusView:
    """What the sources said together."""

    direction: str
    confidence: float  # percent
    turnout: float  # share of the weight that spoke, 0..1
    votes: tuple[VoteView, ...]  # one of every source


@dataclass(frozen=True, slots=True)
class ReasonView:
    """A reason, for programs and for people."""

    code: str
    words: str


@dataclass(frozen=True, slots=True)
class DecisionView:
    """What became of one symbol at one moment."""

    seq: int  # of the journal's entry
    at: datetime
    symbol: str
    why: str
    words: str
    signal: str | None  # the id of the signal it made, or is about
    consensus: ConsensusView | None  # None: no bar was decided, a waiting signal was pursued
    reasons: tuple[ReasonView, ...]  # of a refusal, the first one blocked


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far the journal goes."""

    seq: int | None  # None: nothing is written yet
    id: str | None
    count: int
    at: datetime | None


def number(value: float | None) -> float | None:
    """A number as JSON has it; there is none for what is not known."""
    return value if value is not None and math.isfinite(value) else None


def value_of(kind: Any, text: str) -> Any:
    """The value in a row. *Raises* `InvalidJournal` when there is none."""
    try:
        return loaded(kind, text)
    except ValueError as error:
        raise InvalidJournal("a row of the book is not JSON: restore it from a backup") from error


def inside(table: Table, path: str) -> Any:
    """A value inside a row's JSON, for a query."""
    return func.json_extract(table.c.body, f"$.{path}")


def vote_view(vote: Vote, weight: int) -> VoteView:
    """A vote that was cast."""
    abstains = vote.direction == Direction.NEUTRAL
    why = vote.why or ("its score is too close to zero" if abstains else "")
    return VoteView(
        vote.source, vote.symbol, weight / 10_000, abstains, vote.direction.name,
        vote.confidence, why, vote.at, vote.expires,
    )  # fmt: skip


def silence(source: str, symbol: str, weight: int) -> VoteView:
    """A source of which nothing was heard."""
    name, why = Direction.NEUTRAL.name, "nothing was heard"
    return VoteView(source, symbol, weight / 10_000, True, name, None, why, None, None)


def votes_view(votes: Sequence[Vote], symbol: str, weights: Weights) -> tuple[VoteView, ...]:
    """A vote of every source, those that were silent included."""
    heard = {vote.source: vote for vote in votes}
    return tuple(
        vote_view(heard[name], weights.get(name, 0))
        if name in heard
        else silence(name, symbol, weights.get(name, 0))
        for name in SOURCES
    )


def consensus_view(seen: Consensus, symbol: str, weights: Weights) -> ConsensusView:
    """A consensus with all that went into it."""
    votes = votes_view(seen.votes, symbol, weights)
    return ConsensusView(seen.direction.name, seen.confidence, seen.turnout, votes)


# Decisions


def recent_decisions(
    session: Session,
    weights: Weights,
    *,
    limit: int,  # an entry is never torn: the last one may bring a few more
    symbol: str | None = None,
    before: int | None = None,  # entries with a smaller number only
) -> tuple[DecisionView, ...]:
    """What became of each symbol, newest first."""
    query = whole_entries(tables.decisions, limit, symbol, before)
    rows = session.execute(query.order_by(tables.decisions.c.symbol)).all()
    return tuple(decision_view(session, row, weights) for row in rows)


def whole_entries(table: Table, limit: int, symbol: str | None, before: int | None) -> Any:
    """Rows of the newest entries, down to the entry of the row number `limit`."""
    numbers = select(table.c.seq).order_by(table.c.seq.desc())
    query = select(table).order_by(table.c.seq.desc())
    if symbol is not None:
        numbers, query = (q.where(table.c.symbol == symbol) for q in (numbers, query))
    if before is not None:
        numbers, query = (q.where(table.c.seq < before) for q in (numbers, query))
    page = numbers.limit(limit).subquery()
    return query.where(table.c.seq >= select(func.min(page.c.seq)).scalar_subquery())


def decision_view(session: Session, row: Any, weights: Weights) -> DecisionView:
    """A row as a value."""
    body = value_of(dict, row.body)
    thought = body["consensus"]
    view = consensus_view(parsed(Consensus, thought), row.symbol, weights) if thought else None
    about = body["signal"] or (None if thought else signal_before(session, row.symbol, row.seq))
    reasons = tuple(ReasonView(code, words.why(code)) for code in body["reasons"])
    return DecisionView(
        row.seq, row.at, row.symbol, row.why, words.why(row.why), about, view, reasons
    )


def signal_before(session: Session, symbol: str, seq: int) -> str | None:
    """The last signal of a symbol before an entry."""
    made = tables.signals.c
    query = select(made.id).where(made.symbol == symbol, made.seq < seq)
    name: str | None = session.execute(query.order_by(made.seq.desc()).limit(1)).scalar()
    return name


# The journal


def checkpoint(session: Session) -> Checkpoint:
    """The head of the journal."""
    head = store.last_entry(session)
    if head is None:
        return Checkpoint(None, None, 0, None)
    return Checkpoint(head.seq, head.id, store.count(session, tables.entries), head.at)
