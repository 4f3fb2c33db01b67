"""As many shares as the money buys, and not one part more."""

import json
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_alpine.backtest import backtest
from argo_alpine.bars import Bars
from argo_alpine.costs import FillPolicy
from argo_alpine.domain import InvalidPolicy
from argo_alpine.engine import Policy
from argo_alpine.knobs import numbers
from argo_alpine.records import canonical, parsed, plain
from argo_alpine.risk import RiskPolicy, Snapshot, price_reasons
from argo_alpine.sessions import hours
from argo_alpine.sizing import SizingPolicy, needs_atr, quotable, shares, to_tick, whole

cents = st.integers(1, 10_000_000).map(lambda c: c / 100)
PARTS = (1.0, 0.5, 0.01, 0.001)


@given(st.floats(0.1, 100), cents, cents, st.sampled_from(PARTS))
def test_the_money_is_not_exceeded_and_one_part_more_would_exceed_it(percent, equity, price, part):
    money, one = equity * percent / 100.0, price * part
    count = round(shares(percent, equity, price, 1e18, part) / part)
    assert count * one <= money or count == 0
    assert (count + 1) * one > money * (1 - 1e-15)


@pytest.mark.parametrize(
    ("percent", "equity", "price", "part", "expected"),
    [(2.0, 6_800.0, 0.4, 1.0, 340), (5.0, 100_000.0, 3.2, 0.01, 1_562.5), (100.0, 1.0, 0.1, 1, 10)],
)
def test_a_price_in_dimes_buys_what_a_person_would_count(percent, equity, price, part, expected):
    assert shares(percent, equity, price, 1e18, part) == pytest.approx(expected, rel=1e-12)


def test_less_than_the_smallest_part_is_nothing():
    assert shares(1.0, 100.0, 1.01, 1e18) == 0.0
    assert shares(1.0, 100.0, 1.0, 1e18) == 1.0
    assert shares(1.0, 100.0, 1.0, 0.99) == 0.0
    assert shares(1.0, 100.0, 0.0, 1e18) == 0.0


OLDER = "weighted-consensus-6.0-4ddf24a0fad0"
TICKS = (
    "0.0001",
    "0.005",
    "0.01",
    "0.25",
    "0.3",
    "0.03",
    "0.7",
    "1",
    "1.5",
    "2.5",
    "5",
    "0.015625",
)


@given(st.integers(1, 100_000), st.sampled_from(TICKS), st.floats(-0.49, 0.49))
def test_a_price_in_ticks_is_the_decimal_one(count, tick, off):
    exact = Decimal(count) * Decimal(tick)
    assert quotable(float(exact) + off * float(tick), float(tick)) == float(exact)


def test_a_tick_is_none_or_one_that_prices_can_have():
    assert SizingPolicy(tick=1e-9).tick == 1e-9
    for tick in (1e-10, -0.01, 1_001.0):
        with pytest.raises(InvalidPolicy, match="tick"):
            SizingPolicy(tick=tick)


def test_a_policy_without_a_tick_keeps_the_name_it_has_in_older_books():
    """Signals are named by the digest of their policy: another name, and no older book replays."""
    assert Policy().version == OLDER
    older = plain(Policy())
    assert "tick" not in older["sizing"]
    assert parsed(Policy, json.loads(canonical(older))) == Policy()
    fine = Policy(sizing=SizingPolicy(tick=0.25))
    assert fine.version != OLDER
    assert parsed(Policy, json.loads(canonical(fine))) == fine


@given(st.integers(1, 100_000), cents)
def test_shares_never_cost_more_than_the_money_to_its_last_digit(n, price):
    for money in (n * price, math.nextafter(n * price, 0.0)):
        count = shares(100.0, 1e18, price, money)
        assert count * price <= money < (count + 1) * price


def test_parts_are_counted_as_decimals():
    assert whole(0.3, 0.1) == pytest.approx(0.3, rel=1e-15)  # and not two parts
    assert whole(0.29, 0.1) == pytest.approx(0.2, rel=1e-15)
    assert whole(2.999, 1.0) == 2.0 and whole(3.0, 1.0) == 3.0


@pytest.mark.parametrize(
    ("atrs", "needed"),
    [({}, False), ({"stop_atrs": 1.5}, True), ({"target_atrs": 2.0}, True)],
)
def test_a_stop_or_a_target_in_ranges_needs_the_range(atrs, needed):
    assert needs_atr(numbers(SizingPolicy(**atrs))) is needed


@given(st.floats(-9.9, 6.0).map(lambda digits: 10.0**digits))
def test_no_price_is_moved_by_more_than_half_a_percent_to_be_quoted(price):
    assert abs(quotable(price, 0.0) - price) <= 0.0051 * price


@given(st.floats(0.0101, 1e6))
def test_from_a_cent_on_what_is_quoted_is_what_a_broker_of_stocks_takes(price):
    assert quotable(price, 0.0) == to_tick(price)


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-7, 1e-9])
def test_the_collar_is_as_wide_for_a_tiny_price(scale):
    limits = numbers(RiskPolicy(collar_pct=5.0))
    nan = float("nan")
    asked = [price_reasons(numbers(Snapshot(1, price * scale, 0.0, scale, nan, nan,
             *[0.0] * 5, 0.0, 0.0, -1, 0)), limits) for price in (1.049, 1.051)]  # fmt: skip
    assert [bool(bits) for bits in asked] == [False, True]


FREE = FillPolicy(slippage_bps=0.0, spread_bps=0.0, borrow_pct=0.0)
POLICY = Policy(risk=RiskPolicy(drawdown_pct=99.0))


@pytest.mark.parametrize("scale", [1e-4, 1e-6, 1e-8])
def test_a_market_of_tiny_prices_is_traded_like_one_of_dollars(scale):
    rows = np.random.default_rng(5).normal(0.0, 0.02, 400).cumsum()
    closes = 9.0 * np.exp(rows - rows.mean())[:, None]
    opens = np.concatenate([closes[:1], closes[:-1]])
    highs, lows = np.maximum(opens, closes) * 1.004, np.minimum(opens, closes) * 0.996
    assert lows.min() * 0.9 > 1.0 and highs.max() * 1.1 < 100.0
    at, volume = hours()[2][5000:5400], np.full(closes.shape, 1e12)

    def run(by):
        prices = (column * by for column in (opens, highs, lows, closes))
        made = backtest(Bars(("A",), at, *prices, volume, "raw"), POLICY, FREE, cash=1e9)
        return made.trades["why"].tolist(), made.equity / 1e9

    (whys, equity), (tiny_whys, tiny) = run(1.0), run(scale)
    assert len(whys) > 5 and {"stop", "target"} <= {*whys}
    assert tiny_whys == whys
    assert tiny == pytest.approx(equity, rel=1e-3)  # what is rounded is rounded less
