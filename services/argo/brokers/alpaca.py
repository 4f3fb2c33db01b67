"""Alpaca as a `Broker`: each order sent at most once a call, each failure named by its remedy."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from alpaca.common.enums import Sort
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import QueryOrderStatus
from alpaca.trading.requests import GetOrdersRequest, OrderRequest
from requests import RequestException
from urllib3.exceptions import HTTPError

from argo_alpine.domain import (
    InvalidSettings,
    Order,
    RefusedOrder,
    UnavailableBroker,
    UnknownOutcome,
)
from services.argo.brokers import alpaca_words as words
from services.argo.brokers.alpaca_http import Problem, problem, trading_client, unsent
from services.argo.brokers.alpaca_orders import difference, flaw, host, request_for
from services.argo.brokers.alpaca_stream import Updates
from services.argo.brokers.governor import Governor
from services.argo.brokers.limiter import Limiter, Share
from services.argo.ports import BrokerAccount, BrokerOrder, BrokerPosition, OrderState

PAPER = "paper-api.alpaca.markets"
PAGE = 500  # the most Alpaca gives at once
INSTANT = timedelta(microseconds=1)  # Alpaca's `after` excludes the time it names

# What may come out of a call once it has begun: a broken line, a broken body, broken JSON
BROKEN = (RequestException, HTTPError, ValueError, RecursionError, OSError)


class AlpacaBroker:
    """A `Broker` over an unmodified alpaca-py client; keeps no book, only what it has sent."""

    def __init__(
        self,
        *,
        key: str,
        secret: str,
        base_url: str,
        stream_url: str,
        limiter: Limiter,
        governor: Governor | None = None,
        live_allowed: bool = False,
    ) -> None:
        if not all(part and part.isascii() and part.isprintable() for part in (key, secret)):
            raise InvalidSettings("Alpaca's key and secret must both be given, in plain ASCII")
        rest = host(base_url, {"https": "https", "http": "https"})
        stream = host(stream_url, {"wss": "wss", "ws": "wss"})
        if rest != stream:
            raise InvalidSettings(f"base_url and stream_url name two brokers: {rest}, {stream}")
        if rest not in ("", PAPER) and not live_allowed:
            raise InvalidSettings(
                f"{rest} trades real money and live trading is not unlocked: use {PAPER}"
            )
        self.base_url, self.stream_url = base_url.rstrip("/"), stream_url
        self.is_loopback = not rest
        self.limiter, self.governor = limiter, governor
        self._secrets = (key, secret)
        self._local = threading.local()  # a session of `requests` belongs to one thread
        self._sent: set[str] = set()  # ids that left, unless certainly refused

    def __repr__(self) -> str:
        return f"AlpacaBroker({urlsplit(self.base_url).hostname})"

    def account(self) -> BrokerAccount:
        """What we have. *Raises* `UnavailableBroker`."""
        with self._scrubbing():
            return words.account(self._ask(TradingClient.get_account))

    def clock(self) -> datetime:
        """The broker's time, UTC. *Raises* `UnavailableBroker`."""
        with self._scrubbing():
            said = words.mapping(self._ask(TradingClient.get_clock), "the clock")
            return words.time(said, "timestamp")

    def positions(self) -> Mapping[str, BrokerPosition]:
        """All that is held, by symbol. *Raises* `UnavailableBroker`."""
        with self._scrubbing():
            return words.positions(self._ask(TradingClient.get_all_positions))

    def orders(self, since: datetime) -> Sequence[BrokerOrder]:
        """Open orders and those placed since, legs nested. *Raises* `UnavailableBroker`."""
        with self._scrubbing():
            raws = self._pages(QueryOrderStatus.OPEN, None)
            raws += self._pages(QueryOrderStatus.ALL, since - INSTANT)
            return words.merged(words.order(raw) for raw in raws)

    def find(self, client_id: str) -> BrokerOrder | None:
        """One order of ours, legs nested; None: no such order. *Raises* `UnavailableBroker`."""
        with self._scrubbing():
            return self._find(client_id, Share.ROUTINE)

    def submit(self, order: Order) -> BrokerOrder:
        """Place an entry as a bracket, a close at the market, or a pair of exits; one attempt.

        *Raises* `RefusedOrder` (certainly not placed), `UnavailableBroker` (nothing left this
        machine) and `UnknownOutcome` (perhaps placed).
        """
        with self._scrubbing():
            before = order.id in self._sent
            try:
                request = request_for(order)
                if self.governor:
                    self.governor.admit(order)
                return self._post(order, request)
            except (RefusedOrder, UnavailableBroker) as error:
                if before:  # this attempt failed, an earlier one may not have
                    raise UnknownOutcome(f"{order.id}: sent before, and now: {error}") from error
                self._sent.discard(order.id)
                raise

    def cancel(self, broker_id: str) -> None:
        """Ask for an end; too late is no error. *Raises* `UnavailableBroker`."""
        with self._scrubbing():
            self._cancel(broker_id)

    def listen(
        self, on_order: Callable[[BrokerOrder], None], on_gap: Callable[[], None]
    ) -> Callable[[], None]:
        """Hear of changes from a thread of its own; the answer ends it within 2 s."""
        return Updates(*self._secrets, self.stream_url, on_order, on_gap).start()

    def _post(self, order: Order, request: OrderRequest) -> BrokerOrder:
        share = Share.ENTRY if order.leg == "entry" else Share.EXIT
        self.limiter.take(share)
        self._sent.add(order.id)
        try:
            raw = self._attempt(lambda client: client.submit_order(request))
        except APIError as error:
            said = self._problem(error)
            if said.is_duplicate:
                return self._existing(order, share)
            if said.is_refusal:
                raise RefusedOrder(f"{order.symbol} {order.id}: {said}") from None
            raise UnknownOutcome(f"{order.symbol} {order.id}: {said}") from None
        return self._guarded(order, self._ours(order, raw))

    def _ours(self, order: Order, raw: object) -> BrokerOrder:
        """The order in a reply, if it is the one we meant. *Raises* `UnknownOutcome`."""
        try:
            placed = words.order(raw)
            differs = difference(order, raw, placed)
        except UnavailableBroker as error:
            raise UnknownOutcome(f"{order.symbol} {order.id}: {error}") from error
        if differs:
            raise UnknownOutcome(f"{order.id} names another order, a person must look: {differs}")
        return placed

    def _existing(self, order: Order, share: Share) -> BrokerOrder:
        """The order that has our id already. *Raises* `UnknownOutcome`."""
        try:
            raw = self._look(order.id, share if share is Share.EXIT else Share.ROUTINE)
        except UnavailableBroker as error:
            raise UnknownOutcome(f"{order.id} exists but cannot be read: {error}") from error
        if raw is None:
            raise UnknownOutcome(f"{order.id} exists, says the broker, but does not show it yet")
        found = self._ours(order, raw)
        # legs of an entry that was filled may have been filled, replaced or canceled since
        return self._guarded(order, found) if found.state is OrderState.OPEN else found

    def _guarded(self, order: Order, placed: BrokerOrder) -> BrokerOrder:
        """An entry whose legs are as ordered; one whose legs are not is taken back."""
        ended = placed.state.is_final and placed.state is not OrderState.FILLED
        wrong = "" if order.leg in ("close", "flatten") or ended else flaw(order, placed)
        if not wrong:
            return placed
        try:
            self._cancel(placed.id)
            now = self._find(order.id, Share.EXIT)
        except UnavailableBroker as error:
            raise UnknownOutcome(f"{order.id} has {wrong}; not canceled: {error}") from error
        if now and all(each.state.is_final and not each.filled for each in (now, *now.legs)):
            raise RefusedOrder(f"{order.symbol} {order.id} had {wrong}: canceled, nothing filled")
        raise UnknownOutcome(f"{order.id} has {wrong}; canceling it is not confirmed: protect it")

    def _cancel(self, broker_id: str) -> None:
        if not broker_id:  # without an id the same call would cancel every order there is
            raise UnavailableBroker("an order without the broker's id cannot be canceled")
        path = f"/orders/{quote(broker_id, safe='')}"
        try:
            self._call(lambda client: client.delete(path), Share.EXIT)
        except UnknownOutcome as error:
            raise UnavailableBroker(f"whether {broker_id} will end is unknown: {error}") from error
        except APIError as error:
            said = self._problem(error)
            if not said.is_too_late:
                raise UnavailableBroker(f"{broker_id} is not canceled: {said}") from None

    def _find(self, client_id: str, share: Share) -> BrokerOrder | None:
        raw = self._look(client_id, share)
        return None if raw is None else words.order(raw)

    def _look(self, client_id: str, share: Share) -> object | None:
        """An order of ours as Alpaca has it, with its legs. *Raises* `UnavailableBroker`."""
        try:
            raw = self._call(lambda client: client.get_order_by_client_id(client_id), share)
        except UnknownOutcome as error:
            raise UnavailableBroker(str(error)) from error
        except APIError as error:
            said = self._problem(error)
            if said.is_absent:
                return None
            raise UnavailableBroker(f"{client_id} cannot be looked up: {said}") from None
        fields = words.mapping(raw, "an order")
        if fields.get("client_order_id") != client_id:
            raise words.unreadable(f"the order must be {client_id}", fields.get("client_order_id"))
        if not words.grouped(fields) or fields.get("legs"):
            return fields
        path = f"/orders/{quote(words.text(fields, 'id'), safe='')}"  # only this one nests
        return self._ask(lambda client: client.get(path, {"nested": True}), share)

    def _pages(self, status: QueryOrderStatus, after: datetime | None) -> list[Any]:
        """All orders of a status placed since, oldest first. *Raises* `UnavailableBroker`."""
        found: list[Any] = []
        seen: set[str] = set()
        while True:
            page = self._page(status, after)
            found += page
            fresh = {words.text(raw, "id") for raw in page} - seen
            # a server may count legs before it nests them
            if sum(1 + len(raw.get("legs") or ()) for raw in page) < PAGE:
                return found
            if not fresh:
                raise UnavailableBroker(f"{len(page)} orders share one instant: cannot page on")
            seen |= fresh
            last = max(words.time(raw, "submitted_at", "created_at") for raw in page)
            after = last - INSTANT  # orders may tie

    def _page(self, status: QueryOrderStatus, after: datetime | None) -> list[Mapping[str, Any]]:
        request = GetOrdersRequest(
            status=status, limit=PAGE, after=after, direction=Sort.ASC, nested=True
        )
        raws = words.listing(self._ask(lambda client: client.get_orders(request)), "orders")
        return [words.mapping(raw, "an order") for raw in raws]

    def _ask(
        self, question: Callable[[TradingClient], object], share: Share = Share.ROUTINE
    ) -> object:
        """The answer to a question. *Raises* `UnavailableBroker`."""
        try:
            return self._call(question, share)
        except APIError as error:
            raise UnavailableBroker(f"Alpaca did not answer: {self._problem(error)}") from None
        except UnknownOutcome as error:
            raise UnavailableBroker(str(error)) from error

    def _call(self, question: Callable[[TradingClient], object], share: Share) -> object:
        self.limiter.take(share)
        return self._attempt(question)

    def _attempt(self, question: Callable[[TradingClient], object]) -> object:
        """One attempt. *Raises* `APIError` when Alpaca says no, else how the line broke."""
        try:
            return question(self._client())
        except BROKEN as error:
            said = f"{type(error).__name__}: {error}"[:300]
            if unsent(error):
                raise UnavailableBroker(f"Alpaca cannot be reached: {said}") from None
            raise UnknownOutcome(f"the line to Alpaca broke: {said}") from None

    def _client(self) -> TradingClient:
        client = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = trading_client(*self._secrets, self.base_url)
        return client

    def _problem(self, error: APIError) -> Problem:
        said = problem(error)
        if said.status == 429:
            self.limiter.exhaust()
        return said

    @contextmanager
    def _scrubbing(self) -> Iterator[None]:
        """Let no error out that has a key or a secret in it."""
        try:
            yield
        except (RefusedOrder, UnavailableBroker, UnknownOutcome) as error:
            said = str(error)
            clean = words.scrubbed(said, self._secrets)
            if clean == said:
                raise
            raise type(error)(clean) from None
