"""How the signals have done."""

from fastapi import APIRouter

from services.alpine import performance as view
from services.alpine.performance import PerformanceView
from services.alpine.routes import needs
from services.common.db import Db

router = APIRouter(prefix="/api", tags=["performance"])


@router.get("/performance")
def performance(
    db: Db, alpine: needs.Whole, plan: needs.CurrentPlan, now: needs.Now
) -> PerformanceView:
    """The curve and the trades of the current book."""
    return view.performance(db, alpine.curves, plan, now)
