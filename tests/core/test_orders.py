"""What an order sets aside, what risk may know of a wish, and what becomes of one that waits."""

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from argo_alpine.domain import Bar, Consensus, Direction, Position, Quote, Reading, Session, Signal
from argo_alpine.engine import Policy, caught_up, decide, reflect
from argo_alpine.moments import Account, Moment, Portfolio
from argo_alpine.orders import (
    closes_of,
    committed,
    entries_of,
    is_answer,
    leaving,
    of_account,
    order_of,
    snapshot,
)
from argo_alpine.risk import RiskPolicy

HOUR = timedelta(hours=1)
NOW = datetime(2024, 3, 1, 15, tzinfo=UTC)
SESSION = Session(date(2024, 3, 1), NOW - HOUR / 2, NOW + 6 * HOUR)
BASE = Policy()
EASY = replace(BASE, consensus=replace(BASE.consensus, threshold=50.01, quorum=1.0))
RISEN = {"close": 11.0, "sma": 9.0, "atr": 0.3, "high": 11.0, "low": 9.0, "flow": 1.0}


def a_signal(symbol="A", side=1, price=10.0):
    opinion = Consensus(Direction(side), 80.0, 1.0, NOW, ())
    stop, target = price * (1 - 0.1 * side), price * (1 + 0.1 * side)
    return Signal(
        f"s{symbol}",
        symbol,
        Direction(side),
        80.0,
        NOW,
        price,
        stop,
        target,
        5.0,
        NOW + 6 * HOUR,
        opinion,
    )


def a_position(symbol, quantity, price=10.0):
    return Position(symbol, quantity, price, math.nan, math.nan, NOW, 0.0)


def a_book(pending=(), **held):
    positions = {symbol: a_position(symbol, quantity) for symbol, quantity in held.items()}
    return Portfolio(1e5, positions, pending)


def a_moment(**known):
    return Moment(**{"at": NOW, "session": SESSION, "account": Account(1e5, 1e5)} | known)


def quotes(**prices):
    return tuple(Quote(symbol, NOW, price) for symbol, price in prices.items())


def said_by(source, at=NOW, until=NOW + HOUR, **values):
    return Reading(source, "A", at, until, values)


def a_close(at=NOW):
    "A moment at which a bar of A is complete, and Massive is sure that it rises."
    bar = Bar("A", at, 10.0, 11.0, 9.0, 11.0, 1e6)
    return a_moment(at=at, bars=(bar,), readings=(said_by("massive", at, at + HOUR, **RISEN),))


def test_an_order_that_closes_is_no_holding_to_come():
    order = order_of(a_signal(), -10, "close", NOW)
    book = replace(a_book(A=10.0), working={"A": order})
    assert committed(book, "A") == 10.0
    assert entries_of(book, [order]) == []


def test_an_entry_is_not_counted_among_the_closes_of_its_signal():
    signal = a_signal()
    entry, close = (order_of(signal, 5, leg, NOW) for leg in ("entry", "close"))
    assert closes_of(a_book(), [signal], [entry]) == {}
    assert closes_of(a_book(), [signal], [entry, close]) == {signal.id: 1}


def test_debt_is_an_answer_and_nothing_is_none():
    assert is_answer(Account(-5.0, 0.0))
    assert not is_answer(Account(0.0, 0.0)) and not is_answer(Account(math.nan, 0.0))


def test_a_holding_without_a_quote_counts_at_what_was_paid():
    seen = of_account(1, a_moment(quotes=quotes(A=12.0)), a_book(A=10.0, B=-4.0), (), RiskPolicy())
    assert (seen["gross"], seen["net"]) == (160.0, 80.0)


def test_what_is_frozen_is_not_allowed_and_a_group_counts_what_is_held():
    limits, book = RiskPolicy(groups={"A": "g", "B": "g"}), a_book(B=4.0)
    frozen, free = (
        snapshot(a_signal(), a_moment(quotes=quotes(A=10.0), frozen=names), book, (), limits)
        for names in (("A",), ())
    )
    assert (frozen.group, frozen.is_allowed) == (1, False)
    assert (free.group, free.is_allowed) == (1, True)


def test_each_side_counts_its_own_holdings_as_leaving():
    pending = (a_signal("A", -1), a_signal("B", 1), a_signal("C", 1))
    book, limits = a_book(pending, A=10.0, B=-4.0, C=7.0), RiskPolicy(net_pct=50.0)
    prices = {"A": 12.0, "B": 20.0, "C": 5.0}
    assert leaving(1, book, prices, limits) == 120.0  # C is wished for again, and stays
    assert leaving(-1, book, prices, limits) == 80.0
    assert leaving(1, book, prices, RiskPolicy()) == 0.0  # the net limit says nothing


def test_what_leaves_on_the_other_side_is_not_counted_on_against_a_net_limit():
    pending, limits = (a_signal("A", -1), a_signal("B", 1)), RiskPolicy(net_pct=50.0)
    book, moment = a_book(pending, A=10.0, B=-4.0), a_moment(quotes=quotes(A=12.0, B=20.0))
    net = {side: of_account(side, moment, book, (), limits)["net"] for side in (1, -1)}
    assert net == {1: 120.0, -1: -80.0}


old = NOW - timedelta(days=2)
MOOD = said_by("x_sentiment", score=1.0, authors=5.0, atr=0.3)
CLAIM = said_by("sonar", direction=1.0, confidence=99.0, atr=0.3)
EXPIRED = said_by("massive", old, old + HOUR, **RISEN)


@pytest.mark.parametrize("readings", [(MOOD, CLAIM), (MOOD, CLAIM, EXPIRED)])
def test_a_range_is_massives_and_fresh(readings):
    bar = Bar("A", NOW, 10.0, 11.0, 9.0, 10.0, 1e6)
    why, _, signals = reflect(a_moment(bars=(bar,), readings=readings), a_book(), EASY)
    assert (why["A"], signals) == ("no_price", ())


def test_a_symbol_without_a_bar_has_an_opinion_and_no_signal():
    why, opinions, signals = reflect(a_moment(readings=(MOOD, CLAIM)), a_book(), EASY)
    assert (why["A"], opinions["A"].direction, signals) == ("no_price", Direction.LONG, ())


def test_a_day_ends_at_midnight_in_new_york():
    book = replace(a_book(), equity=1e5, opening=9e4, day=date(2024, 3, 1), peak=1e5)
    midnight = datetime(2024, 3, 2, 5, tzinfo=UTC)
    ends = {}
    for at in (midnight - HOUR, midnight, midnight + HOUR):
        after, _ = caught_up(a_moment(at=at), book, BASE)
        ends[at - midnight] = (after.day.day, after.opening)
    assert ends == {-HOUR: (1, 9e4), 0 * HOUR: (1, 9e4), HOUR: (2, 1e5)}


def test_a_fresh_bar_renews_the_signal_that_waits():
    first = decide(a_close(), a_book(), EASY)
    shut = replace(first.portfolio, working={"A": order_of(first.signals[0], 5, "close", NOW)})
    second = decide(a_close(NOW + HOUR), shut, EASY)
    assert len(first.signals) == len(second.signals) == 1
    assert second.portfolio.pending == second.signals != first.signals


def test_an_account_that_is_not_known_keeps_the_signal():
    signal = a_signal()
    moment = a_moment(account=Account(math.nan, math.nan), quotes=quotes(A=10.0))
    told = decide(moment, a_book((signal,)), BASE)
    assert told.why == {"A": "no_account"}
    assert told.portfolio.pending == (signal,) and told.orders == told.refusals == ()
