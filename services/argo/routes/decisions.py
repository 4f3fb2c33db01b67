"""What became of each symbol at each moment, and why not."""

from collections.abc import Sequence

from fastapi import APIRouter

from services.argo import views
from services.argo.routes import needs
from services.argo.views import DecisionView
from services.common.db import Db

router = APIRouter(prefix="/api", tags=["decisions"], route_class=needs.Guarded)


@router.get("/decisions")
def list_decisions(
    db: Db,
    engine: needs.Argo,
    limit: needs.Limit = 50,
    symbol: needs.Symbol = None,
    before: needs.Cursor = None,
) -> Sequence[DecisionView]:
    """Decisions, newest first; for the next page give the last `seq` as `before`.

    An entry of the journal is never torn, so a page may hold a few more than `limit`.
    """
    weights = engine.plan.policy.consensus.weights
    return views.recent_decisions(db, weights, limit=limit, symbol=symbol, before=before)
