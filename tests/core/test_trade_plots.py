"""No trade is lost between a run and its pictures, and every sum is the sum of all."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_alpine import trade_plots
from argo_alpine.plots import BLUE, LOOK
from argo_alpine.trade_plots import FEW, quoted, trades_on_price

DAYS = pd.date_range("2024-03-01 21:00", periods=6, tz="UTC")
PRICES = np.array([100.0, 104.0, 101.0, 107.0, 98.0, 103.0])
COLUMNS = "symbol direction quantity opened closed entry exit fees pnl return_pct why ambiguous"
TRADES = pd.DataFrame(
    [
        ("IBM", "LONG", 10.0, DAYS[0], DAYS[2], 100.0, 104.0, 0.0, 40.0, 4.0, "target", False),
        ("IBM", "SHORT", 5.0, DAYS[3], DAYS[5], 107.0, 110.0, 0.0, -15.0, -2.8, "stop", True),
    ],
    columns=COLUMNS.split(),
)
FIGURES = {
    "trades": trades_on_price(DAYS, PRICES, TRADES),
    "no trades": trades_on_price(DAYS, PRICES, TRADES[:0]),
    "no bars": trades_on_price(DAYS, np.full(6, np.nan), TRADES[:0]),
    "a grown price": trades_on_price(DAYS, PRICES * [1, 1, 1, 1, 1, 4], TRADES),
    "profits": trade_plots.profit_by_symbol(TRADES),
    "no profits": trade_plots.profit_by_symbol(TRADES[:0]),
}


def trades_of(rows):
    """Trades with these symbols and profits, closed one after another."""
    some = pd.concat([TRADES[:1]] * len(rows), ignore_index=True) if rows else TRADES[:0]
    names, profits = [name for name, _ in rows], [pnl for _, pnl in rows]
    closed = DAYS[2] + pd.to_timedelta(np.arange(len(rows)), unit="D")
    return some.assign(symbol=names, pnl=np.array(profits, float), closed=closed)


some_trades = st.lists(
    st.tuples(st.sampled_from("ABCDEFGH"), st.floats(-1e6, 1e6).map(lambda x: round(x, 2))),
    max_size=60,
).map(trades_of)


def named(fig, start):
    return [trace for trace in fig.data if trace.name.startswith(start)]


def money(text):
    return float(text.replace(",", "").replace("\N{MINUS SIGN}", "-"))


@pytest.mark.parametrize("name", FIGURES)
def test_every_picture_has_the_look_named_axes_and_no_title(name):
    layout = FIGURES[name].layout
    assert layout.template == LOOK
    assert layout.title.text is None
    assert layout.xaxis.title.text and layout.yaxis.title.text
    assert "uid" not in FIGURES[name].to_json()


def test_an_axis_says_that_it_is_logarithmic_when_it_is():
    axis = FIGURES["a grown price"].layout.yaxis
    assert (axis.type, "logarithmic" in axis.title.text) == ("log", True)
    assert "logarithmic" not in FIGURES["trades"].layout.yaxis.title.text


def test_long_and_short_entries_differ_in_shape_and_colour():
    long, short = named(FIGURES["trades"], "Enter")
    assert long.marker.symbol != short.marker.symbol
    assert long.marker.color != short.marker.color
    assert (long.y.tolist(), short.y.tolist()) == ([100.0], [107.0])


def test_no_exit_is_left_out_even_for_a_reason_nobody_knows():
    exits = named(trades_on_price(DAYS, PRICES, TRADES.assign(why="alien")), "Exit")
    assert sum(len(trace.x) for trace in exits) == len(TRADES)


@given(some_trades)
def test_every_trade_has_its_way_and_is_blue_only_if_it_won(trades):
    won, lost = (named(trades_on_price(DAYS, PRICES, trades), name) for name in ("Won", "Not won"))
    assert won[0].line.color == BLUE != lost[0].line.color
    counts = [len(trace[0].x) // 3 for trace in (won, lost)]
    assert counts == [(trades["pnl"] > 0).sum(), (trades["pnl"] <= 0).sum()]
    assert [won[0].name, lost[0].name] == [f"Won {counts[0]}", f"Not won {counts[1]}"]
    assert won[0].line.dash == "solid" != lost[0].line.dash  # also on a print without colours


@pytest.mark.parametrize(("n", "marked"), [(FEW, True), (FEW + 1, False)])
def test_ends_are_marked_only_where_trades_are_few(n, marked):
    fig = trades_on_price(DAYS, PRICES, trades_of([("IBM", 1.0)] * n))
    assert bool(named(fig, "Enter")) == marked


@given(some_trades)
def test_the_lines_of_all_symbols_end_at_the_profit_of_all_trades(trades):
    fig = trade_plots.profit_by_symbol(trades)
    assert len(fig.data) == min(trades["symbol"].nunique(), 5)
    ends = sum(trace.y[-1] for trace in fig.data)
    assert ends == pytest.approx(trades["pnl"].sum(), abs=0.05)


@given(some_trades, st.integers(1, 70))
def test_the_list_and_its_last_row_add_up_to_the_profit_however_short_it_is_cut(trades, most):
    page = trade_plots.folded(trades, most=most)
    (table,) = re.findall(r"<tbody>(.*)</tbody>", page)
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in table.split("</tr>")[:-1]]
    *profits, total = [money(row[3]) for row in rows]
    kept = trades["pnl"].tail(most)
    assert profits == pytest.approx(kept.to_list(), abs=0.005)
    assert total == pytest.approx(trades["pnl"].sum(), abs=0.006)
    assert f"{len(trades):,} trades</summary>" in page
    assert ("latest" in page) == (len(trades) > most)


@given(some_trades, st.integers(1, 9))
def test_the_largest_are_few_each_there_once_and_what_is_left_is_said(trades, n):
    few = trade_plots.extremes(trades, n)
    assert len(few) <= 2 * n and few.index.is_unique
    assert few["pnl"].is_monotonic_decreasing
    without = [
        money(x) for x in re.findall(r"[+\N{MINUS SIGN}][\d,]+", trade_plots.leaning(trades, n))
    ]
    total = trades["pnl"].sum()
    best, worst = few["pnl"].clip(lower=0).sum(), few["pnl"].clip(upper=0).sum()
    assert without == pytest.approx([total, total - best, total - worst], abs=0.51)


def test_the_name_of_a_symbol_cannot_become_markup():
    assert "<b>" not in trade_plots.folded(trades_of([("<b>", 1.0)]))


@given(some_trades)
def test_the_symbols_drawn_are_those_traded_most(trades):
    drawn = trade_plots.busiest("ABCDEFGH", trades, 3)
    counts = trades["symbol"].value_counts()
    least = min(counts.get(symbol, 0) for symbol in drawn)
    assert len(drawn) == 3 and drawn == sorted(drawn)
    assert all(counts.get(symbol, 0) <= least for symbol in {*"ABCDEFGH"} - {*drawn})


def test_a_coin_has_a_price_in_a_list_too():
    asked = (0.0000212345, -0.0012, 0.0123, 64.3, 0.0)
    assert [quoted(price) for price in asked] == [
        "0.00002123", "-0.0012", "0.0123", "64.30", "0.0000"
    ]  # fmt: skip
