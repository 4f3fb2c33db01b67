"""Who may come in at the simulated broker, how often, and how it says no."""

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response

from argo_alpine.domain import NEW_YORK
from services.common.clock import Clock
from services.sandbox.exchange_values import ApiError, bad_request
from services.sandbox.replies import answer, is_ours

MINUTE = 60.0
Handler = Callable[[Request], Awaitable[Response]]


class Limiter:
    """So many calls in a sliding minute of real time, per key."""

    def __init__(self, calls_per_minute: int | None, clock: Clock) -> None:
        self.limit, self.clock = calls_per_minute, clock
        self.calls: defaultdict[str, deque[float]] = defaultdict(deque)

    def spend(self, key: str) -> tuple[bool, dict[str, str]]:
        """Whether one more call is allowed, and what the headers say of it."""
        if self.limit is None:
            return True, {}
        now, calls = self.clock.monotonic(), self.calls[key]
        while calls and now - calls[0] >= MINUTE:
            calls.popleft()
        allowed = len(calls) < self.limit
        if allowed:
            calls.append(now)
        resets = self.clock.wall().timestamp() + MINUTE - (now - calls[0] if calls else 0.0)
        return allowed, {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.limit - len(calls)),
            "X-RateLimit-Reset": str(int(resets) + 1),
        }


def authenticated(key: str, secret: str) -> None:
    """*Raises* the vendor's 401."""
    if not (is_ours(key) and is_ours(secret)):
        message = "access key verification failed : verification failure"
        raise ApiError(401, 40110000, message)


def guarded(limiter: Limiter, complaint: str) -> type[APIRoute]:
    """Routes that check the key, then the rate, and word errors as the vendor does."""

    class Guarded(APIRoute):
        """A route behind the door."""

        def get_route_handler(self) -> Callable[[Request], Any]:
            inner = super().get_route_handler()

            async def outer(request: Request) -> Response:
                headers: dict[str, str] = {}
                try:
                    key = request.headers.get("APCA-API-KEY-ID", "")
                    authenticated(key, request.headers.get("APCA-API-SECRET-KEY", ""))
                    allowed, headers = limiter.spend(key)
                    if not allowed:
                        raise ApiError(429, 42910000, complaint)
                    response: Response = await inner(request)
                except ApiError as error:
                    response = answer(error.body, error.status)
                except RequestValidationError as error:
                    response = answer(bad_request(worded(error)).body, 422)
                response.headers.update(headers)
                return response

            return outer

    return Guarded


def worded(error: RequestValidationError) -> str:
    """What was wrong with a request, in a line."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"] if part not in ("query", "body"))
    return f"{name or 'request body'}: {first['msg']}"


def moment(value: str | None, name: str) -> datetime | None:
    """A time out of a query: RFC 3339, or a date of the exchange. *Raises* `ApiError`."""
    if not value:
        return None
    try:
        if len(value) == 10:
            midnight = datetime.combine(date.fromisoformat(value), time(), NEW_YORK)
            return midnight.astimezone(UTC)
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise bad_request(f"invalid {name}: {value}") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def day(value: str | None, name: str, default: date) -> date:
    """A date out of a query, which may be a time. *Raises* `ApiError`."""
    try:
        return date.fromisoformat(value[:10]) if value else default
    except ValueError as error:
        raise bad_request(f"invalid {name}: {value}") from error
