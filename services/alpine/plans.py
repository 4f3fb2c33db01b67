"""What each plan may see: one condition, asked by every route and every push."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, func, select

from services.alpine.store import utc_day
from services.alpine.tables import signals


@dataclass(frozen=True, slots=True)
class Plan:
    """What is bought."""

    name: str
    symbols: tuple[str, ...] | None = None  # None: all
    delay_seconds: int = 0  # of wall time, from when we heard of it
    per_day: int | None = None  # of the symbols above, by UTC date; None: all
    push: bool = True  # over the WebSocket

    def until(self, now: datetime) -> datetime:
        """What we heard of later is not shown yet."""
        return now - timedelta(seconds=self.delay_seconds)


def plans_of(symbols: Sequence[str]) -> dict[str, Plan]:
    """The plans, where these symbols are watched."""
    found = (
        Plan("free", delay_seconds=86_400, push=False),
        Plan("starter", symbols=tuple(symbols[:2]), per_day=10),
        Plan("pro"),
        Plan("elite"),
    )
    return {plan.name: plan for plan in found}


def allowed(plan: Plan, now: datetime) -> ColumnElement[bool]:
    """Whether a row of `signals` may be shown."""
    said = signals.c.received_at <= plan.until(now)
    if plan.symbols is not None:
        said &= signals.c.symbol.in_(plan.symbols)
    if plan.per_day is not None:
        said &= signals.c.id.in_(first_of_day(plan, plan.per_day))
    return said


def first_of_day(plan: Plan, count: int) -> Select[tuple[str]]:
    """The first signals of each day: which they are depends on nobody's questions."""
    rank = func.row_number().over(
        partition_by=(signals.c.sandbox, utc_day(signals.c.received_at)), order_by=signals.c.feed
    )
    ranked = select(signals.c.id, rank.label("rank"))
    if plan.symbols is not None:
        ranked = ranked.where(signals.c.symbol.in_(plan.symbols))
    numbered = ranked.subquery()
    return select(numbered.c.id).where(numbered.c.rank <= count)
