from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_alpine.backtest import backtest
from argo_alpine.costs import FillPolicy
from argo_alpine.domain import Consensus, Direction, Fill, Order, Signal
from argo_alpine.engine import Policy
from argo_alpine.moments import Portfolio
from argo_alpine.portfolio import booked, settle
from argo_alpine.risk import RiskPolicy
from tests.test_parity import QUICK, a_market, market_costs, some_readings

NOW = datetime(2024, 3, 1, 15, tzinfo=UTC)
prices = st.integers(100, 50_000).map(lambda cents: cents / 100)
fills = st.lists(
    st.tuples(st.sampled_from(["A", "B"]), st.integers(-50, 50).filter(bool), prices), max_size=30
)


def book_all(sequence, fee=1.0):
    """Book fills one after the other; one that passes through zero is split, as a broker does."""
    portfolio, trades, paid = Portfolio(cash=10_000.0, positions={}), [], []
    for i, (symbol, quantity, price) in enumerate(sequence):
        held = portfolio.positions[symbol].quantity if symbol in portfolio.positions else 0
        crosses = held * quantity < 0 and abs(quantity) > abs(held)
        parts = [-held, quantity + held] if crosses else [quantity]
        for part in parts:
            fill = Fill(symbol, float(part), price, fee, NOW + timedelta(minutes=i), "entry")
            portfolio, trade = booked(portfolio, fill)
            trades += [trade] if trade else []
            paid.append(fee)
    return portfolio, trades, paid


@given(fills)
def test_no_sequence_of_fills_makes_or_loses_money(sequence):
    portfolio, trades, paid = book_all(sequence)
    last = {symbol: price for symbol, _, price in sequence}
    worth = portfolio.cash + sum(p.quantity * last[s] for s, p in portfolio.positions.items())
    open_gain = sum(
        p.quantity * (last[s] - p.price) - p.fees for s, p in portfolio.positions.items()
    )
    assert abs(worth - 10_000.0 - sum(t.pnl for t in trades) - open_gain) < 1e-6
    assert abs(sum(t.fees for t in trades) + sum(
        p.fees for p in portfolio.positions.values()) - sum(paid)) < 1e-9  # fmt: skip


@given(fills)
def test_positions_are_the_sum_of_fills(sequence):
    portfolio, _, _ = book_all(sequence)
    for symbol in ("A", "B"):
        total = sum(quantity for name, quantity, _ in sequence if name == symbol)
        position = portfolio.positions.get(symbol)
        assert (position.quantity if position else 0) == total


@given(st.integers(1, 1000), prices, prices)
def test_a_short_earns_exactly_what_a_long_loses(quantity, bought, sold):
    _, _, long = settle(float(quantity), bought, -float(quantity), sold)
    _, _, short = settle(-float(quantity), bought, float(quantity), sold)
    assert long == -short
    exact = quantity * (Fraction(sold) - Fraction(bought))
    assert abs(Fraction(long) - exact) < Fraction(1, 10**6)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.04]), market_costs)
def test_a_backtest_conserves_cash_and_positions(seed, wildness, costs):
    bars = a_market(seed, 60, ("A", "B", "C"), wildness)
    policy = Policy(indicators=QUICK, risk=RiskPolicy(drawdown_pct=90.0))
    run = backtest(bars, policy, costs, some_readings(seed, bars), keep_log=True)
    open_fees = run.paid["fees"] - run.trades["fees"].sum()
    earned = run.trades["pnl"].sum() + run.holdings["unrealised"].sum()
    left = run.equity[-1] - 100_000.0 - earned + run.paid["borrow"] + open_fees
    assert abs(left) < 0.005


def missing(run, profits):
    """Money that the account holds and nobody earned, or the other way round."""
    earned = profits.sum() + run.holdings["unrealised"].sum() - run.paid["borrow"]
    return abs(run.equity[-1] - 100_000.0 - earned)


def test_a_sign_error_would_be_noticed():
    """Positive control: the account does not come out when the profits of shorts change sign."""
    bars = a_market(3, 250, ("A", "B", "C"), 0.02)
    run = backtest(bars, Policy(indicators=QUICK), FillPolicy(), some_readings(3, bars))
    shorts = run.trades["direction"] == "SHORT"
    assert shorts.any()
    right = run.trades["pnl"]
    assert missing(run, right) < 0.005
    assert missing(run, right.where(~shorts, -right)) > 1.0


def a_fill(quantity, minutes, why="entry", **more):
    return Fill("A", quantity, 10.0, 1.0, NOW + timedelta(minutes=minutes), why, **more)


def a_signal(stop, target):
    opinion = Consensus(Direction.LONG, 80.0, 1.0, NOW, ())
    return Signal("s", "A", Direction.LONG, 80.0, NOW, 10.0, stop, target, 5.0, NOW, opinion)


@pytest.mark.parametrize("side", [1, -1])
def test_a_trade_says_which_way_how_many_and_when(side):
    book, trades = Portfolio(cash=1e4, positions={}), []
    for minutes, (quantity, why) in enumerate(
        [(6.0, "entry"), (4.0, "entry"), (-4.0, "stop"), (-6.0, "close")]
    ):
        book, trade = booked(book, a_fill(quantity * side, minutes, why))
        trades += [trade] if trade else []
    assert [t.direction for t in trades] == [Direction(side)] * 2
    assert [(t.quantity, t.why) for t in trades] == [(4.0, "stop"), (6.0, "close")]
    assert {t.opened for t in trades} == {NOW}
    assert [t.closed for t in trades] == [NOW + timedelta(minutes=m) for m in (2, 3)]


def test_legs_stand_where_the_last_signal_put_them():
    book, seen = Portfolio(cash=1e4, positions={}), []
    for minutes, signal in enumerate([a_signal(9.0, 12.0), None, a_signal(9.5, 11.0)]):
        book, _ = booked(book, a_fill(5.0, minutes, signal=signal))
        seen.append((book.positions["A"].stop, book.positions["A"].target))
    assert seen == [(9.0, 12.0), (9.0, 12.0), (9.5, 11.0)]


def test_an_order_at_work_shrinks_by_its_own_fills_only():
    order = Order("o", "A", 10, NOW, "entry", a_signal(9.0, 12.0))
    book = Portfolio(cash=1e4, positions={}, working={"A": order})
    after, _ = booked(book, a_fill(4.0, 0, order="other"))
    assert after.working == {"A": order}
    after, _ = booked(book, a_fill(4.0, 0, order="o"))
    assert after.working == {"A": replace(order, quantity=6)}
    after, _ = booked(after, a_fill(6.0, 1, order="o"))
    assert not after.working
