"""How the current book has done: one curve, and trades with an honest rate."""

from dataclasses import dataclass
from datetime import datetime
from threading import Lock

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from argo_alpine.metrics import win_rate
from argo_alpine.shares import FLOOR
from services.alpine.feed import current, value_of
from services.alpine.plans import Plan
from services.alpine.tables import feed


@dataclass(frozen=True, slots=True)
class Point:
    """What the account was worth."""

    at: datetime  # market time
    equity: float


@dataclass(frozen=True, slots=True)
class TradesView:
    """How many trades won, with the 95 % interval once there are enough."""

    n: int
    wins: int
    rate: float | None  # 0..1
    low: float | None
    high: float | None
    why_not: str  # why there is no rate; empty when there is one
    pnl: float  # account currency, after fees


@dataclass(frozen=True, slots=True)
class PerformanceView:
    """Traded with play money, never mixed with a backtest."""

    sandbox: bool
    kind: str
    equity: tuple[Point, ...]  # the first, and the last of each day
    trades: TradesView
    drawdown_pct: float | None  # deepest below the highest point before it; 0..100
    since: datetime | None


class Curves:
    """Curves read so far: a message is parsed once, and the last of a day stands for it."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.epoch, self.read = "", 0
        self.days: dict[tuple[str, str], tuple[datetime, Point]] = {}

    def points(self, session: Session, epoch: str, until: datetime) -> tuple[Point, ...]:
        """The points that were heard of until then."""
        with self.lock:
            self.catch_up(session, epoch)
            heard = [point for at, point in self.days.values() if at <= until]
        return tuple(sorted(heard, key=lambda point: point.at))

    def catch_up(self, session: Session, epoch: str) -> None:
        """Read what came since."""
        if epoch != self.epoch:
            self.epoch, self.read, self.days = epoch, 0, {}
        query = select(feed.c.id, feed.c.body, feed.c.received_at).where(
            feed.c.kind == "equity", feed.c.epoch == epoch, feed.c.id > self.read
        )
        for row in session.execute(query.order_by(feed.c.id)):
            mark = value_of("equity", row.body)
            heard, point = row.received_at, Point(mark.at, mark.equity)
            self.days.setdefault(("", ""), (heard, point))
            # a day that was heard of on two days stays two: the first may be shown earlier
            self.days[f"{mark.at:%Y-%m-%d}", f"{heard:%Y-%m-%d}"] = heard, point
            self.read = row.id


def performance(session: Session, curves: Curves, plan: Plan, now: datetime) -> PerformanceView:
    """As far as the plan may know."""
    source, until = current(session), plan.until(now)
    if source is None:
        return PerformanceView(False, "paper", (), trades_view([]), None, None)
    points = curves.points(session, source.epoch, until)
    query = select(feed.c.body).where(
        feed.c.kind == "trade", feed.c.epoch == source.epoch, feed.c.received_at <= until
    )
    if plan.symbols is None:
        seen = [value_of("trade", body) for body in session.execute(query).scalars()]
    else:
        every = (value_of("trade", body) for body in session.execute(query).scalars())
        seen = [trade for trade in every if trade.symbol in plan.symbols]
    since = points[0].at if points else None
    trades = trades_view([trade.pnl for trade in seen])
    return PerformanceView(source.sandbox, "paper", points, trades, drawdown(points), since)


def trades_view(gains: list[float]) -> TradesView:
    """Round trips in numbers."""
    pnl = np.array(gains, np.float64)
    rate, won, total = win_rate(pnl), int((pnl > 0).sum()), float(pnl.sum())
    if len(gains) < FLOOR:
        why = f"{len(gains)} trades are too few for a rate: it takes {FLOOR}"
        return TradesView(len(gains), won, None, None, None, why, total)
    return TradesView(len(gains), won, rate.share, rate.low, rate.high, "", total)


def drawdown(points: tuple[Point, ...]) -> float | None:
    """The deepest fall from the highest point before it, percent."""
    if not points:
        return None
    worth = np.array([point.equity for point in points])
    peak = np.maximum.accumulate(worth)
    return float(np.max(1 - worth / peak) * 100) if np.all(peak > 0) else None
