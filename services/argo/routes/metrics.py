"""Argo in numbers, for Prometheus; gathered anew at every scrape, nothing is kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.argo import store, tables
from services.argo.cycle import Engine
from services.argo.routes import needs
from services.argo.routes.health import (
    HealthView,
    SourceState,
    book_problem,
    health,
    states,
)
from services.common.db import Db

router = APIRouter(tags=["health"], route_class=needs.Guarded)


@router.get("/metrics", response_class=Response)
def get_metrics(
    db: Db,
    engine: needs.Argo,
    seen: needs.Health,
    keyless: needs.Keyless,
    sandbox: needs.IsSandbox,
) -> Response:
    """Prometheus' text; what is not known is left out, never zero."""
    registry = CollectorRegistry()
    registry.register(Gathered(engine, states(engine, seen, keyless), sandbox, db))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


@dataclass(frozen=True, slots=True, eq=False)
class Gathered(Collector):
    """Everything that can be counted, at one instant."""

    engine: Engine
    sources: Sequence[SourceState]
    sandbox: bool
    session: Session

    def describe(self) -> Sequence[Metric]:
        """Nothing in advance: a registry would gather once just to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All of it; without a book, what the engine says of itself."""
        broken = book_problem(self.session)
        view = health(self.engine, self.sources, self.sandbox, broken)
        yield from of_engine(view)
        yield from of_sources(view)
        yield from of_account(self.engine)
        if not broken:
            yield from of_book(self.session)


def gauge(name: str, what: str, value: float | None) -> Iterator[Metric]:
    """A number, if it is known."""
    if value is not None:
        yield GaugeMetricFamily(name, what, value=value)


def of_engine(view: HealthView) -> Iterator[Metric]:
    """The cycle."""
    yield CounterMetricFamily("argo_cycles", "Cycles since the start.", value=view.cycles)
    seconds = None if view.cycle_ms is None else view.cycle_ms / 1000
    yield from gauge("argo_cycle_seconds", "Length of the last cycle.", seconds)
    yield from gauge("argo_up", "1 unless /health says down.", float(view.status != "down"))
    yield from gauge("argo_reconciled", "1 when both books agree.", float(view.reconciled))
    yield from gauge("argo_heartbeat_age_seconds", "Since the last cycle.", view.age_seconds)


def of_sources(view: HealthView) -> Iterator[Metric]:
    """The sources that are switched on, and what they have to say."""
    well = GaugeMetricFamily("argo_source_ok", "1 when the source answers.", labels=["source"])
    failures = GaugeMetricFamily("argo_source_failures", "Failures in a row.", labels=["source"])
    turnout = GaugeMetricFamily(
        "argo_turnout", "Share of the weight with an opinion.", labels=["symbol"]
    )
    for source in (source for source in view.sources if source.enabled):
        well.add_metric([source.name], float(source.state == "ok"))
        failures.add_metric([source.name], source.failures)
    for symbol, share in view.turnout.items():
        turnout.add_metric([symbol], share)
    yield from (well, failures, turnout)


def of_account(engine: Engine) -> Iterator[Metric]:
    """What the account is worth, when the broker says so."""
    account = engine.status.account
    worth = account.equity if account is not None else None
    yield from gauge("argo_equity", "Equity, account currency.", worth)


def of_book(session: Session) -> Iterator[Metric]:
    """What the book counts. *Raises* `DatabaseError`."""
    signals, trades = store.count(session, tables.signals), store.count(session, tables.trades)
    yield CounterMetricFamily("argo_signals", "Signals of this book.", value=signals)
    yield CounterMetricFamily("argo_trades", "Round trips of this book.", value=trades)
    orders = GaugeMetricFamily("argo_orders_total", "Orders, by where they are.", labels=["state"])
    by_state = select(tables.intents.c.state, func.count()).group_by(tables.intents.c.state)
    for state, count in session.execute(by_state.order_by(tables.intents.c.state)):
        orders.add_metric([state], count)
    yield orders
    waiting = select(func.count()).where(tables.outbox.c.sent_at.is_(None))
    count = session.execute(waiting.select_from(tables.outbox)).scalar_one()
    yield from gauge("argo_outbox_waiting", "Messages subscribers have not heard.", count)
    head = session.execute(select(func.max(tables.entries.c.seq))).scalar()
    yield from gauge("argo_journal_seq", "Number of the journal's last entry.", head)
