"""The way to Alpaca: deadlines, one attempt a call, and what a failure means."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from requests import ConnectTimeout, PreparedRequest, ReadTimeout, RequestException, Response
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError

CONNECT, READ, WHOLE = 2.0, 4.0, 6.0  # seconds; WHOLE is for a body that drips
LARGEST = 32 * 1024 * 1024  # bytes of a body, unpacked

ABSENT = "40410000"
REFUSALS = (400, 401, 403, 404, 422, 429)


class Deadline(HTTPAdapter):
    """One attempt with a limit on every wait, on the body's time and on its size."""

    def send(  # type: ignore[override]
        self, request: PreparedRequest, stream: bool = False, timeout: Any = None, **options: Any
    ) -> Response:
        """Answer with the body already read. *Raises* `RequestException`."""
        response = super().send(request, stream=True, timeout=(CONNECT, READ), **options)
        try:
            response._content = whole(response)
        except BaseException:
            response.close()
            raise
        response._content_consumed = True
        response.raw.release_conn()  # to be used again
        response.encoding = "utf-8"  # or `requests` guesses, slowly, from the bytes
        return response


def whole(response: Response) -> bytes:
    """A body, unpacked. *Raises* `RequestException` when it is too slow or too long."""
    begun, body = monotonic(), bytearray()
    while chunk := response.raw.read1(65_536, decode_content=True):
        body += chunk
        if monotonic() - begun > WHOLE:
            raise ReadTimeout(f"the body took longer than {WHOLE:g} s")
        if len(body) > LARGEST:
            raise RequestException(f"the body is longer than {LARGEST} bytes")
    return bytes(body)


def trading_client(key: str, secret: str, base_url: str) -> TradingClient:
    """The vendor's client without its own retries: it repeats a POST after 429 and 504."""
    client = TradingClient(key, secret, raw_data=True, url_override=base_url)
    client._retry = 0
    client._session.trust_env = False
    for scheme in ("https://", "http://"):
        client._session.mount(scheme, Deadline(max_retries=0))
    return client


def unsent(error: BaseException) -> bool:
    """Whether there was no connection at all, so that nothing can have left."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, ConnectTimeout) or isinstance(reason, NewConnectionError)


@dataclass(frozen=True, slots=True)
class Problem:
    """What Alpaca said instead of yes."""

    status: int
    code: str = ""
    message: str = ""  # empty: not in Alpaca's words, so perhaps not from Alpaca
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_refusal(self) -> bool:
        """Whether it says no, as opposed to nothing."""
        return self.status in REFUSALS and bool(self.message)

    @property
    def is_duplicate(self) -> bool:
        """Whether it complains about the client id: then an order may have it already."""
        return self.status == 422 and "client order id" in self.message.lower().replace("_", " ")

    @property
    def is_absent(self) -> bool:
        """Whether there is no such order; a wrong path has the same code."""
        said = self.message.lower()
        return self.status == 404 and self.code == ABSENT and "endpoint" not in said

    @property
    def is_too_late(self) -> bool:
        """Whether an order can no longer be canceled."""
        return self.is_absent or (self.status == 422 and bool(self.message))

    def __str__(self) -> str:
        said = f"{self.code} {self.message}".strip() or "without a word that can be read"
        meaning = self.meaning()
        return f"HTTP {self.status}: {said}" + (f" ({meaning})" if meaning else "")

    def meaning(self) -> str:
        """Which of the three meanings of 403 this is."""
        said, seen = self.message.lower(), self.details
        if self.status != 403:
            return ""
        if "existing_order_id" in seen or "wash trade" in said:
            rests = seen.get("existing_order_id", "unnamed")
            return f"wash trade: order {rests!s:.48} rests on the other side"
        if "held_for_orders" in seen or "insufficient qty" in said:
            held = seen.get("held_for_orders", "unknown")
            return f"shares held by open orders: {held!s:.48}; cancel those first"
        if "cost_basis" in seen or "buying power" in said:
            need, have = seen.get("cost_basis", "unknown"), seen.get("buying_power", "unknown")
            return f"buying power: needs {need!s:.48}, has {have!s:.48}"
        return "forbidden for another reason"


def problem(error: APIError) -> Problem:
    """What an error reply says, whatever it is made of."""
    status = error.status_code or 0
    try:
        said = json.loads(str(error))
    except (ValueError, RecursionError):
        return Problem(status)
    if not isinstance(said, dict) or not isinstance(said.get("message"), str):
        return Problem(status)
    return Problem(status, str(said.get("code", "")), said["message"][:300], said)
