"""The bench compares like with like, and says so when it cannot."""

import json
import platform
import time

import numpy as np
import pytest

from bench import measure, parity
from bench.backtest import report
from bench.markets import directions, google, walk
from bench.measure import Absent, Timing, interleaved, ratio, slope
from bench.ours import POLICIES
from bench.scaling import Point, slopes
from bench.works import QUICK, WORKS


def dropped(trips: parity.Trips) -> parity.Trips:
    return dict(list(trips.items())[1:])


def delayed(trips: parity.Trips) -> parity.Trips:
    (entry, leave), *others = trips.items()
    return {entry: leave + 1} | dict(others)


@pytest.mark.parametrize("brackets", [False, True])
def test_our_loop_trades_as_backtesting_py_does_bar_by_bar(brackets):
    found = parity.compared("GOOG", google(), brackets, "backtesting")
    assert found.is_alike, found.unexplained
    assert found.theirs == 33
    assert found.ours + found.explained.get(parity.BEYOND, 0) == found.theirs


def test_directions_one_bar_late_are_noticed():
    assert parity.is_noticed(google(), "backtesting")


@pytest.mark.parametrize("change", [dropped, delayed])
def test_one_trade_that_differs_is_noticed(change, monkeypatch):
    """Positive control: the peer leaves a trade out, or leaves it a bar late."""
    true = parity.backtesting_trips(google(), False)
    monkeypatch.setitem(parity.PEERS, "backtesting", lambda prices, brackets: change(true))
    found = parity.compared("GOOG", google(), False, "backtesting")
    assert len(found.unexplained) == 1


def test_a_wild_walk_reaches_stops_and_targets_alike():
    found = parity.compared("walk", walk(3_000), True, "backtesting")
    assert found.is_alike, found.unexplained
    assert found.legs > 0


def test_engines_take_turns_each_after_a_call_that_is_not_counted(monkeypatch):
    monkeypatch.setattr(measure, "ENOUGH", 0.0)
    calls = []
    jobs = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = interleaved(jobs, 3)
    assert "".join(calls) == "ab" + 3 * "aabb"
    assert all(len(timing.runs) == 3 for timing in times.values())


def test_a_short_job_is_repeated_and_told_per_call():
    calls = []
    took = measure.seconds(lambda: calls.append(time.sleep(0.002)), 0.02)
    assert 2 <= len(calls) <= 10
    assert took >= 0.002
    assert took * len(calls) >= 0.02


def test_a_peer_that_is_not_installed_costs_one_ratio_and_says_why():
    def absent():
        raise ImportError("no such engine")

    times = interleaved({"ours": list, "theirs": absent}, 2)
    assert isinstance(times["ours"], Timing)
    assert ratio(times["ours"], times["theirs"]) == Absent("not here: no such engine")


def test_a_ratio_is_their_median_over_ours_without_the_first_call():
    ours, theirs = Timing(9.0, (1.0, 2.0, 30.0)), Timing(99.0, (8.0, 8.0, 8.0))
    assert ratio(ours, theirs) == 4.0


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_fitted_slope_is_the_power_of_the_law(power):
    sizes = [1e3, 1e4, 1e5, 1e6]
    assert slope(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


def test_the_report_has_every_ratio_or_the_reason_why_not():
    times = {
        "goog": {"ours": Timing(1.0, (0.5,)), "raptorbt": Timing(1.0, (1.0,))}
        | {"backtesting": Absent("not here"), "vectorbt": Timing(1.0, (5.0,))}
    }
    points = [Point("bars", n, 1, 1, n / 1e6) for n in (10, 100)]
    told = json.loads(json.dumps(report(QUICK, [], times, {}, {}, points)))
    expected = {f"{name}_vs_{peer}" for name, work in WORKS.items() for peer in work.aims}
    assert expected <= told["ratios"].keys()
    assert told["ratios"]["goog_vs_raptorbt"] == 2.0
    missing = {key for key, value in told["ratios"].items() if value is None}
    assert missing == told["why_null"].keys()
    assert told["why_null"]["goog_vs_backtesting"] == "not here"
    assert told["scaling"]["slopes"]["bars"] == pytest.approx(1.0)


def test_the_report_names_no_host():
    told = json.dumps(report(QUICK, [], {}, {}, {}, []))
    assert "processor" in told
    assert f'"{platform.node()}"' not in told


def test_the_sweep_has_a_hundred_different_policies():
    assert len({policy.version for policy in POLICIES}) == 100


def test_a_slope_is_fitted_along_each_axis_alone():
    points = [Point("bars", n, 1, 1, n) for n in (1, 10)]
    points += [Point("symbols", 1, n, 1, n**2) for n in (1, 10)]
    points += [Point("combinations", 1, 1, n, 1.0) for n in (1, 10)]
    found = slopes(points)
    assert [round(found[axis], 6) for axis in ("bars", "symbols", "combinations")] == [1, 2, 0]


def test_directions_open_only_at_a_crossing():
    wishes = directions(walk(500))[:, 0]
    opinions = wishes[wishes == wishes]
    assert set(opinions) == {0.0, 1.0}
    assert (opinions[1:] != opinions[:-1]).all()  # up and down take turns


def test_scores_that_differ_are_noticed(monkeypatch):
    confidences, hits = np.array([5_000, 9_000]), np.array([False, True])
    monkeypatch.setattr(parity, "our_quality", lambda *given: (2, 0.13))  # (.25 + .01) / 2
    assert parity.scored_alike(confidences, hits).is_alike
    monkeypatch.setattr(parity, "our_quality", lambda *given: (2, 0.12))
    assert not parity.scored_alike(confidences, hits).is_alike
