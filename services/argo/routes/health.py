"""Is Argo well, and if not, why: the one page that must never flatter."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Response, status
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from argo_alpine.moments import Mode
from argo_alpine.sessions import session_at
from argo_alpine.votes import SOURCES
from services.argo import store, words
from services.argo.cycle import Engine, Status
from services.argo.journal import build
from services.argo.ports import SourceHealth
from services.argo.relay import RelayHealth
from services.argo.routes import needs
from services.argo.views import number
from services.common.db import Db

router = APIRouter(tags=["health"], route_class=needs.Guarded)

HUNG = 30.0  # seconds without a cycle


@dataclass(frozen=True, slots=True)
class SourceState:
    """How one source is doing."""

    name: str
    enabled: bool
    state: str  # ok, waiting, failing, open, spent, off
    failures: int  # in a row
    error: str
    last_success: datetime | None  # wall time
    retry_at: datetime | None  # wall time
    calls: int  # of the day
    usd: float  # of the day
    extra: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class HealthView:
    """How Argo is doing; every reason why it is not ok is in `problems`."""

    status: str  # ok, degraded, down
    problems: tuple[str, ...]
    state: str  # of the engine: starting, running, waiting, failed, stopped
    sandbox: bool
    mode: str | None  # ACTIVE, REDUCING, HALTED; None: the book is not open yet
    latched: bool | None
    reconciled: bool
    frozen: Mapping[str, str]
    auto_execute: bool
    at: datetime | None  # market time
    is_open: bool | None  # the exchange
    cycled_at: datetime | None  # wall time
    age_seconds: float | None  # since then
    cycles: int
    cycle_ms: float | None
    sources: tuple[SourceState, ...]
    sources_ok: int
    sources_enabled: int
    turnout: Mapping[str, float]  # share of the weight that has an opinion now, 0..1
    head_seq: int | None
    head_id: str | None
    version: str  # of the policy
    build: str  # of the code that decides
    book: str


@router.get("/health")
def get_health(
    response: Response,
    db: Db,
    engine: needs.Argo,
    seen: needs.Health,
    keyless: needs.Keyless,
    sandbox: needs.IsSandbox,
    relay: needs.Telling,
) -> HealthView:
    """How Argo is doing; answered with 503 when it is down."""
    sources = states(engine, seen, keyless)
    view = health(engine, sources, sandbox, book_problem(db), relay)
    if view.status == "down":
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    return view


def book_problem(session: Session) -> str:
    """Why the book cannot be read; empty when it can."""
    try:
        store.last_entry(session)
    except DatabaseError:
        return "the book cannot be read"
    return ""


def health(
    engine: Engine,
    sources: Sequence[SourceState],
    sandbox: bool,
    broken: str = "",
    relay: RelayHealth | None = None,  # None: nobody is told
) -> HealthView:
    """How Argo is doing."""
    now, wall = engine.status, engine.clock.wall()
    age = (wall - now.cycled_at).total_seconds() if now.cycled_at else None
    grave = [broken] if broken else []
    grave += [*engine_down(now, age), *broker_down(now), *sources_down(sources)]
    minor = [*worries(engine, now), *quiet(sources), *unpriced(engine, now), *untold(relay)]
    session = session_at(now.at) if now.at else None
    book = now.book
    return HealthView(
        status="down" if grave else "degraded" if minor else "ok",
        problems=(*grave, *minor),
        state=now.state,
        sandbox=sandbox,
        mode=Mode(book.mode).name if book else None,
        latched=book.latched if book else None,
        reconciled=now.reconciled,
        frozen=dict(now.frozen),
        auto_execute=engine.desk.rules.auto_execute,
        at=now.at,
        is_open=None if now.at is None else session is not None and session.open <= now.at,
        cycled_at=now.cycled_at,
        age_seconds=age,
        cycles=now.cycles,
        cycle_ms=number(now.cycle_ms),
        sources=tuple(sources),
        sources_ok=sum(source.enabled and source.state == "ok" for source in sources),
        sources_enabled=sum(source.enabled for source in sources),
        turnout={symbol: seen.turnout for symbol, seen in now.opinions.items()},
        head_seq=now.head.seq if now.head else None,
        head_id=now.head.id if now.head else None,
        version=engine.plan.policy.version,
        build=build(),
        book=engine.plan.book,
    )


def states(
    engine: Engine, seen: Sequence[SourceHealth], keyless: Sequence[str] = ()
) -> tuple[SourceState, ...]:
    """Every source in the order of the policy, those switched off included."""
    known = {health.name: health for health in seen}
    on = {*engine.plan.sources, *keyless}
    return tuple(
        state_of(known.get(name) or absent(name, name in on, name in keyless), name in on)
        for name in SOURCES
    )


def absent(name: str, enabled: bool, keyless: bool) -> SourceHealth:
    """What stands for a source that nobody fetches from."""
    if not enabled:
        return SourceHealth(name, "off")
    why = "it has no key: set one, or switch the source off" if keyless else "nobody asks it"
    return SourceHealth(name, "failing", error=why)


def state_of(health: SourceHealth, enabled: bool) -> SourceState:
    """A source's health as the API tells it."""
    extra = {name: v for name, value in health.extra.items() if (v := number(value)) is not None}
    return SourceState(
        health.name, enabled, health.state if enabled else "off", health.failures, health.error,
        health.last_success, health.retry_at, health.calls, health.usd, extra,
    )  # fmt: skip


# What is wrong


def engine_down(now: Status, age: float | None) -> Iterator[str]:
    """Reasons why nothing is decided."""
    if now.state in ("failed", "stopped"):
        yield f"the engine has {now.state}" + (f": {now.error}" if now.error else "")
    elif age is None:
        yield "the engine has not finished a cycle yet"
    elif age > HUNG:
        yield f"the engine hangs: its last cycle was {age:.0f} s ago"


def broker_down(now: Status) -> Iterator[str]:
    """Reasons why nothing can be traded."""
    if now.cycled_at and not now.reconciled and (now.account is None or now.state == "waiting"):
        yield "the broker does not answer, and our book is not compared with its"


def sources_down(sources: Sequence[SourceState]) -> Iterator[str]:
    """Reasons why nothing is known."""
    if not any(source.enabled for source in sources):
        yield "no source is switched on"
    elif not any(source.enabled and source.state == "ok" for source in sources):
        yield "no source answers"


def worries(engine: Engine, now: Status) -> Iterator[str]:
    """What an operator should know about the engine, the account and the book."""
    if now.state == "waiting" and now.error:
        yield f"the engine waits: {now.error}"
    if now.cycled_at and not now.reconciled:
        yield "our book is not compared with the broker's: nothing is entered"
    elif now.cycled_at and now.account is None:
        yield "the broker does not say what the account holds: nothing is entered"
    yield from (f"{symbol} is frozen: {why}" for symbol, why in sorted(now.frozen.items()))
    if now.account is not None and not now.account.active:
        blocks = ", ".join(now.account.blocks) or "no reason is given"
        yield f"the account is blocked: {blocks}"
    if now.book is not None and now.book.latched:
        yield "the kill latch is set: nothing is entered until an operator resumes"
    if now.book is not None and now.book.mode != Mode.ACTIVE:
        yield f"the book is {Mode(now.book.mode).name}: no new positions"
    if now.at is not None and session_at(now.at) is None:
        yield "the calendar of the exchange has ended: nothing can be decided"


def untold(relay: RelayHealth | None) -> Iterator[str]:
    """Why subscribers do not hear of it."""
    if relay is not None and relay.state in ("failing", "stopped"):
        yield f"Alpine is not told what happens: {relay.error}"


def quiet(sources: Sequence[SourceState]) -> Iterator[str]:
    """Sources that should speak and do not."""
    for source in sources:
        if source.enabled and source.state != "ok":
            said = words.SOURCES.get(source.state, source.state)
            yield f"{source.name} {said}" + (f": {source.error}" if source.error else "")


def unpriced(engine: Engine, now: Status) -> Iterator[str]:
    """Symbols that could not be entered for want of a price, while the exchange is open."""
    session = session_at(now.at) if now.at else None
    if now.at is None or session is None or not session.open <= now.at:
        return
    quotes = {quote.symbol: quote for quote in engine.board.latest()[0]}
    limit = engine.plan.policy.risk.price_age
    for symbol in engine.plan.symbols:
        quote = quotes.get(symbol)
        age = None if quote is None else (now.at - quote.at).total_seconds()
        if age is None:
            yield f"{symbol}: no_price: massive has given no quote"
        elif age > limit:
            yield f"{symbol}: no_price: massive's last quote is {age:.0f} s old"
