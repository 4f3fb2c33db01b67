"""Reports for those who review them."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse

from services.alpine import shelf
from services.alpine.routes import needs
from services.alpine.shelf import ReportView

router = APIRouter(prefix="/api/reports", tags=["reports"])

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")]


@router.get("")
def listed(alpine: needs.Whole, _: needs.CurrentUser) -> Sequence[ReportView]:
    """All that were rendered, newest first."""
    return shelf.listed(alpine.reports)


@router.get("/{name}", response_class=FileResponse)
def one(alpine: needs.Whole, _: needs.CurrentUser, name: Name) -> FileResponse:
    """The page of one."""
    page = shelf.page(alpine.reports, name)
    if page is None:
        raise needs.missing("such report")
    return FileResponse(page, media_type="text/html")
