"""Foreign values into ours: every field is checked by type and range, nothing is assumed."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from argo_alpine.sessions import EPOCH, closes, instant
from services.argo.sources.lexicon import cleaned

AHEAD = timedelta(seconds=60)  # a vendor's clock may be this far ahead of ours
OLDEST, NEWEST = 631_152_000.0, 4_102_444_800.0  # 1990 to 2100, seconds
DEAREST, BUSIEST = 1e7, 1e12  # no share costs more dollars, no day trades more shares
SCALES = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))  # a number below: units a second


class Unreadable(ValueError):
    """A reply that is not what its vendor documents; adapters turn it into `UnavailableSource`."""


def shown(value: object) -> str:
    """A foreign value, fit for an error message."""
    return cleaned(repr(value)[:400], 60)


def mapping(value: object, name: str) -> Mapping[str, Any]:
    """A JSON object. *Raises* `Unreadable`."""
    if not isinstance(value, dict):
        raise Unreadable(f"{name} must be an object, was {shown(value)}")
    return value


def rows(value: object, name: str) -> Sequence[Any]:
    """A JSON array. *Raises* `Unreadable`."""
    if not isinstance(value, list):
        raise Unreadable(f"{name} must be an array, was {shown(value)}")
    return value


def text(value: object, name: str) -> str:
    """A text that is not empty. *Raises* `Unreadable`."""
    if not isinstance(value, str) or not value:
        raise Unreadable(f"{name} must be a text, was {shown(value)}")
    return value


def number(value: object, name: str) -> float:
    """A finite JSON number; a boolean or a text is none. *Raises* `Unreadable`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable(f"{name} must be a number, was {shown(value)}")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise Unreadable(f"{name} must be a finite number, was {shown(value)}")
    return found


def price(value: object, name: str) -> float:
    """What a share may cost. *Raises* `Unreadable`."""
    found = number(value, name)
    if not 0 < found <= DEAREST:
        raise Unreadable(f"{name} must be above zero and at most 1e7, was {shown(value)}")
    return found


def volume(value: object, name: str) -> float:
    """How many shares a day may trade. *Raises* `Unreadable`."""
    found = number(value, name)
    if not 0 <= found <= BUSIEST:
        raise Unreadable(f"{name} must lie between 0 and 1e12, was {shown(value)}")
    return found


def decimal(value: object, name: str) -> float:
    """A finite number written as a text. *Raises* `Unreadable`, also where the value is missing."""
    written = text(value, name).strip()
    plausible = len(written) <= 40 and written.isascii() and "_" not in written
    try:
        found = float(written) if plausible else math.nan
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise Unreadable(f"{name} must be a finite number as text, was {shown(value)}")
    return found


def moment(value: object, name: str) -> datetime:
    """Seconds, ms, µs or ns since 1970, told apart by size. *Raises* `Unreadable`."""
    found = number(value, name)
    for bound, scale in SCALES:
        if 0 < found < bound and OLDEST <= found / scale <= NEWEST:
            whole = int(value) if isinstance(value, int) else int(found)
            return EPOCH + timedelta(microseconds=whole * 1_000_000 // int(scale))
    raise Unreadable(f"{name} must be a time since 1970, was {shown(value)}")


def written(value: object, name: str) -> datetime:
    """An instant in ISO 8601 with its zone. *Raises* `Unreadable`."""
    try:
        found = datetime.fromisoformat(text(value, name))
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # the message below says it for both
    raise Unreadable(f"{name} must be an ISO 8601 time with a zone, was {shown(value)}")


def not_ahead(seen: datetime, at: datetime, name: str) -> datetime:
    """An observation that is not of the future. *Raises* `Unreadable`."""
    if seen > at + AHEAD:
        raise Unreadable(f"{name} is {seen.isoformat()}, after market time {at.isoformat()}")
    return seen


def close_of(day: date) -> datetime:
    """The close of a session. *Raises* `InvalidTime` for a date without one."""
    return instant(closes([day])[0])
