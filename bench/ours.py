"""Our side: the full job, which is more than the peers are asked for.

Four votes (two from prices; X and Sonar have no past here and abstain), consensus, every risk
check, sizing, brackets, slippage and spread; all results. The policy is the default one, except
that a drawdown halt ends after a day: otherwise a halted book would make the rest cheap.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from argo_alpine.backtest import Backtest, backtest
from argo_alpine.bars import Bars
from argo_alpine.costs import FillPolicy
from argo_alpine.engine import Policy
from argo_alpine.metrics import summary
from argo_alpine.risk import RiskPolicy
from argo_alpine.sizing import SizingPolicy
from argo_alpine.stretches import Candidate, course_of
from argo_alpine.walk_forward import outcomes
from bench.markets import CASH, FEES, STOP, TARGET, Prices
from bench.peers import Outcome

POLICY = Policy(risk=RiskPolicy(rearm_after=1))
THRESHOLDS = (60.0, 62.0, 64.0, 66.0, 68.0, 70.0, 72.0, 74.0, 76.0, 78.0)  # percent
STOPS = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5)  # percent of the decision close


def with_knobs(threshold: float, stop: float) -> Policy:
    """The policy with two knobs turned."""
    consensus = replace(POLICY.consensus, threshold=threshold)
    return replace(POLICY, consensus=consensus, sizing=SizingPolicy(stop_pct=stop))


POLICIES = tuple(with_knobs(threshold, stop) for threshold in THRESHOLDS for stop in STOPS)


def as_ours(given: Any) -> Any:
    """Prices as checked bars; anything else as it is."""
    return Bars(*given, "raw") if isinstance(given, Prices) else given


def still_open(run: Backtest) -> int:
    """Positions held at the end."""
    return int(run.run.book["held"][0])


def our_run(bars: Bars, policy: Policy = POLICY) -> Outcome:
    """One run: curve, trades, fills, costs, reasons, as arrays."""
    run = backtest(bars, policy)
    return len(run.pnl) + still_open(run), float(run.equity[-1])


def our_page(bars: Bars, policy: Policy = POLICY) -> Outcome:
    """One run and its summary, as the peers give one."""
    run = backtest(bars, policy)
    page = summary(run)
    return page.trades + still_open(run), float(run.equity[-1])


def our_sweep(bars: Bars, policies: Sequence[Policy] = POLICIES) -> Outcome:
    """Every policy on the same bars, positions sold at the end, each with its summary."""
    course = course_of(bars)
    found = outcomes(course, [Candidate(policy) for policy in policies], workers=2)
    pages = [outcome.summary for outcome in found if outcome.summary]
    return sum(p.trades for p in pages), sum(1 + p.total_return for p in pages)


def our_quality(confidences: NDArray[np.int64], hits: NDArray[np.bool_]) -> Outcome:
    """The quality of signals whose outcome is known, and their Brier score."""
    from argo_alpine.scores import quality_of

    quality = quality_of(confidences, hits)
    return quality.n, quality.brier


def obeying(bars: Bars, directions: NDArray[np.float64], brackets: bool) -> Backtest:
    """Given directions, all in, no limit in the way: what the peers are compared with."""
    legs = (100 * STOP, 100 * TARGET) if brackets else (0.0, 0.0)
    limits = RiskPolicy(
        power_buffer_pct=0.0, daily_loss_pct=100.0, drawdown_pct=100.0, collar_pct=100.0
    )
    return backtest(
        bars,
        Policy(risk=limits, sizing=SizingPolicy(stop_pct=legs[0], target_pct=legs[1])),
        FillPolicy(slippage_bps=0.0, spread_bps=0.0, fee_bps=10_000 * FEES, borrow_pct=0.0),
        cash=CASH,
        keep_log=True,
        targets=directions,
        sizes=np.full(directions.shape, 100.0),
    )
