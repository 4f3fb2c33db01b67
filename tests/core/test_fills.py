"""What a bar may give: rules of fills as properties, and small markets worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from argo_alpine.backtest import backtest
from argo_alpine.bars import Bars
from argo_alpine.costs import FillPolicy, borrow, capped, fee, market_price, strain, usual_volume
from argo_alpine.engine import Policy
from argo_alpine.fills import (
    AT_OPEN,
    EARLIER,
    NONE,
    STOP,
    TARGET,
    UNFILLED,
    WITHIN,
    entry_at,
    entry_price,
    exit_at,
    exit_price,
    is_reached,
)
from argo_alpine.knobs import numbers
from argo_alpine.loading import Action
from argo_alpine.sizing import SizingPolicy, whole
from tests.core.test_backtest import FREE, UNLIMITED
from tests.test_parity import CLOSES, QUICK

price = st.floats(1.0, 1_000.0)
side = st.sampled_from([1, -1])
costs = st.builds(
    FillPolicy, slippage_bps=st.floats(0, 100), slippage_atrs=st.floats(0, 1),
    impact=st.floats(0, 2), spread_bps=st.floats(0, 50), fee_bps=st.floats(0, 50),
    fee_minimum=st.floats(0, 5), volume_pct=st.floats(0, 100),
    part=st.sampled_from([1.0, 0.5, 0.1, 0.001]), stop_first=st.booleans(),
    entry_bar=st.booleans(),
)  # fmt: skip


@st.composite
def bar(draw):
    """open, high, low of a bar."""
    low, open_, high = sorted(draw(st.tuples(price, price, price)))
    return open_, high, low


@given(price, st.floats(0.001, 1e6), st.floats(0, 10), st.floats(0, 1e6), costs)
def test_the_market_never_favours_us(quoted, quantity, atr, usual, how):
    knobs = numbers(how)
    buys = market_price(quoted, quantity, atr, usual, knobs)
    sells = market_price(quoted, -quantity, atr, usual, knobs)
    assert 0 <= sells <= quoted <= buys
    assert buys - quoted >= quoted - sells - 1e-9  # a sale stops at nothing, a purchase does not


@given(st.floats(0.001, 1e6), st.floats(1.0, 5.0), st.floats(0.01, 10), st.floats(1, 1e6), costs)
def test_larger_orders_never_get_better_prices(quantity, more, atr, usual, how):
    knobs = numbers(how)
    assert strain(quantity * more, atr, usual, knobs) >= strain(quantity, atr, usual, knobs)
    assert strain(quantity, np.nan, usual, knobs) == 0.0
    assert strain(quantity, atr, usual, knobs) == strain(-quantity, atr, usual, knobs)


@given(side, bar(), price, costs, st.floats(0.001, 1e4), st.floats(0, 10))
def test_a_limit_never_pays_more_than_it_says_and_only_where_the_bar_traded_through(
    side, bar, limit, how, quantity, atr
):
    open_, high, low = bar
    when, quoted = entry_at(side, open_, high, low, limit)
    through = low < limit if side > 0 else high > limit
    assert (when == UNFILLED) == (not through and side * (open_ - limit) > 0)
    if when != UNFILLED:
        paid = entry_price(when, quoted, side * quantity, limit, atr, 1e6, numbers(how))
        assert side * (paid - limit) <= 0
        assert low <= quoted <= high
    assert entry_at(side, open_, high, low, np.nan) == (AT_OPEN, open_)


@given(side, bar(), price, price, st.sampled_from([EARLIER, AT_OPEN, WITHIN]), costs)
def test_a_leg_leaves_within_its_bar_and_never_better_than_the_bar_allows(
    side, bar, one, other, entered, how
):
    open_, high, low = bar
    stop, target = sorted((one, other), reverse=side < 0)
    beyond = side * (open_ - stop) <= 0 or side * (target - open_) <= 0
    assume(entered == EARLIER or not beyond)  # else the entry was refused
    knobs = numbers(how)
    leg, quoted, _ = exit_at(side * 10.0, open_, high, low, stop, target, entered, knobs)
    if leg == NONE:
        return
    assert low <= quoted <= high
    assert is_reached(side * 10.0, high, low, stop, target)
    got = exit_price(leg, quoted, -side * 10.0, 0.0, 1e6, knobs)
    if leg == STOP:
        assert side * (got - stop) <= 1e-9  # a stop never brings more than it was set at
    else:
        assert leg == TARGET and side * (got - target) >= 0


@given(side, bar(), price, price, costs)
def test_turned_upside_down_a_bar_does_the_same_to_a_short(side, bar, one, other, how):
    """Mirror prices around 2,000: highs are lows, longs are shorts."""
    open_, high, low = bar
    stop, target = min(one, other), max(one, other)
    knobs, m = numbers(how), 2_000.0
    long = exit_at(10.0, open_, high, low, stop, target, EARLIER, knobs)
    short = exit_at(-10.0, m - open_, m - low, m - high, m - stop, m - target, EARLIER, knobs)
    ties = {open_, high, low} & {stop, target}
    assume(not ties and min(abs(a - b) for a in bar for b in (stop, target)) > 1e-6)
    assert (long[0], long[2]) == (short[0], short[2])


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.floats(0, 1e6), costs)
def test_a_cap_takes_only_what_is_left_and_never_turns_an_order_round(wanted, volume, used, how):
    got = capped(wanted, volume, used, numbers(how))
    assert abs(got) <= abs(wanted) and got * wanted >= 0
    if how.volume_pct > 0:
        assert abs(got) <= max(volume * how.volume_pct / 100 - used, 0) * (1 + 1e-12)


@given(st.floats(0.001, 1e6), price, costs)
def test_fees_are_at_least_the_minimum_and_never_below_zero(quantity, quoted, how):
    charge = fee(quantity, quoted, numbers(how))
    assert charge >= how.fee_minimum and charge == fee(-quantity, quoted, numbers(how))


@given(st.floats(0.001, 1e6), price, st.floats(0, 400))
def test_only_shorts_borrow(quantity, last, days):
    knobs = numbers(FillPolicy(borrow_pct=3.65))
    assert borrow(quantity, last, days, knobs) == 0
    owed = borrow(-quantity, last, days, knobs)
    assert owed == pytest.approx(quantity * last * days * 0.0001)


def test_usual_volume_reads_the_past_alone_and_skips_holes():
    volume = np.array([[10.0], [np.nan], [20.0], [1e9]])
    assert [usual_volume(volume, np.zeros((0, 0)), t, 0) for t in range(4)] == [
        0.0,
        10.0,
        10.0,
        15.0,
    ]


def market(*rows: str, volume: float = 1e6) -> Bars:
    """One symbol, a row a bar: open high low close."""
    o, h, lo, c = np.array([[float(x) for x in row.split()] for row in rows]).T[:, :, None]
    at = CLOSES.iloc[: len(rows)].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    volumes = np.where(np.isnan(o), np.nan, volume)
    return Bars(("A",), at.astype(np.int64), o, h, lo, c, volumes, "raw")


def obeyed(bars: Bars, targets: list[float], how: FillPolicy = FREE, size=50.0, actions=(), **legs):
    wishes = np.array(targets)[:, None]
    policy = replace(UNLIMITED, indicators=QUICK, sizing=SizingPolicy(**{
        "stop_pct": 0.0, "target_pct": 0.0, **legs}))  # fmt: skip
    sizes = np.full(wishes.shape, size)
    return backtest(bars, policy, how, targets=wishes, sizes=sizes, actions=actions)


nan = np.nan
QUIET = "100 101 99 100"


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_stop_that_the_open_jumps_over_fills_at_the_open(sign):
    after = "90 91 89 90" if sign > 0 else "110 111 109 110"
    run = obeyed(market(QUIET, QUIET, after), [sign, nan, nan], stop_pct=3.0)
    (trade,) = run.trades.itertuples()
    assert (trade.why, trade.exit) == ("stop", 90.0 if sign > 0 else 110.0)
    assert trade.pnl == pytest.approx(-10.0 * trade.quantity)


def test_a_bar_that_touches_both_legs_is_counted_and_stops_first():
    wild = "100 106 96 100"
    first, last = (obeyed(market(QUIET, QUIET, wild), [1, nan, nan], replace(FREE, stop_first=s),
                          stop_pct=3.0, target_pct=5.0) for s in (True, False))  # fmt: skip
    assert [first.trades["why"][0], last.trades["why"][0]] == ["stop", "target"]
    assert first.ambiguous == last.ambiguous == 1 and first.trades["ambiguous"].all()


def test_what_a_bar_could_not_take_of_a_stop_goes_at_the_next_open():
    bars = market(QUIET, QUIET, "97 98 90 91", "93 94 92 93", QUIET)
    volume = bars.volume.copy()
    volume[2] = 1_000.0  # of which a tenth
    run = obeyed(replace(bars, volume=volume), [1, nan, nan, nan, nan],
                 replace(FREE, volume_pct=10.0), stop_pct=3.0)  # fmt: skip
    assert list(run.trades["quantity"]) == [100.0, 400.0]
    assert list(run.trades["exit"]) == [97.0, 93.0] and set(run.trades["why"]) == {"stop"}


def test_a_dividend_is_paid_to_longs_and_by_shorts_on_shares_after_the_split():
    bars = market(QUIET, QUIET, "50 51 49 50", "50 51 49 50")
    day = bars.times[2].date()
    for sign in (1.0, -1.0):
        run = obeyed(bars, [sign, nan, nan, nan], actions=[Action("A", day, 2.0, 0.25)])
        assert run.dividends == sign * 1_000 * 0.25
        assert run.equity[-1] == pytest.approx(100_000 + sign * 250)


def test_an_uneven_split_pays_out_what_is_no_whole_share():
    bars = market(QUIET, QUIET, "40 41 39 40", "40 41 39 40")
    run = obeyed(
        bars, [1, nan, nan, nan], size=0.35, actions=[Action("A", bars.times[2].date(), 2.5)]
    )
    (odd,) = run.trades.itertuples()
    assert (odd.quantity, odd.exit, odd.why) == (0.5, 40.0, "split")
    assert run.holdings["quantity"].tolist() == [7.0]
    assert run.equity[-1] == 100_000.0


# Mistakes that were made once. Each is a market worked out by hand.


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_limit_beyond_its_stop_earns_nothing(sign):
    """Bought at 96 after the bar had fallen through 97, it cannot be sold at 97 by that fall."""
    bars = market(QUIET, QUIET, "100 104.5 95.5 100") if sign < 0 else market(
        QUIET, QUIET, "99 99.5 95 98")  # fmt: skip
    run = obeyed(bars, [nan, sign, nan], stop_pct=3.0, is_limit=True, limit_bps=400.0)
    assert (run.trades["pnl"] <= 0).all()


def test_what_entries_could_not_get_is_counted_once():
    how = replace(FREE, volume_pct=10.0)
    run = obeyed(market(QUIET, QUIET, QUIET, volume=100.0), [1, nan, nan], how)
    assert run.fills["quantity"].tolist() == [10.0]
    assert run.unfilled == 490.0


@pytest.mark.parametrize("how", [{"slippage_atrs": 0.1}, {"impact": 1.0}])
def test_slippage_on_the_day_of_a_split_is_in_new_shares(how):
    old, new = "100 102 98 100", "10 10.2 9.8 10"
    raw = market(*[old] * 30, *[new] * 10)
    volume = raw.volume.copy()
    volume[30:] *= 10
    raw = replace(raw, volume=volume)
    adjusted = market(*[new] * 40, volume=1e7)
    wishes = [nan] * 29 + [1.0] + [nan] * 10
    split = [Action("A", raw.times[30].date(), 10.0)]
    one = obeyed(raw, wishes, replace(FREE, **how), actions=split)
    two = obeyed(replace(adjusted, basis="splits"), wishes, replace(FREE, **how))
    assert one.fills["price"][0] == pytest.approx(two.fills["price"][0])


@pytest.mark.parametrize("part", [0.1, 0.01, 0.001])
def test_whole_parts_are_whole(part):
    count = np.arange(1, 10_000)
    assert all(whole(n * part, part) == n * part for n in count.tolist())


def test_a_dividend_sells_nothing():
    bars = market(*[QUIET] * 4)
    run = obeyed(bars, [1, nan, nan, nan], replace(FREE, part=0.1), size=0.4301,
                 actions=[Action("A", bars.times[2].date(), 1.0, 0.5)])  # fmt: skip
    assert len(run.fills) == 1 and run.trades.empty


@pytest.mark.parametrize(("held", "ratio", "after"), [(100, 1.15, 115.0), (110, 1.1, 121.0)])
def test_a_stock_dividend_that_comes_out_even_sells_nothing(held, ratio, after):
    bars, paid = market(*[QUIET] * 4), Action("A", CLOSES.index[2].date(), ratio)
    run = obeyed(bars, [1, nan, nan, nan], size=held / 10 + 1e-6, actions=[paid])
    assert run.fills["quantity"][0] == held
    assert run.holdings["quantity"].tolist() == [after] and run.trades.empty


def test_an_entry_is_not_called_a_close():
    run = obeyed(market(QUIET, QUIET), [1, nan])
    assert run.fills["why"].tolist() == ["entry"]


def test_when_a_bar_opened_does_not_depend_on_later_bars():
    at = np.datetime64("2019-01-02T15:00", "us").astype(np.int64) + 3_600_000_000 * np.arange(6)
    at[-1] = at[-2] + 60_000_000
    ones = np.full((6, 1), 10.0)
    bars = Bars(("A",), at, ones, ones, ones, ones, ones, "raw")
    early = Bars(("A",), at[:5], *[ones[:5]] * 5, "raw")
    assert np.array_equal(bars.opened[:5], early.opened)


@pytest.mark.parametrize("tick", [0.0001, 0.00005])
def test_a_stop_of_a_currency_stands_where_the_policy_says(tick):
    """One ATR and a half of .002 below 1.0501 is 1.0471, which no bar reaches."""
    bars = market(*["1.0501 1.0511 1.0491 1.0501"] * 40)
    wishes = [nan] * 20 + [1.0] + [nan] * 19
    held = obeyed(bars, wishes, stop_atrs=1.5, tick=tick)
    assert held.trades.empty and held.holdings["stop"].tolist() == [1.0471]
    in_cents = obeyed(bars, wishes, stop_atrs=1.5)
    assert in_cents.trades["exit"].tolist() == [1.05]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_who_is_told_to_hold_nothing_and_does_is_not_refused(sign):
    run = obeyed(market(*[QUIET] * 6), [sign, nan, 0.0, 0.0, nan, nan])
    (trade,) = run.trades.itertuples()
    assert trade.why == "close"
    assert run.holdings.empty and run.reasons.empty


def test_a_wish_for_less_than_a_share_is_refused_all_the_same():
    run = obeyed(market(*[QUIET] * 4), [1.0, nan, 0.0, nan], size=0.05)
    assert run.reasons["reason"].tolist() == ["too_small"] and run.reasons["count"].tolist() == [1]


def test_an_exit_in_parts_goes_on_when_it_is_told_again():
    bars = market(*[QUIET] * 7)
    bars.volume[:, 0] = [1e6, 1e6, 1e6, 600.0, 600.0, 1e6, 1e6]
    wishes = [nan, 1.0, 0.0, 0.0, 0.0, nan, nan]
    run = obeyed(bars, wishes, replace(FREE, volume_pct=50.0))
    assert run.fills["quantity"].tolist() == [500.0, -300.0, -200.0]
    assert run.reasons.empty


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_limit_is_in_whole_ticks(sign):
    bars = market("4512.3 4520 4500 4512.3", *["4512.3 4600 4400 4512.3"] * 2)
    wishes = [sign, nan, nan]
    run = obeyed(bars, wishes, is_limit=True, limit_bps=3.0, tick=0.25)
    assert run.fills["price"].tolist() == [4_511.0 if sign > 0 else 4_513.75]


def test_a_sale_that_brought_nothing_can_be_shown():
    bars = market(*["1 30 0.5 1"] * 35)
    wishes = [nan] * 30 + [-1.0, 1.0] + [nan] * 3
    assert len(obeyed(bars, wishes, replace(FREE, slippage_atrs=1.0)).trades) == 1


def test_a_holding_entered_within_a_bar_is_stamped_as_its_trade_will_be():
    bars = market(QUIET, QUIET, "100 101 99 100", "100 120 90 100")
    held = obeyed(replace(bars), [nan, 1, nan, nan], is_limit=True, limit_bps=50.0)
    left = obeyed(bars, [nan, 1, nan, nan], is_limit=True, limit_bps=50.0, stop_pct=5.0)
    assert held.holdings["opened"][0] == left.trades["opened"][0]


def beside(bars: Bars, row: str = QUIET) -> Bars:
    """The same days with a second symbol, on which nothing is wished."""
    quiet = np.array([float(x) for x in row.split()])
    columns = zip((bars.open, bars.high, bars.low, bars.close), quiet, strict=True)
    both = [np.hstack([column, np.full_like(column, price)]) for column, price in columns]
    volumes = np.where(np.isnan(both[0]), np.nan, 1e6)
    return Bars(("A", "B"), bars.at, *both, volumes, "raw")


def with_a_hole(last: str, actions: list[tuple[int, float, float]]):
    """A hundred shares of A, which misses two days on which something happens to it."""
    bars = beside(market(QUIET, QUIET, "nan nan nan nan", "nan nan nan nan", last))
    wishes = np.full((5, 2), nan)
    wishes[0, 0] = 1.0
    days = [Action("A", bars.times[t].date(), ratio, paid) for t, ratio, paid in actions]
    policy = replace(UNLIMITED, indicators=QUICK, sizing=SizingPolicy(stop_pct=0.0, target_pct=0.0))
    return backtest(
        bars, policy, FREE, targets=wishes, sizes=np.full((5, 2), 10.0), actions=days
    )  # fmt: skip


@pytest.mark.parametrize("is_reversed", [False, True])
def test_what_happens_in_a_hole_happens_in_the_order_of_its_days(is_reversed):
    """Doubled and then paid is paid on twice as many; paid and then halved on all there were."""
    first, then = [(2, 2.0, 0.0), (3, 1.0, 1.0)], [(2, 1.0, 1.0), (3, 0.5, 0.0)]
    order = slice(None, None, -1 if is_reversed else 1)
    doubled = with_a_hole("50 51 49 50", first[order])
    halved = with_a_hole("200 202 198 200", then[order])
    assert (doubled.dividends, doubled.equity[-1]) == (200.0, 100_200.0)
    assert (halved.dividends, halved.equity[-1]) == (100.0, 100_100.0)


def test_a_fraction_between_two_splits_of_a_day_is_not_paid_out():
    bars = market(*[QUIET] * 3)
    day = bars.times[2].date()
    both = [Action("A", day, 1 / 3), Action("A", day, 3.0)]
    run = obeyed(bars, [1, nan, nan], size=10.0, actions=both)
    assert len(run.fills) == 1 and run.equity[-1] == 100_000.0


def test_no_dust_of_a_share_is_left_that_pays_a_fee():
    bars = market(*[QUIET] * 6)
    bars.volume[:, 0] = [9.0, 9.0, 1.0, 2.0, 9.0, 9.0]
    how = replace(FREE, fee_minimum=2.5, part=0.1, volume_pct=10.0)
    run = obeyed(bars, [1, 0, 0, 0, 0, nan], how, size=0.03)
    assert len(run.fills) == 3 and run.holdings.empty
    assert run.fills["quantity"].sum() == 0.0
    assert run.equity[-1] == 100_000.0 - 3 * 2.5


def test_given_directions_know_the_range_as_soon_as_it_is_warm():
    slow = replace(UNLIMITED, sizing=SizingPolicy(stop_pct=0.0))  # its averages take fifty bars
    bars = market(*[QUIET] * 60)
    wishes = np.array([1.0, 0.0] * 30)[:, None]
    how = replace(FREE, slippage_atrs=0.05)
    run = backtest(bars, slow, how, targets=wishes, sizes=np.full((60, 1), 10.0))
    strained = run.fills[run.fills["price"] != 100.0]
    assert [*bars.times].index(strained["bar"].iloc[0]) == slow.indicators.atr + 1


def test_a_position_whose_stop_is_not_known_yet_is_not_entered():
    falling = market(QUIET, QUIET, "100 101 50 60")
    run = obeyed(falling, [1, nan, nan], stop_atrs=2.0)
    assert run.fills.empty
    assert run.reasons[["reason", "count"]].to_numpy().tolist() == [["no_price", 1]]


def test_a_short_that_waits_at_a_limit_is_counted_at_its_limit():
    """Ninety at 110 are 9,900 of 10,000: a second short has to do with what is left."""
    bars = beside(market(QUIET, "101 112 100 111"), "101 112 100 111")
    bars.close[0], bars.open[0] = 100.0, 100.0
    sizing = SizingPolicy(stop_pct=50.0, target_pct=50.0, is_limit=True, limit_bps=1_000.0)
    policy = replace(UNLIMITED, indicators=QUICK, sizing=sizing)
    given = {"targets": np.array([[-1.0, -1.0], [nan, nan]]), "sizes": np.full((2, 2), 100.0)}
    run = backtest(bars, policy, FREE, cash=10_000.0, **given)
    assert run.fills["quantity"].tolist() == [-90.0] and run.gross[-1] <= 10_000.0


def test_the_collar_sees_a_jump_of_a_price_far_below_a_cent():
    bars = market("0.0001 0.0001 0.0001 0.0001", "0.000149 0.00015 0.000149 0.000149", volume=1e9)
    sizing = SizingPolicy(tick=1e-7, target_pct=90.0)
    policy = Policy(indicators=QUICK, sizing=sizing)
    given = {"targets": np.array([[1.0], [nan]]), "sizes": np.full((2, 1), 10.0)}
    run = backtest(bars, policy, FREE, **given)
    assert run.reasons["reason"].tolist() == ["collar"]


def test_the_last_hour_before_midnight_belongs_to_the_day():
    """A loss of Thursday keeps an entry away until Friday has begun, in New York.

    What opens at midnight is decided at that instant, which ends Thursday, as it does for `decide`.
    """
    at = np.datetime64("2024-03-07T22:00", "us").astype(np.int64) + 3_600_000_000 * np.arange(12)
    first = np.array([100.0, 100.0, 100.0, *[97.5] * 9])
    rows = np.column_stack([first, np.full(12, 50.0)])
    bars = Bars(
        ("A", "B"), at, rows, rows * 1.001, rows * 0.999, rows, np.full((12, 2), 1e6), "raw"
    )
    targets = np.full((12, 2), nan)
    targets[0, 0], targets[3:, 1] = 1.0, 1.0
    limits = replace(UNLIMITED.risk, daily_loss_pct=1.0, drawdown_pct=100.0, collar_pct=100.0)
    policy = replace(UNLIMITED, risk=limits, sizing=SizingPolicy(stop_pct=50.0, target_pct=50.0))
    run = backtest(bars, policy, FREE, targets=targets, sizes=np.full((12, 2), 50.0))
    entered = run.fills[run.fills["symbol"] == "B"]["bar"].iloc[0]
    assert str(entered.tz_convert("America/New_York")) == "2024-03-08 02:00:00-05:00"


@pytest.mark.parametrize("limit", [0, 1])
def test_a_limit_for_groups_does_not_touch_who_is_in_none(limit):
    risk = replace(UNLIMITED.risk, groups={"X": "tech"}, group_limit=limit)
    policy = replace(UNLIMITED, risk=risk, indicators=QUICK, sizing=SizingPolicy(stop_pct=0.0))
    given = {"targets": np.array([[1.0], [nan]]), "sizes": np.full((2, 1), 10.0)}
    assert len(backtest(market(QUIET, QUIET), policy, FREE, **given).fills) == 1


def of_two(rows: str, targets: list[list[float]], **sizing):
    """Two symbols with the same bars; what is bought may be worth a fifth of 10,000, net."""
    bars = beside(market(*[rows] * len(targets)), rows)
    risk = replace(UNLIMITED.risk, net_pct=20.0)
    legs = SizingPolicy(**{"stop_pct": 0.0, "target_pct": 0.0, **sizing})
    policy = replace(UNLIMITED, risk=risk, indicators=QUICK, sizing=legs)
    sizes = np.full((len(targets), 2), 100.0)
    return backtest(bars, policy, FREE, cash=10_000.0, targets=np.array(targets), sizes=sizes)


def test_a_short_that_is_being_covered_is_no_hedge():
    run = of_two(QUIET, [[-1.0, nan], [0.0, 1.0], [nan, nan]])
    assert run.fills.groupby("symbol")["quantity"].apply(list).to_dict() == {
        "A": [-20.0, 20.0],
        "B": [20.0],
    }


def test_a_short_that_may_never_be_filled_is_no_hedge():
    run = of_two("100 100.5 98 100", [[-1.0, 1.0], [nan, nan]], is_limit=True, limit_bps=100.0)
    assert run.fills[["symbol", "quantity"]].to_numpy().tolist() == [["B", 20.0]]


def test_a_short_that_stays_is_a_hedge():
    run = of_two(QUIET, [[-1.0, nan], [nan, 1.0], [nan, nan]])
    assert run.fills["quantity"].tolist() == [-20.0, 40.0]


def test_a_dividend_before_a_reverse_split_is_paid_on_parts_of_shares_too():
    """Fifteen shares get a dollar each; then they are one and a half, and the half is paid out."""
    bars = beside(market(QUIET, QUIET, "nan nan nan nan", "1000 1010 990 1000"))
    wishes = np.full((4, 2), nan)
    wishes[0, 0] = 1.0
    days = [bars.times[t].date() for t in (2, 3)]
    actions = [Action("A", days[0], 1.0, 1.0), Action("A", days[1], 0.1)]
    policy = replace(UNLIMITED, indicators=QUICK, sizing=SizingPolicy(stop_pct=0.0, target_pct=0.0))
    given = {"targets": wishes, "sizes": np.full((4, 2), 1.5), "actions": actions}
    run = backtest(bars, policy, FREE, **given)
    assert run.dividends == pytest.approx(15.0) and run.holdings["quantity"].tolist() == [1.0]
    assert run.equity[-1] == pytest.approx(100_015.0)
