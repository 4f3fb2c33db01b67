"""Who sent these bytes: signatures after Standard Webhooks, for both ends."""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pydantic import SecretStr
from standardwebhooks import Webhook

from argo_alpine.domain import Refused

TOLERANCE = 300  # seconds, either way
LONGEST = 1024  # characters of a header; ours have some eighty


class RefusedSignature(Refused):
    """Bytes that nobody we know has signed, or not lately."""


def keyring(said: SecretStr) -> tuple[str, ...]:
    """The keys in a setting; the first one signs, all of them verify."""
    return tuple(part for part in said.get_secret_value().split(",") if part)


def signed(keys: Sequence[str], name: str, at: datetime, body: str) -> dict[str, str]:
    """The headers that go with a body; `name` stays the same when it is sent again."""
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(keys[0]).sign(name, at.astimezone(UTC), body),
    }


def verify(
    keys: Sequence[str],
    headers: Mapping[str, str],  # whose names are in lower case, or do not care
    body: bytes,
    now: datetime,  # wall time
) -> None:
    """*Raises* `RefusedSignature` unless one of the keys has signed these bytes lately."""
    # the library verifies too, but by the system's clock, and breaks at a header without a comma
    name, said, found = (
        headers.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature")
    )
    if not (name and said and found) or max(map(len, (name, said, found))) > LONGEST:
        raise RefusedSignature("a header of the signature is missing")
    if not (said.isascii() and said.isdigit() and len(said) <= 12):
        raise RefusedSignature("the time of the signature is no whole number of seconds")
    if abs(now.timestamp() - int(said)) > TOLERANCE:
        raise RefusedSignature(f"the signature is more than {TOLERANCE} seconds from now")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise RefusedSignature("the body is not UTF-8") from error
    at = datetime.fromtimestamp(int(said), UTC)
    mine = [of(Webhook(key).sign(name, at, text)) for key in keys]
    theirs = [of(part) for part in found.split(" ")]
    # no short cut: every pair is compared
    if not any([hmac.compare_digest(m, t) for m in mine for t in theirs if t]):
        raise RefusedSignature("no key of ours has signed this")


def of(part: str) -> bytes:
    """The bytes of one signature; none for another version, or for what is not base64."""
    version, _, code = part.partition(",")
    try:
        return base64.b64decode(code, validate=True) if version == "v1" else b""
    except (binascii.Error, ValueError):
        return b""
