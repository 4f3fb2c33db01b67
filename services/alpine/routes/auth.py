"""Sign up, sign in, sign out."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

import anyio
from anyio import CapacityLimiter
from fastapi import APIRouter, HTTPException, Request

from services.alpine.routes import needs
from services.alpine.routes.needs import Said

router = APIRouter(prefix="/api/auth", tags=["auth"])

T = TypeVar("T")

HASHES = 2  # at once: each takes 19 MiB
WAITING = 200  # for their turn


class SignIn(Said):
    """Who one is."""

    email: needs.Email
    password: needs.Password


class SignUp(Said):
    """Who one wants to be."""

    email: needs.Email
    password: needs.NewPassword


class Passwords(Said):
    """The one before and the one after."""

    old: needs.Password
    new: needs.NewPassword


@dataclass(frozen=True, slots=True)
class SessionView:
    """The key to everything else."""

    token: str
    expires_at: datetime
    plan: str
    email: str
    zone: str


@dataclass(frozen=True, slots=True)
class DetailView:
    """A sentence."""

    detail: str


async def in_turn(request: Request, work: partial[T]) -> T:
    """Do what hashes, two at a time, without taking threads from others."""
    state = request.app.state
    if not hasattr(state, "hashing"):
        state.hashing = CapacityLimiter(HASHES)
    if state.hashing.statistics().tasks_waiting >= WAITING:
        raise HTTPException(503, "too many sign in at once: try again", {"retry-after": "2"})
    return await anyio.to_thread.run_sync(work, limiter=state.hashing)


@router.post("/signup", status_code=202)
async def signup(
    request: Request, alpine: needs.Whole, address: needs.Address, said: SignUp
) -> DetailView:
    """Ask for an account; the answer does not tell whether there was one."""
    if not alpine.settings.alpine.signup:
        raise HTTPException(403, "no accounts are given out here: ask the operator")
    await in_turn(request, partial(alpine.doors.sign_up, said.email, said.password, address))
    return DetailView("if the address is new, the account is ready: sign in")


@router.post("/login")
async def login(
    request: Request, alpine: needs.Whole, address: needs.Address, said: SignIn
) -> SessionView:
    """Get a token."""
    work = partial(alpine.doors.sign_in, said.email, said.password, address)
    user, token, until = await in_turn(request, work)
    return SessionView(token, until, user.plan, user.email, user.zone)


@router.post("/logout")
def logout(doors: needs.DoorsNeed, user: needs.CurrentUser, name: needs.TokenName) -> DetailView:
    """End this token."""
    doors.sign_out(user, name)
    return DetailView("signed out")


@router.post("/password")
async def password(
    request: Request, doors: needs.DoorsNeed, user: needs.CurrentUser, said: Passwords
) -> DetailView:
    """Set another password; every token ends, this one too."""
    await in_turn(request, partial(doors.change_password, user, said.old, said.new))
    return DetailView("the password is changed: sign in again")
