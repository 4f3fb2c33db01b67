"""Signals, as far as the plan allows."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from services.alpine import feed
from services.alpine.feed import LATEST, Asked, SignalView
from services.alpine.routes import needs
from services.common.db import Db

router = APIRouter(prefix="/api/signals", tags=["signals"])

EXPORTED = 5000
COLUMNS = (
    "feed", "id", "symbol", "direction", "confidence", "at", "entry", "stop", "target", "size_pct",
    "expires", "turnout", "received_at", "sandbox", "outcome", "pnl", "votes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SubscribedView:
    """The latest signals."""

    sandbox: bool
    items: tuple[SignalView, ...]


@dataclass(frozen=True, slots=True)
class PageView:
    """Some signals, and where to go on."""

    items: tuple[SignalView, ...]
    next: int | None  # give it as `before`; None: that was all


def asked(
    symbol: needs.Symbol = None,
    direction: needs.Side = None,
    since: needs.Since = None,
    until: needs.Until = None,
    before: needs.Cursor = None,
) -> Asked:
    """What the query says."""
    return Asked(symbol, direction, since, until, before)


AskedFor = Annotated[Asked, Depends(asked)]


@router.get("/subscribed")
def subscribed(db: Db, plan: needs.CurrentPlan, now: needs.Now) -> SubscribedView:
    """The latest signals, newest first."""
    items = feed.find_signals(db, plan, now, Asked(), limit=LATEST)
    return SubscribedView(feed.is_sandbox(db), items)


@router.get("/history")
def history(
    db: Db, plan: needs.CurrentPlan, now: needs.Now, wanted: AskedFor, limit: needs.Limit = 50
) -> PageView:
    """All signals, newest first, page by page."""
    found = feed.find_signals(db, plan, now, wanted, limit=limit + 1)
    items = found[:limit]
    return PageView(items, items[-1].feed if len(found) > limit else None)


@router.get("/export", response_class=Response)
def export(db: Db, plan: needs.CurrentPlan, now: needs.Now, wanted: AskedFor) -> Response:
    """The same as CSV; at most the newest 5,000 at once."""
    found = feed.find_signals(db, plan, now, wanted, limit=EXPORTED)
    headers = {"content-disposition": 'attachment; filename="signals.csv"'}
    return Response(csv_of(found), media_type="text/csv; charset=utf-8", headers=headers)


def csv_of(signals: Sequence[SignalView]) -> str:
    """A table; no cell of it is a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([defused(value) for value in cells(signal)] for signal in signals)
    return text.getvalue()


def cells(signal: SignalView) -> Iterator[Any]:
    """A row."""
    for name in COLUMNS[:-1]:
        value = getattr(signal, name)
        yield value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
    yield "; ".join(
        f"{vote.source} {vote.direction} {vote.confidence:g} {vote.why}".strip()
        for vote in signal.votes
    )


def defused(value: Any) -> str:
    """A cell that a spreadsheet shows and does not execute."""
    text = "" if value is None else re.sub(r"[\x00-\x1f\x7f]+", " ", str(value))
    is_number = re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", text, re.ASCII) is not None
    return f"'{text}" if re.match(r"\s*[=+\-@]", text) and not is_number else text
