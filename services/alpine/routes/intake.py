"""The one door through which Argo comes."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse

from services.alpine import accounts
from services.alpine.intake import Batch, RefusedBatch, Taken, batch_of, take
from services.alpine.routes import needs
from services.alpine.wiring import Alpine
from services.common import logs
from services.common.signing import RefusedSignature, verify

router = APIRouter(prefix="/api", tags=["intake"])
log = logs.logger("intake")


async def body_of(request: Request) -> bytes:
    """The exact bytes that were signed."""
    return await request.body()


@router.post("/intake")
def intake(
    request: Request,
    alpine: needs.Whole,
    now: needs.Now,
    body: Annotated[bytes, Depends(body_of)],
) -> JSONResponse:
    """Take in what Argo sends, once and in order."""
    try:
        verify(alpine.keys, request.headers, body, now)
        batch = batch_of(body)
    except RefusedSignature as error:
        # no row for it: strangers must not fill the disk
        log.warning("intake_unsigned", why=str(error))
        raise HTTPException(401, str(error)) from error
    except RefusedBatch as error:
        audit(alpine, "intake_refused", str(error))
        raise HTTPException(422, str(error)) from error
    with alpine.database.transaction() as session:
        taken = take(session, batch, now)
    return answer(alpine, batch, taken, str(request.scope["state"]["id"]))


def answer(alpine: Alpine, batch: Batch, taken: Taken, name: str) -> JSONResponse:
    """How far the book has come, or what is wrong."""
    if taken.conflict is not None:
        audit(alpine, "intake_conflict", f"{batch.epoch} {taken.conflict}")
        words = f"message {taken.conflict} was another one: look at both books"
        return JSONResponse({"conflict": taken.conflict, "detail": words, "id": name}, 409)
    if taken.expected is not None:
        words = f"there is a gap: go back to message {taken.expected}"
        return JSONResponse({"expected": taken.expected, "detail": words, "id": name}, 409)
    alpine.hub.wake()
    return JSONResponse({"high": taken.high})


def audit(alpine: Alpine, event: str, words: str) -> None:
    """Write down that something is odd."""
    log.warning(event, why=words)
    with alpine.database.transaction() as session:
        accounts.note(session, alpine.clock.wall(), event, None, words[:200])
