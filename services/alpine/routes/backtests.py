"""Backtests: asked for here, run in a process of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path
from fastapi.responses import FileResponse

from services.alpine import jobs
from services.alpine.jobs import Backtest, JobView, RefusedJob
from services.alpine.routes import needs
from services.common.db import Db

router = APIRouter(prefix="/api/backtests", tags=["backtests"])

Name = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


@dataclass(frozen=True, slots=True)
class AcceptedView:
    """It will be done."""

    id: str


@router.post("", status_code=202)
def ask(
    alpine: needs.Whole, user: needs.CurrentUser, now: needs.Now, wanted: Backtest
) -> AcceptedView:
    """Ask for a backtest; one runs, three wait."""
    try:
        with alpine.database.transaction() as session:
            name = jobs.ask(session, user.id, wanted, now)
    except RefusedJob as error:
        raise HTTPException(429, str(error), {"retry-after": "60"}) from error
    alpine.worker.wanted.set()
    return AcceptedView(name)


@router.get("")
def mine(db: Db, alpine: needs.Whole, user: needs.CurrentUser) -> Sequence[JobView]:
    """One's own, newest first."""
    return jobs.mine(db, user.id, alpine.worker.folder)


@router.get("/{name}")
def one(db: Db, alpine: needs.Whole, user: needs.CurrentUser, name: Name) -> JobView:
    """How far it has come."""
    found = jobs.find(db, user.id, name, alpine.worker.folder)
    if found is None:
        raise needs.missing("such backtest")
    return found


@router.get("/{name}/report", response_class=FileResponse)
def report(db: Db, alpine: needs.Whole, user: needs.CurrentUser, name: Name) -> FileResponse:
    """Its page."""
    found = jobs.find(db, user.id, name, alpine.worker.folder)
    if found is None or found.report_url is None:
        raise needs.missing("such report")
    return FileResponse(alpine.worker.folder / name / "report.html", media_type="text/html")
