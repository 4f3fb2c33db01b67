"""Questions to Alpine and Argo; whatever goes wrong becomes a sentence."""

import math
import os
from collections.abc import Mapping
from typing import Any, TypeAlias

import requests
import streamlit as st

from argo_alpine.domain import Refused, Unavailable

Json: TypeAlias = Any
Query: TypeAlias = tuple[tuple[str, str], ...]

ALPINE, ARGO = "Alpine", "Argo"
PLACES: Mapping[str, tuple[str, str]] = {
    ALPINE: ("ARGO_DASHBOARD__ALPINE_URL", "http://127.0.0.1:9001"),
    ARGO: ("ARGO_DASHBOARD__ARGO_URL", "http://127.0.0.1:8000"),
}
START: Mapping[str, tuple[str, ...]] = {
    ALPINE: ("argo-alpine up", "argo-alpine alpine"),
    ARGO: ("argo-alpine up", "argo-alpine argo --sandbox"),
}
TIMEOUT = (3.0, 10.0)  # seconds to connect, and between two bytes
LARGEST = 40 * 2**20  # bytes of a page


class Down(Unavailable):
    """A service does not answer, or not as agreed."""

    def __init__(self, service: str, why: str) -> None:
        super().__init__(why)
        self.service = service


class SignedOut(Refused):
    """The token is not, or no longer, worth anything."""

    def __init__(self, said: str) -> None:
        super().__init__("Your session has ended: sign in again.")
        self.said = said


class Declined(Refused):
    """The service says no, and why."""


def address(service: str) -> str:
    """Where a service listens."""
    name, usual = PLACES[service]
    return os.environ.get(name, usual).rstrip("/")


# Asking


def ask(
    service: str,
    method: str,
    path: str,
    token: str = "",
    query: Query = (),
    body: Json = None,
    healthy: bool = True,  # False: a 503 is an answer too
) -> requests.Response:
    """A sound reply. *Raises* `Down`, `SignedOut`, `Declined`."""
    url = address(service)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with requests.Session() as session:
            # a proxy has nothing to say on the way to this machine
            session.trust_env = "127.0.0.1" not in url and "localhost" not in url
            reply = session.request(
                method, url + path, params=query, json=body, headers=headers, timeout=TIMEOUT,
                allow_redirects=False,
            )  # fmt: skip
    except requests.Timeout as error:
        raise Down(service, f"{service} at {url} takes too long to answer.") from error
    except requests.RequestException as error:
        raise Down(service, f"{service} does not answer at {url}.") from error
    return judged(service, reply, bool(token), healthy)


def judged(service: str, reply: requests.Response, known: bool, healthy: bool) -> requests.Response:
    """A reply that can be used. *Raises* `Down`, `SignedOut`, `Declined`."""
    status = reply.status_code
    if 200 <= status < 300 or (status == 503 and not healthy):
        return reply
    if status == 401 and known:
        raise SignedOut(said(reply))
    if status == 429:
        raise Declined(f"{said(reply) or 'Too many attempts.'} Try again {pause(reply)}.")
    if 400 <= status < 500:
        raise Declined(said(reply) or f"{service} refuses this ({status}).")
    words = said(reply)
    raise Down(service, f"{service} cannot answer now. {words or f'It replied with {status}.'}")


def pause(reply: requests.Response) -> str:
    """When to try again."""
    seconds = reply.headers.get("Retry-After", "")
    return f"in {seconds} seconds" if seconds.isdecimal() else "later"


def said(reply: requests.Response) -> str:
    """Why a service says no: in its own words, and under which id its log has more."""
    try:
        body = reply.json()
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    detail, name = body.get("detail", ""), body.get("id")
    if isinstance(detail, list):  # a request that does not fit the schema
        detail = "; ".join(fault(item) for item in detail)
    text = f"{detail} ({name})" if name and reply.status_code >= 500 else str(detail)
    return sentence(text)


def sentence(text: str) -> str:
    """Words that begin and end like a sentence."""
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def fault(item: Json) -> str:
    """One thing that is wrong with a request."""
    if not isinstance(item, dict):
        return str(item)
    field = [str(part) for part in item.get("loc", ()) if part not in ("body", "query")]
    return f"{'.'.join(field)}: {item.get('msg', '')}" if field else str(item.get("msg", ""))


def told(service: str, reply: requests.Response, needs: tuple[str, ...] = ()) -> Json:
    """The JSON in a reply: a list, or an object with these keys. *Raises* `Down`."""
    try:
        body = reply.json()
    except ValueError as error:
        raise Down(service, f"What answers at {address(service)} is not {service}.") from error
    is_ours = isinstance(body, dict) if needs else isinstance(body, list)
    if is_ours and all(name in body for name in needs):
        return body
    raise Down(service, f"What answers at {address(service)} is not {service}, or another version.")


@st.cache_data(ttl=2, max_entries=256, show_spinner=False)
def read(
    url: str,  # beside the service, so that an answer is never taken for another's
    service: str,
    path: str,
    token: str = "",
    query: Query = (),
    needs: tuple[str, ...] = (),
    healthy: bool = True,
) -> Json:
    """An answer, kept for two seconds: readers of one page ask once."""
    return told(service, ask(service, "GET", path, token, query, None, healthy), needs)


def alpine(path: str, token: str, *needs: str, **query: object) -> Json:
    """What Alpine answers a subscriber."""
    return read(address(ALPINE), ALPINE, path, token, chosen(query), needs)


def argo(path: str, *needs: str, **query: object) -> Json:
    """What Argo answers the operator."""
    return read(address(ARGO), ARGO, path, "", chosen(query), needs)


def chosen(query: Mapping[str, object]) -> Query:
    """What is asked for, without what is not."""
    return tuple((name, str(value)) for name, value in query.items() if value is not None)


def sandbox(service: str) -> bool | None:
    """Whether all this is simulated; None when nobody says."""
    needs = ("sources",) if service == ALPINE else ("sandbox",)
    try:
        health = read(address(service), service, "/health", "", (), needs, False)
    except (Unavailable, Refused):
        return None  # the page below says so, in words
    if service == ARGO:
        return bool(health["sandbox"])
    if not health["sources"]:
        return None
    ages = [(one.get("age_seconds"), one.get("sandbox")) for one in health["sources"]]
    return bool(min(ages, key=lambda one: one[0] if one[0] is not None else math.inf)[1])


# Subscribers, at Alpine


def login(email: str, password: str) -> Json:
    """A token for an account."""
    body = {"email": email, "password": password}
    reply = ask(ALPINE, "POST", "/api/auth/login", body=body)
    return told(ALPINE, reply, ("token", "email", "plan"))


def signup(email: str, password: str) -> str:
    """Ask for an account; the answer is the same whoever asks."""
    body = {"email": email, "password": password}
    reply = ask(ALPINE, "POST", "/api/auth/signup", body=body)
    return str(told(ALPINE, reply, ("detail",))["detail"])


def logout(token: str) -> None:
    """Forget a token, there too."""
    ask(ALPINE, "POST", "/api/auth/logout", token)


def account(token: str) -> Json:
    """Who reads, and what the plan allows."""
    return alpine("/api/account", token, "email", "plan")


def change_zone(token: str, zone: str) -> None:
    """Set the account's time zone."""
    ask(ALPINE, "PATCH", "/api/account", token, body={"zone": zone})
    read.clear()


def change_password(token: str, old: str, new: str) -> None:
    """Set another password; every token of the account ends with it."""
    try:
        ask(ALPINE, "POST", "/api/auth/password", token, body={"old": old, "new": new})
    except SignedOut as error:  # Alpine answers a wrong password so, too
        raise Declined(error.said) from error


def subscribed(token: str) -> Json:
    """The last signals that the plan allows."""
    return alpine("/api/signals/subscribed", token, "items")


def export(token: str) -> bytes:
    """All of them, as CSV."""
    return page(ask(ALPINE, "GET", "/api/signals/export", token)).encode()


def performance(token: str) -> Json:
    """Equity and trades."""
    return alpine("/api/performance", token, "equity", "trades")


def start_backtest(token: str, parameters: Mapping[str, Json]) -> str:
    """Ask for a backtest; the id under which it is found."""
    reply = ask(ALPINE, "POST", "/api/backtests", token, body=dict(parameters))
    read.clear()
    return str(told(ALPINE, reply, ("id",))["id"])


def backtests(token: str) -> list[Json]:
    """The backtests asked for."""
    return listed(ALPINE, "/api/backtests", token)


def reports(token: str) -> list[Json]:
    """The reports there are."""
    return listed(ALPINE, "/api/reports", token)


def listed(service: str, path: str, token: str) -> list[Json]:
    """A list, whether it comes alone or as `items`."""
    body = ask(service, "GET", path, token)
    try:
        found = body.json()
    except ValueError:
        found = None
    items = found.get("items") if isinstance(found, dict) else found
    if not isinstance(items, list):
        raise Down(service, f"What answers at {address(service)} is not {service}.")
    return items


def report(path: str, token: str) -> str:
    """A rendered report."""
    return rendered(address(ALPINE), path, token)


@st.cache_data(ttl=60, max_entries=8, show_spinner="Fetching the report")
def rendered(url: str, path: str, token: str) -> str:
    """A page of HTML, kept for a minute."""
    return page(ask(ALPINE, "GET", path, token))


def page(reply: requests.Response) -> str:
    """A text of bearable size. *Raises* `Declined`."""
    if len(reply.content) > LARGEST:
        raise Declined(f"This page is larger than {LARGEST // 2**20} MB: ask the operator for it.")
    return reply.content.decode("utf-8", "replace")


# The operator, at Argo


def health() -> Json:
    """How Argo is doing; it says so itself when it is down."""
    needs = ("status", "problems", "sources", "mode")
    return read(address(ARGO), ARGO, "/health", "", (), needs, False)


def decisions(limit: int = 40) -> list[Json]:
    """What became of each symbol, and why not."""
    found: list[Json] = argo("/api/decisions", limit=limit)
    return found


def positions() -> Json:
    """What is held, and what is on its way."""
    return argo("/api/positions", "positions", "orders")


def book() -> Json:
    """What the broker says we have."""
    return argo("/api/account", "equity", "mode")


def checkpoint() -> Json:
    """How far the journal goes."""
    return argo("/api/log/checkpoint", "seq", "id")


def sources() -> list[Json]:
    """What each source says now, and how it is doing."""
    found: list[Json] = argo("/api/sources")
    return found
