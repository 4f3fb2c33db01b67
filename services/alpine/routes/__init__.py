"""Alpine's HTTP API."""

from fastapi import APIRouter

from services.alpine.routes import (
    account,
    auth,
    backtests,
    health,
    intake,
    live,
    performance,
    reports,
    signals,
)

router = APIRouter()
for part in (health, intake, auth, account, signals, performance, backtests, reports, live):
    router.include_router(part.router)
