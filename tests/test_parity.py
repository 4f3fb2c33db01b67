"""One arithmetic, two loops: arrays and values must decide alike, to the last bit.

Read this test first. `backtest` runs compiled code over arrays; `rehearse` asks `decide` moment by
moment with frozen values, as live does. Random markets drive both.
"""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_alpine.backtest import Backtest, backtest
from argo_alpine.bars import Bars
from argo_alpine.book import ENTRY
from argo_alpine.consensus import ConsensusPolicy
from argo_alpine.costs import FillPolicy
from argo_alpine.domain import Reading
from argo_alpine.engine import WEIGHTS, WHY, Policy
from argo_alpine.indicators import IndicatorPolicy
from argo_alpine.loading import Action
from argo_alpine.risk import RiskPolicy
from argo_alpine.sessions import instant, sessions
from argo_alpine.sizing import SizingPolicy
from tests.rehearsal import rehearse

QUICK = IndicatorPolicy(sma=6, ema=4, rsi=3, macd_fast=2, macd_slow=5, macd_signal=2, atr=4,
                        channel=5, flow=4)  # fmt: skip
CLOSES = sessions(date(2019, 1, 1), date(2020, 12, 31))["close"]


def a_market(
    seed: int, n_bars: int, symbols: tuple[str, ...], wildness: float, missing: object = 0.05
) -> Bars:
    """Random walks with gaps, wild ranges and missing bars (a share, or one for each symbol)."""
    rng = np.random.default_rng(seed)
    shape = (n_bars, len(symbols))
    drift = rng.normal(0, wildness / 3, shape[1])
    close = 50 * np.exp(np.cumsum(rng.normal(drift, wildness, shape), axis=0))
    open_ = close * np.exp(rng.normal(0, wildness / 2, shape))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, wildness / 2, shape)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, wildness / 2, shape)))
    columns = [np.round(c, 2) for c in (open_, high, low, close)]
    volume = rng.integers(0, 1_000_000, shape).astype(float)
    absent = rng.random(shape) < missing
    at = CLOSES.iloc[:n_bars].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    blanked = [np.where(absent, np.nan, c) for c in (*columns, volume)]
    return Bars(symbols, at.astype(np.int64), *blanked, basis="raw")


def some_readings(seed: int, bars: Bars) -> tuple[Reading, ...]:
    """What X and Sonar said now and then."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(len(bars.at)):
        at = instant(int(bars.at[i])) - timedelta(minutes=int(rng.integers(0, 90)))
        symbol = bars.symbols[rng.integers(len(bars.symbols))]
        until = at + timedelta(hours=float(rng.integers(2, 80)))
        values = {"score": float(rng.uniform(-1, 1)), "authors": float(rng.integers(1, 20))}
        made.append(Reading("x_sentiment", symbol, at, until, values))
        claim = {
            "direction": float(rng.integers(-1, 2)),
            "confidence": float(rng.integers(30, 101)),
        }
        made.append(Reading("sonar", symbol, at + timedelta(seconds=1), until, claim))
    return tuple(made)


policies = st.builds(
    Policy,
    indicators=st.just(QUICK),
    consensus=st.builds(
        ConsensusPolicy, st.just(WEIGHTS), st.sampled_from([55.0, 62.5, 75.0]),
        st.sampled_from([40.0, 50.0]),
    ),
    risk=st.builds(
        RiskPolicy,
        drawdown_pct=st.sampled_from([1.0, 5.0, 50.0]),
        daily_loss_pct=st.sampled_from([0.5, 5.0]),
        collar_pct=st.sampled_from([0.5, 2.0, 50.0]),
        orders_per_minute=st.sampled_from([1, 10]),
        rearm_after=st.sampled_from([0, 10]),
        gross_pct=st.sampled_from([20.0, 100.0]),
        net_pct=st.sampled_from([12.0, 100.0]),
        group_limit=st.just(1),
        groups=st.sampled_from([{}, {"A": "g", "B": "g"}]),
    ),
    sizing=st.builds(
        SizingPolicy, stop_atrs=st.sampled_from([0.0, 1.5]), base_pct=st.sampled_from([10.0, 60.0]),
        max_pct=st.just(90.0), is_limit=st.booleans(), limit_bps=st.sampled_from([0.0, 40.0]),
    ),
)  # fmt: skip
market_costs = st.builds(
    FillPolicy,
    slippage_bps=st.sampled_from([0.0, 5.0]),
    fee_bps=st.sampled_from([0.0, 3.0]),
    fee_minimum=st.sampled_from([0.0, 1.0]),
    borrow_pct=st.sampled_from([0.0, 30.0]),
    stop_first=st.booleans(),
    entry_bar=st.booleans(),
    slippage_atrs=st.sampled_from([0.0, 0.02]),
    impact=st.sampled_from([0.0, 0.5]),
    volume_pct=st.sampled_from([0.0, 0.01, 0.2]),
)


def differences(run: Backtest, decisions, stage) -> list[str]:
    """Where the two loops disagree; empty when they agree."""
    wrong: list[str] = []
    trades = [trade for decision in decisions for trade in decision.trades]
    told = [(t.symbol, t.quantity, t.entry, t.exit, t.fees, t.pnl, t.why) for t in trades]
    columns = ["symbol", "quantity", "entry", "exit", "fees", "pnl", "why"]
    ours = list(run.trades[columns].itertuples(index=False, name=None))
    wrong += [f"trade {a} is not {b}" for a, b in zip(ours, told, strict=False) if a != b]
    wrong += [f"{len(ours)} trades, not {len(told)}"] if len(ours) != len(told) else []
    wrong += list(different_opinions(run, decisions))
    told = [d.portfolio.equity for d in decisions if d.at in stage.closed]
    wrong += [
        f"equity at bar {t}: {ours} is not {theirs}"
        for t, (ours, theirs) in enumerate(zip(run.equity, told, strict=True))
        if ours != theirs
    ]
    return wrong


def different_opinions(run: Backtest, decisions):
    """Consensus and reason of every symbol at every close, and every order."""
    closes = {d.at: d for d in decisions if d.consensus}
    orders = {(d.at, o.symbol): o.quantity for d in decisions for o in d.orders if o.leg == "entry"}
    opened = run.bars.opened
    for t, at in enumerate(run.bars.at):
        decision = closes.get(instant(int(at)))
        for s, symbol in enumerate(run.bars.symbols):
            row = run.log[t, s]
            ordered = orders.get((instant(int(opened[t])), symbol), 0)
            if row["ordered"] != ordered:
                yield f"{symbol} bar {t}: ordered {row['ordered']}, not {ordered}"
            if decision is None or symbol not in decision.why or row["why"] < 0:
                continue
            one = decision.consensus[symbol]
            other = (int(row["side"]), int(row["confidence"]), WHY[row["why"]])
            if other != (int(one.direction), round(one.confidence * 100), decision.why[symbol]):
                yield f"{symbol} bar {t}: {other}, not {one} {decision.why[symbol]}"


def some_actions(seed: int, bars: Bars) -> tuple[Action, ...]:
    """Two splits of each symbol, some uneven, some on one day, and a dividend now and then."""
    rng = np.random.default_rng(seed)
    first = rng.integers(1, len(bars.at), len(bars.symbols))
    then = np.minimum(first + rng.integers(0, 3, len(first)), len(bars.at) - 1)
    days = [CLOSES.index[int(i)].date() for i in (*first, *then)]
    ratios = rng.choice([1.0, 2.0, 1.5, 0.1], len(days))
    paid = rng.choice([0.0, 0.37], len(days))
    return tuple(Action(*each) for each in zip(bars.symbols * 2, days, ratios, paid, strict=True))


def compared(
    seed, n_bars, symbols, wildness, policy, costs, with_readings, with_actions
) -> list[str]:
    bars = a_market(seed, n_bars, symbols, wildness)
    readings = some_readings(seed, bars) if with_readings else ()
    actions = some_actions(seed, bars) if with_actions else ()
    run = backtest(bars, policy, costs, readings, keep_log=True, actions=actions)
    decisions, stage = rehearse(bars, policy, costs, readings, 100_000.0, actions)
    return differences(run, decisions, stage)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_bars=st.integers(2, 70),
    symbols=st.sampled_from([("A",), ("A", "B", "C")]),
    wildness=st.sampled_from([0.005, 0.02, 0.06]),
    policy=policies,
    costs=market_costs,
    with_readings=st.booleans(),
    with_actions=st.booleans(),
)
def test_arrays_and_values_decide_alike(**market):
    assert compared(**market) == []


def test_the_comparison_sees_trades_refusals_halts_and_reversals():
    """A comparison of two empty logs would prove nothing."""
    bars = a_market(5, 250, ("A", "B", "C"), 0.02)
    policy = Policy(
        indicators=QUICK, risk=RiskPolicy(drawdown_pct=1.0, rearm_after=10, collar_pct=1.0)
    )
    readings = some_readings(5, bars)
    run = backtest(bars, policy, FillPolicy(), readings, keep_log=True)
    decisions, stage = rehearse(bars, policy, FillPolicy(), readings, 100_000.0)
    assert differences(run, decisions, stage) == []
    assert len(run.trades) >= 20
    assert {"stop", "target", "close"} <= set(run.trades["why"])
    assert {"LONG", "SHORT"} <= set(run.trades["direction"])
    assert run.halts
    assert {"signal", "quorum", "threshold", "held"} <= set(run.reasons["reason"])
    assert {"collar"} <= set(run.reasons["reason"])


@pytest.mark.parametrize(
    "seeded",
    [
        {"consensus": ConsensusPolicy(WEIGHTS, threshold=75.5)},
        {"sizing": SizingPolicy(stop_pct=3.01)},
        {"sizing": SizingPolicy(tick=0.02)},
        {"risk": RiskPolicy(drawdown_pct=50.0, collar_pct=1.0)},
    ],
)
def test_a_seeded_difference_is_noticed(seeded):
    """Positive control: one of the loops gets a slightly different policy."""
    bars = a_market(5, 250, ("A", "B", "C"), 0.02)
    policy = Policy(indicators=QUICK, risk=RiskPolicy(drawdown_pct=50.0))
    readings = some_readings(5, bars)
    run = backtest(bars, policy, FillPolicy(), readings, keep_log=True)
    changed = replace(policy, **seeded)
    decisions, stage = rehearse(bars, changed, FillPolicy(), readings, 100_000.0)
    assert differences(run, decisions, stage)


def every_rule(**changed) -> dict:
    """A market, a policy and costs under which every rule is met; some of them changed."""
    policy = Policy(
        indicators=QUICK,
        risk=RiskPolicy(
            drawdown_pct=60.0, daily_loss_pct=50.0, collar_pct=3.0, orders_per_minute=1,
            group_limit=1, groups={"A": "g", "B": "g"},
        ),
        sizing=SizingPolicy(
            base_pct=40.0, max_pct=90.0, is_limit=True, limit_bps=60.0, stop_pct=2.0,
            target_pct=2.0, tick=0.05,
        ),
    )  # fmt: skip
    costs = FillPolicy(
        fee_minimum=1.0, borrow_pct=30.0, volume_pct=0.2, impact=0.5, slippage_atrs=0.02
    )
    return {"policy": policy, "costs": costs, **changed}


def many_actions(bars: Bars) -> tuple[Action, ...]:
    """Every seventh bar a split or a dividend of one symbol after the other."""
    found, what = [], ((1.5, 0.0), (1.0, 0.37), (0.1, 0.0), (2.0, 0.37))
    for i, t in enumerate(range(7, len(bars), 7)):
        found.append(Action(bars.symbols[i % 3], CLOSES.index[t].date(), *what[i % 4]))
    return tuple(found)


def rules_seen(run: Backtest) -> set[str]:
    """Which rules a run has met, counted from its rows."""
    trades = run.run.trades[: len(run.pnl)]
    fills = run.run.fills[: int(run.run.book["fills"][0])]
    legs = [(row["symbol"], row["opened"]) for row in trades if row["leg"] == 1]
    seen = {f"refused: {reason}" for reason in run.reasons["reason"]}
    for t, s in zip(*np.nonzero(run.log["ordered"]), strict=True):
        rows = fills[(fills["bar"] == t) & (fills["symbol"] == s) & (fills["leg"] == ENTRY)]
        ordered = run.log["ordered"][t, s]
        got = rows["quantity"][np.sign(rows["quantity"]) == np.sign(ordered)].sum()
        seen.add("a limit not filled" if not len(rows) else "an entry filled whole")
        seen |= {"an entry filled in part"} if 0 < abs(got) < abs(ordered) else set()
    for is_seen, rule in (
        ((trades["entered"] == 1).any(), "a limit filled at the open"),
        ((trades["entered"] == 2).any(), "a limit filled within the bar"),
        (len(legs) > len(set(legs)), "a stop filled in parts"),
        ((trades["leg"] == 3).any(), "cash for parts of shares"),
        (run.dividends != 0, "a dividend"),
        (run.paid["borrow"] > 0, "a short that pays"),
        (run.ambiguous > 0, "a bar that cannot tell"),
    ):
        seen |= {rule} if is_seen else set()
    return seen


RULES = {
    "a limit filled at the open", "a limit filled within the bar", "a limit not filled",
    "an entry filled whole", "an entry filled in part", "a stop filled in parts",
    "cash for parts of shares", "a dividend", "a short that pays", "a bar that cannot tell",
    "refused: group", "refused: rate", "refused: collar", "refused: price",
}  # fmt: skip


def both_loops(policy, costs, theirs=None):
    """A run, and where a rehearsal with perhaps other knobs differs from it."""
    bars = a_market(8, 250, ("A", "B", "C"), 0.03)
    readings, actions = some_readings(8, bars), many_actions(bars)
    run = backtest(bars, policy, costs, readings, keep_log=True, actions=actions)
    other = {"policy": policy, "costs": costs, "actions": actions, **(theirs or {})}
    decisions, stage = rehearse(
        bars, other["policy"], other["costs"], readings, 100_000.0, other["actions"]
    )
    return run, differences(run, decisions, stage)


def test_the_comparison_sees_every_rule_of_filling():
    """Rules that no market meets would be equal in both loops whatever they say."""
    run, wrong = both_loops(**every_rule())
    assert wrong == []
    assert rules_seen(run) >= RULES


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("costs", {"volume_pct": 0.19}), ("costs", {"stop_first": False}),
        ("costs", {"entry_bar": False}), ("costs", {"impact": 0.51}),
        ("costs", {"slippage_atrs": 0.021}), ("costs", {"fee_minimum": 1.01}),
        ("costs", {"borrow_pct": 30.1}), ("risk", {"group_limit": 2}),
        ("risk", {"orders_per_minute": 2}), ("risk", {"collar_pct": 1.0}),
        ("sizing", {"limit_bps": 61.0}), ("sizing", {"is_limit": False}),
        ("actions", "no split"), ("actions", "no dividend"),
    ],
)  # fmt: skip
def test_a_seeded_difference_in_every_rule_is_noticed(part, changed):
    """Positive control, rule by rule: the other loop fills by a slightly different one."""
    ours, theirs = every_rule(), {}
    if part == "costs":
        theirs["costs"] = replace(ours["costs"], **changed)
    elif part == "actions":
        known = many_actions(a_market(5, 250, ("A", "B", "C"), 0.03))
        gone = {"ratio": 1.0} if changed == "no split" else {"dividend": 0.0}
        theirs["actions"] = tuple(replace(action, **gone) for action in known)
    else:
        knobs = replace(getattr(ours["policy"], part), **changed)
        theirs["policy"] = replace(ours["policy"], **{part: knobs})
    assert both_loops(**ours, theirs=theirs)[1]


@pytest.mark.parametrize("is_limit", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_both_loops_keep_the_net_limit_alike(seed, is_limit):
    """Below the gross limit it counts on nothing that may not be there: see `leaving`."""
    bars = a_market(seed, 120, ("A", "B", "C"), 0.02)
    limits = RiskPolicy(net_pct=15.0, daily_loss_pct=50.0, drawdown_pct=60.0, collar_pct=20.0)
    sizing = SizingPolicy(base_pct=12.0, is_limit=is_limit, limit_bps=40.0)
    policy = Policy(indicators=QUICK, risk=limits, sizing=sizing)
    readings = some_readings(seed, bars)
    run = backtest(bars, policy, FillPolicy(), readings, keep_log=True)
    assert differences(run, *rehearse(bars, policy, FillPolicy(), readings, 100_000.0)) == []
    loose = replace(policy, risk=replace(limits, net_pct=100.0))
    assert differences(run, *rehearse(bars, loose, FillPolicy(), readings, 100_000.0))


@pytest.mark.parametrize("unit", [1e-3, 1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("is_limit", [False, True])
def test_both_loops_trade_coins_alike(unit, is_limit):
    """Fifty dollars become five cents, half a cent, and less than anything is quoted in."""
    whole = a_market(8, 150, ("A", "B", "C"), 0.03)
    bars = replace(whole, **{n: getattr(whole, n) * unit for n in ("open", "high", "low", "close")})
    sizing = SizingPolicy(is_limit=is_limit, limit_bps=40.0)
    policy = Policy(indicators=QUICK, risk=RiskPolicy(collar_pct=20.0), sizing=sizing)
    readings = some_readings(8, bars)
    run = backtest(bars, policy, FillPolicy(), readings, keep_log=True)
    assert len(run.trades) > 5
    assert differences(run, *rehearse(bars, policy, FillPolicy(), readings, 100_000.0)) == []


@pytest.mark.parametrize("is_limit", [False, True])
@pytest.mark.parametrize(("seed", "gross_pct"), [(37, 100.0), (49, 60.0), (57, 100.0)])
def test_both_loops_count_a_position_that_cannot_be_left(seed, gross_pct, is_limit):
    """Without a bar at the open its wish is refused early, but the order to close it is out."""
    bars = a_market(seed, 120, tuple("ABCDEFGH"), 0.03, missing=0.35)
    limits = RiskPolicy(
        net_pct=6.0, gross_pct=gross_pct, daily_loss_pct=50.0, drawdown_pct=60.0, collar_pct=30.0
    )
    sizing = SizingPolicy(base_pct=12.0, is_limit=is_limit, limit_bps=40.0)
    consensus = ConsensusPolicy(WEIGHTS, 55.0, 40.0)
    policy = Policy(indicators=QUICK, consensus=consensus, risk=limits, sizing=sizing)
    readings, costs = some_readings(seed, bars), FillPolicy(volume_pct=0.0002)
    run = backtest(bars, policy, costs, readings, keep_log=True)
    assert differences(run, *rehearse(bars, policy, costs, readings, 100_000.0)) == []


@pytest.mark.parametrize("seed", range(4))
def test_both_loops_reserve_alike_for_limits_far_away(seed):
    """Where buying power binds, what a resting short may come to decides what the next one gets."""
    bars = a_market(seed, 120, ("A", "B", "C"), 0.03)
    limits = RiskPolicy(
        gross_pct=1_000.0, net_pct=1_000.0, power_buffer_pct=0.0, daily_loss_pct=90.0,
        drawdown_pct=90.0, collar_pct=30.0,
    )  # fmt: skip
    sizing = SizingPolicy(base_pct=60.0, max_pct=90.0, is_limit=True, limit_bps=150.0)
    policy = Policy(indicators=QUICK, risk=limits, sizing=sizing)
    readings = some_readings(seed, bars)
    run = backtest(bars, policy, FillPolicy(), readings, keep_log=True)
    assert differences(run, *rehearse(bars, policy, FillPolicy(), readings, 100_000.0)) == []
    assert run.unfilled > 0
