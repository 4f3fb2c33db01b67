"""Argo's HTTP API: read-only, the trading cycle is the one writer."""

from fastapi import APIRouter

from services.argo.routes import account, decisions, health, journal, metrics, signals, sources
from services.argo.routes.needs import Guarded

router = APIRouter(route_class=Guarded)
for part in (health, metrics, signals, decisions, sources, account, journal):
    router.include_router(part.router)
