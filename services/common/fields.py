"""What one value in a configuration may be, and what to write instead."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import date
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from argo_alpine.sizing import SizingPolicy

NAME = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
URL = re.compile(
    rf"(https?|wss?)://({NAME}|\[[0-9A-Fa-f:.]+\])(:[0-9]{{1,5}})?(/[\w.~/-]*)?", re.ASCII
)

Check: TypeAlias = Callable[[float], float]


def between(low: float, high: float, unit: str = "") -> Check:
    """A check that a number lies in a range, both ends included."""

    def check(value: float) -> float:
        if not low <= value <= high:
            end = "negative" if value < 0 else "too small" if value < low else "too large"
            raise ValueError(f"is {end}: write {low:g} to {high:g}{' ' + unit if unit else ''}")
        return value

    return check


def percent(low: float, high: float) -> Check:
    """A check that a number is percent; below 1 it can only have been meant as a fraction."""

    def check(value: float) -> float:
        if 0 < value < 1:
            raise ValueError(f"looks like a fraction; percent: write {value * 100:g}")
        return between(low, high, "percent")(value)

    return check


def stepped(step: float) -> Check:
    """A check that a number is a whole multiple of a step."""

    def check(value: float) -> float:
        if abs(value / step - round(value / step)) > 1e-6:
            raise ValueError(f"is finer than can be counted: write it in steps of {step:g}")
        return value

    return check


def threshold(value: float) -> float:
    """Percent, above one half."""
    if 0 <= value <= 0.5 or 1 <= value <= 50:
        raise ValueError("percent, must be above 50, where both sides would win: write 75")
    return percent(50.01, 99.99)(value)


def matching(pattern: str, remedy: str) -> Callable[[str], str]:
    """A check that a text has a form, from its first character to its last."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(f"is ill-formed: write {remedy}")
        return value

    return check


def key(value: SecretStr) -> SecretStr:
    """A key goes into a header, where a space or a line end would do harm."""
    if not re.fullmatch(r"[!-~]*", value.get_secret_value()):
        raise ValueError("has a space or a character no key has: paste it again")
    return value


def signing_keys(value: SecretStr) -> SecretStr:
    """Keys of Standard Webhooks; two while one takes over from the other, the new one first."""
    said = value.get_secret_value()
    parts = said.split(",") if said else []
    if len(parts) > 2 or not all(is_signing_key(part) for part in parts):
        raise ValueError(
            "is no signing key: write whsec_ and 24 to 64 bytes as base64; while rotating, "
            "the new one, a comma and the old one"
        )
    return value


def is_signing_key(said: str) -> bool:
    """Whether a text is `whsec_` and enough bytes."""
    try:
        found = base64.b64decode(said.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return False
    return said.startswith("whsec_") and 24 <= len(found) <= 64


def database(value: SecretStr) -> SecretStr:
    """PostgreSQL by psycopg; nothing stands for SQLite in a file of ours."""
    said = value.get_secret_value()
    if said and not re.fullmatch(r"postgresql\+psycopg://[!-~]+", said, re.ASCII):
        raise ValueError(
            "is no database: write postgresql+psycopg://user:password@host/name, or nothing "
            "for SQLite"
        )
    return value


def origin(value: str) -> str:
    """A site as browsers name it: no path, no pattern."""
    if not re.fullmatch(rf"https?://{NAME}(:[0-9]{{1,5}})?", value, re.ASCII) or value != url(
        value
    ):
        raise ValueError("is no origin: write scheme, host and port only")
    return value


def url(value: str) -> str:
    """An address without a user, a query or a slash at its end; beyond this machine encrypted."""
    if not URL.fullmatch(value):
        raise ValueError("is no base URL: write scheme, host, port and path only")
    try:
        port = urlsplit(value).port
    except ValueError:
        port = 0  # not even a number of two bytes
    if port == 0:
        raise ValueError("has a host or a port that cannot be: write a port of 1 to 65535")
    if not is_loopback(value) and not value.startswith(("https://", "wss://")):
        raise ValueError("would send keys in the clear: write https:// or wss://")
    return value.rstrip("/")


def host(value: str) -> str:
    """A name or an address to listen at."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return matching(NAME, "a host such as 127.0.0.1")(value)
    return value


def is_loopback(address: str) -> bool:
    """Whether a URL or a host is this machine."""
    try:
        host = (urlsplit(address).hostname or "") if "://" in address else address
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def day(value: object) -> object:
    """A date as JSON has it."""
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise ValueError("is no date: write it like 2000-01-31") from None


def epoch(value: date) -> date:
    """No calendar knows the sessions before 1990."""
    if not date(1990, 1, 1) <= value <= date(2100, 1, 1):
        raise ValueError("is out of range: write 1990-01-01 or later")
    return value


Number: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Whole: TypeAlias = Annotated[int, Field(strict=True)]
Flag: TypeAlias = Annotated[bool, Field(strict=True)]
Percent: TypeAlias = Annotated[Number, AfterValidator(percent(1, 100))]
Size: TypeAlias = Annotated[Number, AfterValidator(percent(1, SizingPolicy().max_pct))]
Threshold: TypeAlias = Annotated[Number, AfterValidator(threshold), AfterValidator(stepped(0.01))]
Weight: TypeAlias = Annotated[
    Number, AfterValidator(between(0, 100)), AfterValidator(stepped(0.0001))
]
Seconds: TypeAlias = Annotated[Number, AfterValidator(between(0.1, 86_400, "seconds"))]
Bps: TypeAlias = Annotated[Number, AfterValidator(between(0, 1000, "basis points"))]
Money: TypeAlias = Annotated[Number, AfterValidator(between(0, 10_000, "US dollars a day"))]
Count: TypeAlias = Annotated[Whole, AfterValidator(between(1, 10_000_000))]
Port: TypeAlias = Annotated[Whole, AfterValidator(between(1, 65_535))]
Host: TypeAlias = Annotated[str, AfterValidator(host)]
Url: TypeAlias = Annotated[str, AfterValidator(url)]
Key: TypeAlias = Annotated[SecretStr, AfterValidator(key)]
SigningKeys: TypeAlias = Annotated[Key, AfterValidator(signing_keys)]
Database: TypeAlias = Annotated[Key, AfterValidator(database)]
Origin: TypeAlias = Annotated[str, AfterValidator(origin)]
Origins: TypeAlias = Annotated[
    tuple[Origin, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)
]
Hours: TypeAlias = Annotated[Number, AfterValidator(between(0.1, 720, "hours"))]
Days: TypeAlias = Annotated[Number, AfterValidator(between(0.1, 365, "days"))]
Day: TypeAlias = Annotated[date, BeforeValidator(day), AfterValidator(epoch)]
Symbol: TypeAlias = Annotated[
    str, AfterValidator(matching(r"[A-Z][A-Z.]{0,7}", "capitals and dots, such as BRK.B"))
]
Symbols: TypeAlias = Annotated[
    tuple[Symbol, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)
]
Name: TypeAlias = Annotated[
    str, AfterValidator(matching(r"[A-Za-z0-9_-]{1,32}", "letters, digits, - and _ only"))
]
Model: TypeAlias = Annotated[
    str, AfterValidator(matching(r"[\w.-]+/[\w.-]+", "provider/name, such as perplexity/sonar"))
]
