"""Candidates on a sheet come to what each comes to alone, whoever else is on it."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from argo_alpine import sheets
from argo_alpine.costs import FillPolicy
from argo_alpine.domain import InvalidData, InvalidPolicy
from argo_alpine.engine import Policy
from argo_alpine.risk import RiskPolicy
from argo_alpine.sheets import room_for, run_sheet
from argo_alpine.sizing import SizingPolicy
from argo_alpine.stretches import Candidate, Course, Span, Stage, course_of, staged
from argo_alpine.walk_forward import Outcome, alone, outcomes, portions
from tests.test_parity import QUICK, a_market, some_actions, some_readings

BIG = SizingPolicy(base_pct=90.0, max_pct=95.0, stop_pct=50.0, target_pct=200.0)
RISKS = (
    RiskPolicy(),
    RiskPolicy(drawdown_pct=1.0, rearm_after=2),
    RiskPolicy(groups={"A": "x", "B": "x", "C": "y"}, allowed=("A", "C", "D")),
    RiskPolicy(drawdown_pct=100.0, daily_loss_pct=100.0, gross_pct=900.0, net_pct=900.0),
)
SIZINGS = (SizingPolicy(stop_pct=0.5), SizingPolicy(stop_atrs=1.0), BIG)
COSTS = (FillPolicy(), FillPolicy(volume_pct=1.0, impact=0.5, part=0.01, fee_bps=5.0, leverage=4.0))


def some_candidates(n: int, seed: int = 0) -> list[Candidate]:
    """Candidates that hear the same and differ in all else, in any order."""
    base = Policy(indicators=QUICK)
    made = []
    for threshold, quorum, risk, sizing, costs in product(
        (55.0, 62.0, 75.0), (0.0, 65.0), RISKS, SIZINGS, COSTS
    ):
        consensus = replace(base.consensus, threshold=threshold, quorum=quorum)
        policy = replace(base, consensus=consensus, risk=risk, sizing=sizing)
        made.append(Candidate(policy, costs))
    order = np.random.default_rng(seed).permutation(len(made))[:n]
    return [made[i] for i in order]


def each_alone(course: Course, candidates: list[Candidate]) -> list[Outcome]:
    stages = [staged(course, span) for span in course.spans]
    told = [stage.ready.opinions(candidates[0].policy) for stage in stages]
    return [alone(candidate, stages, told) for candidate in candidates]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("symbols", ["A", "ABCD"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_sheet_comes_to_what_each_comes_to_alone(seed, symbols, workers):
    missing = 0.0 if seed % 2 else 0.05
    bars = a_market(seed, 400, tuple(symbols), 0.02, missing)
    actions = some_actions(seed, bars) if seed % 3 else ()
    course = course_of(bars, readings=some_readings(seed, bars), actions=actions)
    some = some_candidates(40, seed)
    made = [repr(outcome) for outcome in outcomes(course, some, workers)]
    assert made == [repr(outcome) for outcome in each_alone(course, some)]
    assert len({*made}) > 10  # they do differ


def test_a_candidate_that_is_ruined_takes_nobody_with_it():
    bars = a_market(4, 400, tuple("ABCDEFGHI"), 0.025, missing=0.0)
    reckless = replace(BIG, base_pct=100.0, max_pct=100.0)
    risk = replace(RISKS[3], power_buffer_pct=0.0)
    policy = Policy(indicators=QUICK, sizing=reckless, risk=risk)
    lost = Candidate(policy, FillPolicy(leverage=10.0, fee_bps=9_000.0))
    quiet = Candidate(replace(policy, sizing=SizingPolicy()))
    course = course_of(bars)
    made = outcomes(course, [quiet, lost, quiet])
    assert repr(made[1]) == repr(each_alone(course, [lost])[0])
    assert made[1].summary is None and "ruined: equity fell to" in made[1].why
    assert repr(made[0]) == repr(made[2]) and made[0].summary.trades > 10


def test_a_course_in_pieces_is_each_piece_put_end_to_end():
    bars = a_market(3, 400, ("A", "B"), 0.02)
    course = replace(course_of(bars), spans=(Span(0, 150), Span(210, 400)))
    some = some_candidates(6)
    assert repr(outcomes(course, some, 2)) == repr(each_alone(course, some))


@pytest.mark.parametrize(("n", "workers", "most"), [*product((1, 7, 100, 577), (1, 2, 8), (1, 8))])
def test_portions_hold_everybody_once_and_end_small_for_many(n, workers, most):
    made = portions(range(n), workers, most)
    assert [place for portion in made for place in portion] == [*range(n)]
    assert max(map(len, made)) <= most and (workers == 1 or len(made[-1]) == 1)


def a_stage(n_bars: int, cash: float = 100_000.0) -> Stage:
    course = course_of(a_market(1, n_bars, ("A",), 0.02), cash=cash)
    return staged(course, course.spans[0])


@pytest.mark.parametrize("cash", [0.0, -5.0, np.nan, np.inf])
def test_a_sheet_without_money_is_refused(cash):
    stage = a_stage(100, cash)
    told = stage.ready.opinions(Policy())
    with pytest.raises(InvalidPolicy, match=f"cash must be above zero, was {cash}"):
        run_sheet(stage, [Candidate()], told, room_for(stage))


def test_what_is_of_other_bars_is_refused():
    stage, other = a_stage(100), a_stage(90)
    told, room = stage.ready.opinions(Policy()), room_for(stage)
    with pytest.raises(InvalidData, match=r"opinions must be on \(90, 1\).* were on \(100, 1\)"):
        run_sheet(other, [Candidate()], told, room_for(other))
    with pytest.raises(
        InvalidData, match="over 100 bars of 1 symbols, and there are 1 over 90 of 1"
    ):
        run_sheet(other, [Candidate()], other.ready.opinions(Policy()), room)
    with pytest.raises(InvalidData, match=r"is for 1 to 8 candidates .* and there are 9 over 100"):
        run_sheet(stage, [Candidate()] * 9, told, room)
    with pytest.raises(InvalidData, match="and there are 0 over 100"):
        run_sheet(stage, [], told, room)
    few = room._replace(run=room.run._replace(fills=room.run.fills[:-1]))
    with pytest.raises(InvalidData, match="make room with room_for"):
        run_sheet(stage, [Candidate()], told, few)


def test_candidates_of_other_kinds_are_named():
    with pytest.raises(InvalidPolicy, match="all must be of one kind, FillPolicy; was NoneType"):
        outcomes(a_stage(100).course, [Candidate(), Candidate(costs=None)])


def test_whole_numbers_of_cash_compile_nothing_again():
    course, whole = a_stage(100).course, a_stage(100, 100_000).course
    known = len(sheets.run_down.signatures)
    assert repr(outcomes(whole, [Candidate()])) == repr(outcomes(course, [Candidate()]))
    assert len(sheets.run_down.signatures) == max(known, 1)


def test_a_course_of_one_bar_has_no_return():
    bars = a_market(1, 100, ("A",), 0.02, missing=0.0)
    course = replace(course_of(bars), spans=(Span(99, 100),))
    assert [found.why for found in outcomes(course, [Candidate()])] == [
        "a single bar has no return"
    ]
