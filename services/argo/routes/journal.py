"""How far the journal goes, for those who want to check it."""

from fastapi import APIRouter, HTTPException, status

from services.argo import views
from services.argo.routes import needs
from services.argo.views import Checkpoint
from services.common.db import Db

router = APIRouter(prefix="/api/log", tags=["log"], route_class=needs.Guarded)


@router.get("/checkpoint")
def checkpoint(db: Db) -> Checkpoint:
    """The journal's last entry and how many there are."""
    return views.checkpoint(db)


@router.get("/proof/{seq}", status_code=status.HTTP_501_NOT_IMPLEMENTED)
def proof(seq: int) -> None:
    """A proof that an entry is in the log: not in this version."""
    raise HTTPException(
        status.HTTP_501_NOT_IMPLEMENTED,
        f"no proof of entry {seq}: this version keeps a chain, `argo-alpine replay` checks it",
    )
