"""What each source says now, and how it is doing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter

from argo_alpine.domain import Reading
from argo_alpine.votes import heard
from services.argo.cycle import Engine
from services.argo.routes import needs
from services.argo.routes.health import SourceState, states
from services.argo.views import VoteView, silence, vote_view

router = APIRouter(prefix="/api", tags=["sources"], route_class=needs.Guarded)


@dataclass(frozen=True, slots=True)
class SourceView:
    """A source, and its vote on every symbol as of the last cycle."""

    name: str
    enabled: bool
    weight: float  # 0..1
    health: SourceState
    at: datetime | None  # market time of the votes; None: no cycle yet, so no votes
    votes: tuple[VoteView, ...]


@router.get("/sources")
def list_sources(
    engine: needs.Argo, seen: needs.Health, keyless: needs.Keyless
) -> Sequence[SourceView]:
    """Every source, those switched off included."""
    readings, weights = latest(engine), engine.plan.policy.consensus.weights
    at = engine.status.at
    return [
        SourceView(
            state.name, state.enabled, weights[state.name] / 10_000, state, at,
            votes(engine, state.name, readings, at),
        )
        for state in states(engine, seen, keyless)
    ]  # fmt: skip


def latest(engine: Engine) -> Mapping[tuple[str, str], Reading]:
    """The last reading of every source and symbol."""
    own = [r for symbol in engine.plan.symbols if (r := engine.tape.reading(symbol))]
    return {(r.source, r.symbol): r for r in (*own, *engine.board.latest()[1])}


def votes(
    engine: Engine,
    source: str,
    readings: Mapping[tuple[str, str], Reading],
    at: datetime | None,
) -> tuple[VoteView, ...]:
    """What a source says of every symbol; nothing before the first cycle."""
    if at is None:
        return ()
    policy = engine.plan.policy
    weight = policy.consensus.weights[source]
    cast = []
    for symbol in engine.plan.symbols:
        reading = readings.get((source, symbol))
        if reading is None:
            cast.append(silence(source, symbol, weight))
        else:  # one that came after the cycle is heard as of its own time
            cast.append(vote_view(heard(reading, policy.votes, max(at, reading.at)), weight))
    return tuple(cast)
