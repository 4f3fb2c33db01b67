"""What routes ask for by name."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Query, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from services.alpine.accounts import RefusedSignIn, User, digest_of
from services.alpine.doors import Doors
from services.alpine.plans import Plan
from services.alpine.wiring import Alpine

NEWEST = 2**63 - 1  # no cursor goes beyond


class Said(BaseModel):
    """A body: nothing but what is named."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def whole(request: Request) -> Alpine:
    """Everything that is wired."""
    alpine: Alpine = request.app.state.alpine
    return alpine


Whole = Annotated[Alpine, Depends(whole)]


def doors_of(alpine: Whole) -> Doors:
    """Who may come in."""
    return alpine.doors


def token_of(request: Request) -> str:
    """What the caller shows. *Raises* `RefusedSignIn`."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise RefusedSignIn("sign in first: send Authorization: Bearer and a token")
    return token.strip()


def user_of(alpine: Whole, token: Annotated[str, Depends(token_of)]) -> User:
    """Who calls. *Raises* `RefusedSignIn`."""
    return alpine.doors.enter(token)


def name_of(token: Annotated[str, Depends(token_of)]) -> str:
    """The token as it is kept."""
    return digest_of(token)


def plan_of(alpine: Whole, user: "CurrentUser") -> Plan:
    """What the caller has bought."""
    return alpine.plans[user.plan]


def now_of(alpine: Whole) -> datetime:
    """Wall time."""
    return alpine.clock.wall()


def address_of(request: Request) -> str:
    """Where the caller is; what a header says of it is not believed."""
    return request.client.host if request.client else ""


def in_range(at: datetime) -> datetime:
    """A time that every database can compare."""
    if not 1900 <= at.year <= 2200:
        raise ValueError("must lie between 1900 and 2200")
    return at


def missing(what: str) -> HTTPException:
    """The same for what is not there and for what is not his."""
    return HTTPException(404, f"no {what}")


DoorsNeed = Annotated[Doors, Depends(doors_of)]
CurrentUser = Annotated[User, Depends(user_of)]
TokenName = Annotated[str, Depends(name_of)]
CurrentPlan = Annotated[Plan, Depends(plan_of)]
Now = Annotated[datetime, Depends(now_of)]
Address = Annotated[str, Depends(address_of)]
At = Annotated[AwareDatetime, AfterValidator(in_range)]
Symbol = Annotated[str | None, Query(pattern=r"^[A-Z][A-Z.]{0,7}$")]
Side = Annotated[str | None, Query(pattern=r"^(LONG|SHORT)$")]
Since = Annotated[At | None, Query(alias="from")]
Until = Annotated[At | None, Query(alias="to")]
Cursor = Annotated[int | None, Query(ge=0, le=NEWEST)]
Limit = Annotated[int, Query(ge=1, le=100)]
Email = Annotated[
    str,
    Field(
        max_length=254,
        pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$",
    ),
    AfterValidator(str.lower),
]
Password = Annotated[str, Field(min_length=1, max_length=256)]
NewPassword = Annotated[str, Field(min_length=8, max_length=256)]
Json = Any
