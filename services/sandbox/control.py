"""The control port: who owns the sandbox's time, its books and its bad days."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field, model_validator

from argo_alpine.domain import InvalidSettings
from services.sandbox.faults import Fault, Faults
from services.sandbox.world import World


class Pace:
    """Whether time passes by itself."""

    def __init__(self, running: bool = True) -> None:
        self.running = running
        self.waiting = True  # until somebody asks: who comes later misses nothing

    @property
    def moves(self) -> bool:
        """Whether the ticker may move the world."""
        return self.running and not self.waiting


class Step(BaseModel):
    """How far to go: windows or seconds."""

    model_config = ConfigDict(extra="forbid")

    windows: Annotated[int, Field(ge=1, le=100_000)] | None = None
    seconds: Annotated[float, Field(gt=0, le=1e6)] | None = None

    @model_validator(mode="after")
    def one_of_them(self) -> "Step":
        """Not both, not neither."""
        if (self.windows is None) == (self.seconds is None):
            raise ValueError('give either {"windows": n} or {"seconds": s}')
        return self


class Dwell(BaseModel):
    """How long a window lasts, from the next one on."""

    model_config = ConfigDict(extra="forbid")

    seconds: float


def telling(world: World, pace: Pace) -> dict[str, Any]:
    """The time, and what kind of time it is."""
    place = {"session": world.day.isoformat(), "window": world.window}
    speed = {"running": pace.running, "waiting": pace.waiting, "dwell": world.dwell}
    return {"at": world.at.isoformat(), **place, **speed, "sandbox": True}


def router(world: World, pace: Pace, faults: Faults) -> APIRouter:
    """The control port's paths."""
    routes = APIRouter()
    clock_routes(routes, world, pace)
    fault_routes(routes, faults)

    @routes.get("/state")
    async def get_state() -> dict[str, Any]:
        """All that is needed to go on."""
        return world.state()

    @routes.put("/state")
    async def put_state(state: dict[str, Any]) -> dict[str, Any]:
        """Go on from there."""
        try:
            world.restore(state)
        except InvalidSettings as error:
            raise HTTPException(422, str(error)) from error
        return telling(world, pace)

    return routes


def clock_routes(routes: APIRouter, world: World, pace: Pace) -> None:
    """Time: tell, stop, go, step."""

    @routes.get("/time")
    async def tell_time() -> dict[str, Any]:
        """Sandbox time."""
        return telling(world, pace)

    @routes.post("/pause")
    async def pause() -> dict[str, Any]:
        """Stop."""
        pace.running = False
        return telling(world, pace)

    @routes.post("/run")
    async def run() -> dict[str, Any]:
        """Go, without waiting for anybody."""
        pace.running, pace.waiting = True, False
        return telling(world, pace)

    @routes.post("/step")
    async def step(by: Step) -> dict[str, Any]:
        """Move on, while paused."""
        if pace.running:
            raise HTTPException(409, "the sandbox is running: POST /pause first")
        if by.windows is not None:
            world.leap(by.windows)
        world.move(by.seconds or 0.0)
        return telling(world, pace)

    @routes.post("/dwell")
    async def set_dwell(to: Dwell) -> dict[str, Any]:
        """Make windows longer or shorter, from the next one on."""
        try:
            world.set_dwell(to.seconds)
        except InvalidSettings as error:
            raise HTTPException(422, str(error)) from error
        return telling(world, pace)


def fault_routes(routes: APIRouter, faults: Faults) -> None:
    """Bad days: make, show, end."""

    @routes.get("/faults")
    async def list_faults() -> Sequence[Fault]:
        """What is in force."""
        return faults.active

    @routes.post("/faults")
    async def add_faults(added: list[Fault]) -> Sequence[Fault]:
        """Put more into force."""
        faults.add(added)
        return faults.active

    @routes.delete("/faults")
    async def clear_faults() -> Sequence[Fault]:
        """Behave again."""
        faults.clear()
        return faults.active
