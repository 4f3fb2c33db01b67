"""As many shares as the money buys, and not one part more."""

import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_alpine.domain import InvalidPolicy
from argo_alpine.engine import Policy
from argo_alpine.knobs import numbers
from argo_alpine.records import canonical, parsed, plain
from argo_alpine.sizing import SizingPolicy, needs_atr, quotable, shares, whole

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
