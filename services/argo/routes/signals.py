"""Signals Argo has made, newest first."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, status

from services.argo import record_views, signal_views
from services.argo.record_views import WinRate
from services.argo.routes import needs
from services.argo.signal_views import SignalStats, SignalView
from services.common.db import Db

router = APIRouter(prefix="/api", tags=["signals"], route_class=needs.Guarded)


@router.get("/signals/latest")
def latest(
    db: Db,
    engine: needs.Argo,
    sandbox: needs.IsSandbox,
    limit: needs.Limit = 50,
    symbol: needs.Symbol = None,
) -> Sequence[SignalView]:
    """The latest signals: who voted how, and what became of them."""
    weights, now = engine.plan.policy.consensus.weights, engine.status.at
    return signal_views.recent_signals(
        db, weights, now, limit=limit, symbol=symbol, sandbox=sandbox
    )


@router.get("/signals/stats")
def stats(db: Db, engine: needs.Argo) -> SignalStats:
    """How many signals there are, and of which kinds."""
    return signal_views.stats(db, engine.status.at)


@router.get("/signals/{name}")
def one(
    db: Db,
    engine: needs.Argo,
    sandbox: needs.IsSandbox,
    name: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")],
) -> SignalView:
    """One signal, by the id that appears in every order and log line it caused."""
    weights, now = engine.plan.policy.consensus.weights, engine.status.at
    found = signal_views.find_signal(db, name, weights, now, sandbox)
    if found is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"no signal {name}")
    return found


@router.get("/performance/win-rate")
def win_rate(db: Db) -> WinRate:
    """The share of trades that won, with its interval; below 30 trades a count and no rate."""
    return record_views.wins(db)
