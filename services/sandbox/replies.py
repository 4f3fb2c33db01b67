"""What the vendors' stand-ins share: answers, refusals, keys and allowances."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from fastapi import Request
from starlette.responses import Response

from services.common.clock import Clock

KEY_PREFIX = "sandbox"


def answer(
    body: object, status: int = 200, headers: Mapping[str, str] | None = None, kind: str = "json"
) -> Response:
    """A JSON answer, compact; NaN is a bug here, not a number."""
    content = json.dumps(body, separators=(",", ":"), allow_nan=False)
    return Response(content, status, headers, f"application/{kind}")


class Answered(Exception):  # not an error of ours: the vendor's way to say no
    """An answer that ends a request early."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"answered with status {response.status_code}")
        self.response = response


def is_ours(key: str) -> bool:
    """Whether the stand-in knows a key."""
    return key.startswith(KEY_PREFIX)


def bearer(request: Request) -> str:
    """The token of an Authorization header; empty when there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def hexadecimal(*words: object) -> str:
    """An id that looks random and is not."""
    return sha256("|".join(map(str, words)).encode()).hexdigest()[:32]


def dashed(*words: object) -> str:
    """The same in the form of a UUID."""
    h = hexadecimal(*words)
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


@dataclass(slots=True)
class Allowance:
    """So many calls in a period of real time."""

    limit: int
    seconds: float
    clock: Clock
    began: float = field(default=-1e18)  # monotonic
    used: int = 0

    def spend(self) -> bool:
        """Whether one more call is allowed; counts it when it is."""
        now = self.clock.monotonic()
        if now - self.began >= self.seconds:
            self.began, self.used = now, 0
        allowed = self.used < self.limit
        self.used += allowed
        return allowed

    @property
    def remaining(self) -> int:
        """Calls left in this period."""
        return self.limit - self.used

    @property
    def resets(self) -> int:
        """When the next period begins, real time, epoch seconds."""
        left = max(self.began + self.seconds - self.clock.monotonic(), 0.0)
        return int(self.clock.wall().timestamp() + left) + 1


Json = dict[str, Any]
NotFound = Callable[[str], Response]  # from the path asked for
