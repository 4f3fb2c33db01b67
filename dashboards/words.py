"""How values are told to people. No Streamlit here."""

import html
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

JOINER = "\N{WORD JOINER}"  # seen by nobody, but it parts what Markdown would put together
PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
UNKNOWN = "\N{EN DASH}"
SOURCES: Mapping[str, str] = {
    "massive": "Massive",
    "alpha_vantage": "Alpha Vantage",
    "x_sentiment": "X sentiment",
    "sonar": "Sonar",
}


def shown(text: object, limit: int = 600) -> str:
    """Foreign text on one line: it moves no cursor, turns no line around, and ends."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def plain(text: object, limit: int = 600) -> str:
    """Foreign text for a place that reads Markdown: every character stands for itself.

    Backslashes stop the parser. Emoji, directives, icons and bare addresses are found after it,
    in the text: a joiner keeps them from being one word.
    """
    escaped = PUNCTUATION.sub(r"\\\1", shown(text, limit))
    parted = re.sub(r"([:@])", rf"\1{JOINER}", escaped)
    return re.sub(r"(?i)\b(www)", rf"\1{JOINER}", parted)


def inert(text: object, limit: int = 200) -> str:
    """Foreign text for a chart, which reads a few tags."""
    return html.escape(shown(text, limit))


def source(name: object) -> str:
    """A source as people call it."""
    return SOURCES.get(str(name), shown(name, 24))


def zone_of(*names: object) -> str:
    """The first that is a time zone, else UTC."""
    for name in names:
        try:
            if isinstance(name, str) and name:
                return ZoneInfo(name).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return "UTC"


def moment(text: object) -> datetime | None:
    """A time as JSON has it; none for what is no aware time."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo else None


def when(text: object, zone: str, seconds: bool = False) -> str:
    """A time on the reader's clock."""
    at = moment(text)
    if at is None:
        return UNKNOWN
    here = at.astimezone(ZoneInfo(zone))
    return f"{here.day} {here:%b %Y, %H:%M:%S}" if seconds else f"{here.day} {here:%b %Y, %H:%M}"


def lasting(span: float | timedelta | None) -> str:
    """A length of time in the unit people would use."""
    if span is None:
        return UNKNOWN
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    for size, unit in UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' * (count != 1)}"
    return "no time"


def ago(text: object, now: datetime) -> str:
    """How long since; a moment for less than five seconds."""
    at = moment(text)
    if at is None:
        return "at an unknown time"
    past = (now - at).total_seconds()
    return "just now" if past < 5 else f"{lasting(past)} ago"


def floor(confidence: float) -> float:
    """A confidence to its hundredth, never rounded up."""
    return math.floor(confidence * 100 + 1e-6) / 100


def sure(confidence: float | None) -> str:
    """A confidence, never rounded up: 74.999 does not show as 75."""
    if confidence is None or not math.isfinite(confidence):
        return UNKNOWN
    return f"{floor(confidence):.2f}".rstrip("0").rstrip(".") + " %"


def amount(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """A number with its thousands."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    told = round(value, digits) + 0.0  # no minus before a zero
    return f"{told:{'+' if sign else ''},.{digits}f}".replace("-", "\N{MINUS SIGN}")


def percent(share: float | None, digits: int = 1, sign: bool = False) -> str:
    """A share of one as percent."""
    return UNKNOWN if share is None else f"{amount(100 * share, digits, sign)} %"


def distance(price: float, start: float) -> str:
    """How far one price is from another."""
    return percent(price / start - 1, sign=True) if start > 0 else UNKNOWN


def count(n: int, noun: str) -> str:
    """A number of things: 1 trade, 2 trades."""
    return f"{n:,} {noun}{'s' * (n != 1)}"
