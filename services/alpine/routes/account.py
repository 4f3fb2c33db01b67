"""The subscriber's own account."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from zoneinfo import available_timezones

from fastapi import APIRouter
from pydantic import AfterValidator, Field

from services.alpine import accounts
from services.alpine.accounts import User
from services.alpine.plans import Plan
from services.alpine.routes import needs
from services.alpine.routes.needs import Said

router = APIRouter(prefix="/api", tags=["account"])


def zone(value: str) -> str:
    """A zone that there is."""
    if value not in available_timezones():
        raise ValueError("is no time zone: write one like Europe/Berlin")
    return value


class Change(Said):
    """What a subscriber may change himself."""

    zone: Annotated[str, Field(max_length=64), AfterValidator(zone)]


@dataclass(frozen=True, slots=True)
class AccountView:
    """Who one is, and what one has bought."""

    email: str
    plan: str
    zone: str
    created_at: datetime
    symbols: tuple[str, ...] | None  # None: all
    delay_seconds: int
    per_day: int | None  # None: all
    push: bool


def account_view(user: User, plan: Plan) -> AccountView:
    """As values."""
    return AccountView(
        user.email, user.plan, user.zone, user.created_at,
        plan.symbols, plan.delay_seconds, plan.per_day, plan.push,
    )  # fmt: skip


@router.get("/account")
def get_account(user: needs.CurrentUser, plan: needs.CurrentPlan) -> AccountView:
    """Who calls."""
    return account_view(user, plan)


@router.patch("/account")
def change_account(
    alpine: needs.Whole, user: needs.CurrentUser, plan: needs.CurrentPlan, said: Change
) -> AccountView:
    """Set the time zone of what is shown."""
    with alpine.database.transaction() as session:
        accounts.change(session, user.id, zone=said.zone)
        changed = accounts.find_user(session, user.email) or user
    return account_view(changed, plan)
