"""Is Alpine well, and if not, why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from argo_alpine import __version__
from services.alpine import feed
from services.alpine.feed import SourceView
from services.alpine.routes import needs
from services.alpine.wiring import Alpine

router = APIRouter(tags=["health"])

SILENT = 24 * 3600.0  # seconds; over a night nothing need be said


@dataclass(frozen=True, slots=True)
class SourceState:
    """A book, and when it was heard of last."""

    epoch: str
    high: int
    sandbox: bool
    age_seconds: float | None


@dataclass(frozen=True, slots=True)
class HealthView:
    """How Alpine is doing; every reason why it is not ok is in `problems`."""

    status: str  # ok, degraded, down
    database: str  # sqlite or postgresql, or why it does not answer
    head: int | None
    sources: tuple[SourceState, ...]
    sockets: int
    version: str
    problems: tuple[str, ...]


@router.get("/health")
def get_health(response: Response, alpine: needs.Whole) -> HealthView:
    """How Alpine is doing; answered with 503 when it is down."""
    view = health(alpine)
    if view.status == "down":
        response.status_code = 503
    return view


@router.get("/metrics", response_class=Response)
def get_metrics(alpine: needs.Whole) -> Response:
    """Prometheus' text."""
    registry = CollectorRegistry()
    registry.register(Gathered(health(alpine)))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def health(alpine: Alpine) -> HealthView:
    """All that can be said."""
    kind, sockets = "sqlite" if alpine.database.is_sqlite else "postgresql", len(alpine.hub.clients)
    try:
        with alpine.database.sessions() as session:
            head, books = feed.head(session), feed.books(session)
    except SQLAlchemyError:
        problem = "the database does not answer"
        return HealthView("down", problem, None, (), sockets, __version__, (problem,))
    sources = tuple(state(book, alpine.clock.wall()) for book in books)
    problems = tuple(doubts(alpine, head, sources))
    status = "degraded" if problems else "ok"
    return HealthView(status, kind, head, sources, sockets, __version__, problems)


def state(book: SourceView, now: datetime) -> SourceState:
    """As a value."""
    age = None if book.last is None else max(0.0, (now - book.last).total_seconds())
    return SourceState(book.epoch, book.high, book.sandbox, age)


def doubts(alpine: Alpine, head: int, sources: Sequence[SourceState]) -> Iterator[str]:
    """What is not as it should be."""
    if not sources:
        yield "nothing was heard of Argo yet"
    ages = [source.age_seconds for source in sources if source.age_seconds is not None]
    if ages and min(ages) > SILENT:
        yield f"nothing was heard of Argo for {min(ages) / 3600:.0f} hours"
    if not alpine.worker.thread.is_alive():
        yield "backtests are not worked on"
    if any(task.done() for task in alpine.hub.tasks):
        yield "the live feed has stopped"


@dataclass(frozen=True, slots=True, eq=False)
class Gathered(Collector):
    """Everything that can be counted, at one instant."""

    view: HealthView

    def describe(self) -> Sequence[Metric]:
        """Nothing in advance: a registry would gather once just to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All of it."""
        view = self.view
        up = float(view.status != "down")
        yield GaugeMetricFamily("alpine_up", "1 unless /health says down.", value=up)
        yield GaugeMetricFamily("alpine_sockets", "Sockets that listen.", value=view.sockets)
        if view.head is not None:
            yield CounterMetricFamily("alpine_feed", "Number of the last delivery.", view.head)
        age = GaugeMetricFamily(
            "alpine_source_age_seconds", "Since a book was heard of.", labels=["epoch"]
        )
        for source in view.sources:
            if source.age_seconds is not None:
                age.add_metric([source.epoch[:12]], source.age_seconds)
        yield age
