"""Money is neither made nor lost: every close is rebuilt from the fills, in exact arithmetic.

`objections` knows nothing of the loop. It reads bars, actions and the list of fills, and says what
does not add up; an empty list is the proof, and the seeded faults below show that it can object.
"""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_alpine.backtest import Backtest, backtest
from argo_alpine.bars import Bars
from argo_alpine.book import ENTRY, LEGS, SPLIT
from argo_alpine.costs import FillPolicy, strain, usual_volume
from argo_alpine.engine import Policy
from argo_alpine.knobs import numbers
from argo_alpine.loading import Action
from argo_alpine.risk import RiskPolicy
from argo_alpine.sizing import SizingPolicy
from tests.test_parity import QUICK, a_market, market_costs, policies, some_actions, some_readings

CENT = Fraction(1, 200)  # what rounds to no cent at all
CASH = 100_000.0
exact = Fraction


def fills_of(run: Backtest) -> np.ndarray:
    return run.run.fills[: int(run.run.book["fills"][0])]


def done(run: Backtest) -> np.ndarray:
    return run.run.trades[: int(run.run.book["trades"][0])]


def effects(bars: Bars, actions: tuple[Action, ...]) -> dict[tuple[int, int], list[Action]]:
    """By bar and symbol: what happens to shares at that open."""
    found: dict[tuple[int, int], list[Action]] = {}
    for action in actions:
        s = bars.symbols.index(action.symbol)
        for t in range(len(bars)):
            there = bars.times[t].tz_convert("America/New_York").date() >= action.day
            if there and not np.isnan(bars.close[t, s]):
                found.setdefault((t, s), []).append(action)
                break
    return found


class Books:
    """The books kept by hand, bar by bar."""

    def __init__(self, n: int, part: float) -> None:
        self.part = part
        self.cash, self.held, self.last = exact(CASH), [exact(0)] * n, [exact(0)] * n
        self.borrow = self.dividends = self.fees = exact(0)

    def interest(self, days: Fraction, pct: float) -> None:
        shorts = [-q * p for q, p in zip(self.held, self.last, strict=True) if q < 0]
        owed = sum(shorts, exact(0)) * exact(pct) / 100 * days / 365
        self.cash, self.borrow = self.cash - owed, self.borrow + owed

    def fill(self, row: np.void) -> None:
        quantity = exact(float(row["quantity"]))
        self.cash -= quantity * exact(float(row["price"])) + exact(float(row["fee"]))
        self.fees += exact(float(row["fee"]))
        self.held[row["symbol"]] += quantity

    def pay(self, s: int, held: Fraction, dividend: float) -> None:
        paid = held * exact(dividend)
        self.cash, self.dividends = self.cash + paid, self.dividends + paid

    def meet(self, s: int, some: list[Action], odd: list[np.void]) -> None:
        """Day by day, a split before a dividend; what is no whole share is paid out at the end."""
        some = sorted(some, key=lambda a: (a.day, a.ratio == 1.0, a.ratio, a.dividend))
        splits = [i for i, action in enumerate(some) if action.ratio != 1.0]
        last, ratio = max(splits, default=0), 1.0
        for action in some[:last]:
            ratio *= action.ratio
            self.pay(s, self.held[s] * exact(ratio), action.dividend)
        ratio *= some[last].ratio
        # shares after a split are a float: what is no whole one of them is paid out exactly
        self.held[s] = exact(float(self.held[s]) * ratio)
        if not odd:  # it came out even, but for the last bits
            self.held[s] = exact(round(float(self.held[s]) / self.part) * self.part)
        self.last[s] /= exact(ratio)
        for row in odd:
            self.fill(row)
        for action in some[last:]:
            self.pay(s, self.held[s], action.dividend)

    def value(self) -> Fraction:
        return self.cash + sum(q * p for q, p in zip(self.held, self.last, strict=True))

    def gross(self) -> Fraction:
        return sum((abs(q) * p for q, p in zip(self.held, self.last, strict=True)), exact(0))


def objections(run: Backtest, actions: tuple[Action, ...] = ()) -> list[str]:
    """All that does not add up; empty when everything does."""
    bars, wrong = run.whole, []
    books, happens = Books(len(bars.symbols), run.costs.part), effects(bars, actions)
    by_bar: dict[int, list[np.void]] = {}
    for row in fills_of(run):
        by_bar.setdefault(int(row["bar"]), []).append(row)
    if [*by_bar] != sorted(by_bar):
        wrong.append("fills are not in the order of their bars")
    for t in range(len(bars)):
        if t:
            elapsed = exact(int(bars.at[t] - bars.at[t - 1]), 86_400_000_000)
            books.interest(elapsed, run.costs.borrow_pct)
        rows = by_bar.get(t, [])
        for s in range(len(bars.symbols)):
            odd = [row for row in rows if row["symbol"] == s and row["leg"] == SPLIT]
            if some := happens.get((t, s), []):
                books.meet(s, some, odd)
        for row in rows:
            if row["leg"] != SPLIT:
                wrong += wrong_fill(run, t, row, books.held[row["symbol"]])
                books.fill(row)
        for s in range(len(bars.symbols)):
            if not np.isnan(bars.close[t, s]):
                books.last[s] = exact(float(bars.close[t, s]))
        wrong += beyond_volume(run, t, rows)
        for name, mine, theirs in (
            ("equity", books.value(), run.run.equity[t]), ("gross", books.gross(), run.run.gross[t])
        ):  # fmt: skip
            if not abs(mine - exact(float(theirs))) < CENT:
                wrong.append(f"{name} at bar {t}: {theirs}, by the fills {float(mine):.4f}")
    return wrong + wrong_totals(run, books) + wrong_trades(run)


def wrong_fill(run: Backtest, t: int, row: np.void, held: Fraction) -> list[str]:
    """A fill that no such bar could have given, or that nobody had asked for."""
    bars, costs, s = run.whole, run.costs, int(row["symbol"])
    quantity, price, leg = float(row["quantity"]), float(row["price"]), int(row["leg"])
    high, low = bars.high[t, s], bars.low[t, s]
    name, wrong = f"{bars.symbols[s]} bar {t}: {quantity:+g} at {price:g}", []
    worse = (costs.slippage_bps + costs.spread_bps / 2) / 10_000
    ratio = run.market.ratios[t, s] if len(run.market.ratios) else 1.0
    atr = run.told.atr[t - 1, s] / ratio if t else np.nan
    usual = usual_volume(bars.volume, run.market.ratios, t, s) if costs.impact > 0 else 0.0
    give = strain(quantity, atr, usual, numbers(costs)) + 1e-9
    if quantity > 0 and not low - 1e-9 <= price <= high * (1 + worse) + give:
        wrong.append(f"{name}: outside {low:g}..{high:g} and what slips")
    if quantity < 0 and not max(low * (1 - worse) - give, 0) <= price <= high + 1e-9:
        wrong.append(f"{name}: outside {low:g}..{high:g} and what slips")
    if abs(quantity / costs.part - round(quantity / costs.part)) > 1e-6:
        wrong.append(f"{name}: not a multiple of {costs.part:g}")
    if quantity == 0 or not np.isfinite(price):
        wrong.append(f"{name}: nothing was traded")
    if leg in (0, ENTRY) and run.log is not None:
        asked = run.run.log[t - 1, s] if t else None
        if asked is None or asked["why"] != 0 or asked["side"] * quantity <= 0:
            wrong.append(f"{name}: nobody had asked for it at the close before")
    if leg in (1, 2) and held * exact(quantity) >= 0:
        wrong.append(f"{name}: {LEGS[leg]} of nothing")
    is_held = abs(held) > exact(1, 10**9)  # parts of shares add up to a residue
    if is_held and held * exact(quantity) < 0 and abs(quantity) > abs(held) + exact(1, 10**6):
        wrong.append(f"{name}: passes through zero from {float(held):g}")
    return wrong


def beyond_volume(run: Backtest, t: int, rows: list[np.void]) -> list[str]:
    """Symbols that took more of a bar than the policy lets them."""
    wrong = []
    for s in {int(row["symbol"]) for row in rows if run.costs.volume_pct > 0}:
        took = sum(
            abs(row["quantity"]) for row in rows if row["symbol"] == s and row["leg"] != SPLIT
        )
        most = run.whole.volume[t, s] * run.costs.volume_pct / 100
        if took > most + 1e-6:
            wrong.append(f"{run.whole.symbols[s]} bar {t}: took {took:g} of {most:g}")
    return wrong


def wrong_totals(run: Backtest, books: Books) -> list[str]:
    """Totals of the run that are not those of the books."""
    pairs = {
        "cash": (books.cash, run.run.book["cash"][0]),
        "fees": (books.fees, run.paid["fees"]),
        "borrow": (books.borrow, run.paid["borrow"]),
        "dividends": (books.dividends, run.dividends),
    }
    wrong = [
        f"{name} is {theirs}, by the fills {float(mine):.4f}"
        for name, (mine, theirs) in pairs.items()
        if not abs(mine - exact(float(theirs))) < CENT
    ]
    held = {
        s: float(q) for s, q in zip(run.whole.symbols, books.held, strict=True) if abs(q) > 1e-9
    }
    shown = dict(zip(run.holdings["symbol"], run.holdings["quantity"], strict=True))
    shown = {s: q for s, q in shown.items() if abs(q) > 1e-9}
    if held.keys() != shown.keys() or any(abs(held[s] - shown[s]) > 1e-6 for s in held):
        wrong.append(f"holds {shown}, by the fills {held}")
    slots = run.run.slots
    still = sum((exact(float(f)) for f in slots["fees"][slots["quantity"] != 0]), exact(0))
    gain = sum((exact(float(x)) for x in (*run.pnl, *run.holdings["unrealised"])), exact(0))
    gain += books.dividends - books.borrow - still
    if not abs(gain - (books.value() - exact(CASH))) < CENT:
        wrong.append(f"trades and holdings gained {float(gain):.4f}, the account "
                     f"{float(books.value()) - CASH:.4f}")  # fmt: skip
    return wrong


def wrong_trades(run: Backtest) -> list[str]:
    """Round trips whose profit has the wrong sign or size."""
    wrong = []
    for i, trade in enumerate(done(run)):
        won = exact(float(trade["quantity"])) * exact(float(trade["exit"]) - float(trade["entry"]))
        if not abs(won - exact(float(trade["fees"])) - exact(float(trade["pnl"]))) < CENT:
            wrong.append(f"trade {i}: pnl {trade['pnl']:.4f}, prices and fees say {float(won):.4f}")
        if trade["closed"] < trade["opened"]:
            wrong.append(f"trade {i}: closed before it was opened")
    return wrong


all_costs = st.builds(
    replace, market_costs,
    part=st.sampled_from([1.0, 0.5, 0.1]), fee_per_share=st.sampled_from([0.0, 0.005]),
    spread_bps=st.sampled_from([0.0, 20.0]),
)  # fmt: skip


@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_bars=st.integers(2, 70),
    symbols=st.sampled_from([("A",), ("A", "B", "C")]),
    wildness=st.sampled_from([0.005, 0.02, 0.06]),
    policy=policies,
    costs=all_costs,
    with_readings=st.booleans(),
    with_actions=st.booleans(),
)
def test_every_close_is_cash_plus_positions_to_the_cent(
    seed, n_bars, symbols, wildness, policy, costs, with_readings, with_actions
):
    bars = a_market(seed, n_bars, symbols, wildness)
    readings = some_readings(seed, bars) if with_readings else ()
    actions = some_actions(seed, bars) if with_actions else ()
    run = backtest(bars, policy, costs, readings, keep_log=True, actions=actions)
    assert objections(run, actions) == []


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    costs=all_costs,
    size=st.sampled_from([0.5, 30.0, 90.0]),
    legs=st.booleans(),
    is_limit=st.booleans(),
)
def test_given_directions_are_paid_for_to_the_cent_too(seed, costs, size, legs, is_limit):
    bars, rng = a_market(seed, 60, ("A", "B"), 0.03), np.random.default_rng(seed)
    actions = some_actions(seed, bars)
    targets = rng.choice([1.0, -1.0, 0.0, np.nan], bars.close.shape, p=[0.2, 0.2, 0.1, 0.5])
    sizing = SizingPolicy(
        stop_pct=3.0 * legs, target_pct=5.0 * legs, is_limit=is_limit, limit_bps=20.0
    )
    policy = Policy(indicators=QUICK, risk=RiskPolicy(collar_pct=100.0), sizing=sizing)
    sizes = np.full(targets.shape, size)
    run = backtest(bars, policy, costs, targets=targets, sizes=sizes, actions=actions)
    assert objections(run, actions) == []


ACTIONS = (("A", 60, 1.5, 0.37), ("B", 90, 0.1, 0.0), ("C", 120, 1.0, 0.37))


def eventful(**costs: float) -> tuple[Backtest, tuple[Action, ...]]:
    """A run in which everything happens."""
    bars = a_market(5, 250, ("A", "B", "C"), 0.02)
    actions = tuple(Action(s, bars.times[t].date(), ratio, paid) for s, t, ratio, paid in ACTIONS)
    policy = Policy(
        indicators=QUICK,
        risk=RiskPolicy(drawdown_pct=80.0, daily_loss_pct=90.0),
        sizing=SizingPolicy(base_pct=30.0, max_pct=60.0),
    )
    how = {"fee_bps": 3.0, "borrow_pct": 30.0, "volume_pct": 0.2, "slippage_atrs": 0.02, **costs}
    readings = some_readings(5, bars)
    run = backtest(bars, policy, FillPolicy(**how), readings, keep_log=True, actions=actions)
    return run, actions


def test_the_books_are_rebuilt_through_everything_that_happens():
    """An empty list of objections to an empty run would prove nothing."""
    run, actions = eventful()
    assert objections(run, actions) == []
    assert {"close", "stop", "target", "split"} <= set(run.fills["why"])
    assert {"LONG", "SHORT"} <= set(run.trades["direction"])
    assert run.dividends != 0 and min(run.paid.values()) > 0 and run.unfilled > 0
    shorts = run.trades[run.trades["direction"] == "SHORT"]
    assert (shorts["pnl"] > 0).any() and (shorts["pnl"] < 0).any()
    free = shorts["pnl"] + shorts["fees"]
    assert (np.sign(free) == np.sign(shorts["entry"] - shorts["exit"])).all()


def with_run(run: Backtest, **changed: np.ndarray) -> Backtest:
    return replace(run, run=run.run._replace(**changed))


def test_a_short_s_profit_with_its_sign_flipped_is_objected_to():
    run, actions = eventful()
    trades = run.run.trades.copy()
    trades["pnl"][np.flatnonzero(done(run)["quantity"] < 0)[0]] *= -1
    said = objections(with_run(run, trades=trades), actions)
    assert any("pnl" in line for line in said) and any("gained" in line for line in said)


@pytest.mark.parametrize(
    ("name", "column", "change", "said"),
    [
        ("no fee", "fee", lambda x: 0.0, "equity"),
        ("other side", "quantity", lambda x: -x, "equity"),
        ("one share more", "quantity", lambda x: x + 1, "equity"),
        ("price", "price", lambda x: x * 1.5, "outside"),
        ("a day earlier", "bar", lambda x: x - 1, "asked"),
        ("half a share", "quantity", lambda x: x + 0.5, "multiple"),
        ("too many", "quantity", lambda x: x * 1e6, "took"),
    ],
)
def test_a_fill_that_was_tampered_with_is_objected_to(name, column, change, said):
    run, actions = eventful()
    rows = run.run.fills.copy()
    i = int(
        np.flatnonzero(np.isin(fills_of(run)["leg"], (0, ENTRY)) & (fills_of(run)["fee"] > 0.01))[3]
    )
    rows[column][i] = change(rows[column][i])
    assert any(said in line for line in objections(with_run(run, fills=rows), actions)), name


def test_a_cent_more_in_one_close_is_objected_to():
    run, actions = eventful()
    equity = run.run.equity.copy()
    equity[100] += 0.01
    assert len(objections(with_run(run, equity=equity), actions)) == 1


def test_interest_dividends_and_splits_that_are_forgotten_are_objected_to():
    run, actions = eventful()
    assert objections(replace(run, costs=replace(run.costs, borrow_pct=0.0)), actions)
    for i in range(len(actions)):
        assert objections(run, actions[:i] + actions[i + 1 :]), actions[i]
