"""Every trial is counted once, whoever ran it and however often it was interrupted."""

import math
import subprocess
import sys
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import date
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from argo_alpine import optimize
from argo_alpine import walk_forward as walking
from argo_alpine.backtest import Prepared, backtest
from argo_alpine.bars import COLUMNS, Bars
from argo_alpine.domain import (
    InvalidBars,
    InvalidPolicy,
    InvalidSettings,
    Unavailable,
    UnavailableData,
)
from argo_alpine.fields import Grid, with_fields
from argo_alpine.folds import Windows, folds
from argo_alpine.loading import Action, load
from argo_alpine.optimize import (
    Range,
    counted,
    gathered,
    on_cluster,
    plateau,
    progress,
    running,
    search,
    sweep,
    while_all_stay,
)
from argo_alpine.plateau import best, nearby_scores, plateau_scores
from argo_alpine.sessions import day_number
from argo_alpine.shares import reading
from argo_alpine.skill import luckiest
from argo_alpine.stretches import Candidate, course_of, stretch
from argo_alpine.trials import Ledger
from argo_alpine.walk_forward import Objective, outcomes, walk_forward
from tests.together import waited

STOCKS = load(["MSFT", "AAPL"], last=date(2004, 12, 31))
COURSE = course_of(STOCKS, date(2003, 1, 2))
GRID = Grid({"consensus.threshold": tuple(range(62, 80, 2)), "sizing.stop_pct": (*range(1, 11),)})
SMALL = Grid({"consensus.threshold": (66, 70, 74), "costs.slippage_bps": (0, 20)})
SPACE = {"consensus.threshold": Range(60, 80), "indicators.sma": Range(10, 60, step=10)}
AIM = Objective("sharpe", min_trades=3)


def in_old_shares(bars, symbol, day, ratio):
    """The bars as they were before anybody knew of a split, and the split."""
    before = (bars.days < day_number(day))[:, None]
    here = before & (np.array(bars.symbols) == symbol)
    columns = [
        np.where(here, values / ratio if name == "volume" else values * ratio, values)
        for name, values in ((n, getattr(bars, n)) for n in COLUMNS)
    ]
    return Bars(bars.symbols, bars.at, *columns, "raw"), Action(symbol, day, ratio)


RAW, SPLIT = in_old_shares(STOCKS, "MSFT", date(2003, 9, 2), 2.0)
ACTIONS = (SPLIT, Action("AAPL", date(2004, 2, 3), 1.0, 0.25))
IN_RAW = course_of(RAW, date(2003, 1, 2), actions=ACTIONS)


@pytest.fixture
def runs(monkeypatch):
    """Every backtest that is run, alone or on a sheet, by the bars and the policy it is given."""
    seen, real, on_a_sheet = [], Prepared.run, walking.run_sheet

    def watched(ready, policy, costs, *rest, **named):
        seen.append((ready.bars, policy, costs))
        return real(ready, policy, costs, *rest, **named)

    def all_watched(stage, some, *rest):
        seen.extend((stage.ready.bars, one.policy, one.costs) for one in some)
        return on_a_sheet(stage, some, *rest)

    monkeypatch.setattr(Prepared, "run", watched)
    monkeypatch.setattr(walking, "run_sheet", all_watched)
    return seen


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trials.jsonl"


class Stopped(KeyboardInterrupt):
    """Somebody pressed Ctrl+C."""


def stopping(after):
    def tick(done, total):
        if done >= after:
            raise Stopped

    return tick


def test_an_interrupted_sweep_resumes_and_ends_as_if_it_had_not_been(runs, path):
    whole = sweep(COURSE, GRID, objective=AIM)
    runs.clear()
    with pytest.raises(Stopped):
        sweep(COURSE, GRID, objective=AIM, ledger=Ledger(path), tick=stopping(1))
    kept = len(Ledger(path))
    assert 0 < kept == len(runs) < len(GRID)
    resumed = sweep(COURSE, GRID, objective=AIM, ledger=Ledger(path))
    assert len(runs) == len(GRID)  # each trial once
    assert Ledger(path).lines == resumed.ever == len(GRID)
    assert resumed.table.to_csv() == whole.table.to_csv()
    assert (resumed.peak, resumed.plateau) == (whole.peak, whole.plateau)


def test_an_interrupted_walk_and_an_interrupted_search_resume_as_well(runs, path):
    windows, since = Windows(250, 120), date(2003, 1, 2)

    def walk(ledger=None, tick=None):
        with running(ledger=ledger) as run:
            return walk_forward(
                STOCKS, SMALL, windows, None, AIM, plateau, since, run=run, tick=tick
            )

    def look(ledger=None, tick=None):
        return search(COURSE, SPACE, 24, seed=5, objective=AIM, ledger=ledger, tick=tick)

    for work, shown in ((walk, lambda w: w.equity.tobytes()), (look, lambda s: s.table.to_csv())):
        whole, once = work(), len(runs)
        runs.clear()
        with pytest.raises(Stopped):
            work(Ledger(path), stopping(9))
        resumed = work(Ledger(path))
        tests = (
            len(resumed.steps) + 1 if work is walk else 0
        )  # a test is no trial, and is run again
        assert len(runs) - once <= tests
        assert shown(resumed) == shown(whole)
        runs.clear()


def test_asking_the_same_for_another_purpose_is_no_further_trial(runs, path):
    sweep(COURSE, SMALL, objective=AIM, ledger=Ledger(path))
    runs.clear()
    other = sweep(COURSE, SMALL, objective=Objective("calmar", 3), ledger=Ledger(path))
    assert (len(runs), other.ever) == (0, len(SMALL))
    later = course_of(STOCKS, date(2004, 1, 2))
    assert sweep(later, SMALL, objective=AIM, ledger=Ledger(path)).ever == 2 * len(SMALL)


def test_a_result_of_other_code_is_run_again_and_not_counted_again(runs, path, monkeypatch):
    sweep(COURSE, SMALL, objective=AIM, ledger=Ledger(path))
    monkeypatch.setattr(optimize, "code_digest", lambda: "repaired")
    again = sweep(COURSE, SMALL, objective=AIM, ledger=Ledger(path))
    assert (len(runs), again.ever) == (2 * len(SMALL), len(SMALL))


def test_what_the_ledger_gives_back_is_what_was_run_to_the_last_bit(path):
    some = [with_fields(Candidate(), point) for point in SMALL.points]
    some += [with_fields(Candidate(), {"consensus.threshold": 100})]  # no trades: NaN
    fresh = outcomes(COURSE, some)
    assert repr(counted(outcomes, Ledger(path))(COURSE, some)) == repr(fresh)
    assert repr(counted(outcomes, Ledger(path))(COURSE, some)) == repr(fresh)


def test_no_trial_copies_the_bars(runs):
    sweep(COURSE, SMALL, objective=AIM)
    assert all(np.shares_memory(bars.close, COURSE.bars.close) for bars, *_ in runs)


def test_costs_are_fields_as_well(runs):
    sweep(COURSE, SMALL, objective=AIM)
    assert {costs.slippage_bps for *_, costs in runs} == {0.0, 20.0}


def test_the_number_of_threads_changes_no_bit():
    one, three = (sweep(COURSE, GRID, objective=AIM, workers=n) for n in (1, 3))
    assert one.table.to_csv() == three.table.to_csv()
    one, three = (search(COURSE, SPACE, 20, seed=3, objective=AIM, workers=n) for n in (1, 3))
    assert one.table.to_csv() == three.table.to_csv()


def test_a_search_follows_its_seed():
    tables = [search(COURSE, SPACE, 20, s, objective=AIM).table.to_csv() for s in (3, 3, 4)]
    assert tables[0] == tables[1] != tables[2]


@contextmanager
def program(name, *words):
    """A program of dask's while it is needed; what it says goes where pytest finds it."""
    words = [sys.executable, "-m", f"distributed.cli.{name}", *words]
    running = subprocess.Popen(words)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(10)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two workers, started as an operator would, on free ports of this machine."""
    from distributed import Client

    room = tmp_path_factory.mktemp("cluster")
    where = ("--scheduler-file", str(room / "scheduler.json"))
    here = ("--host", "127.0.0.1", "--no-dashboard")
    alone = ("--nthreads", "1", "--no-nanny", "--local-directory", str(room))
    with ExitStack() as stack:
        stack.enter_context(program("dask_scheduler", *where, *here, "--port", "0"))
        for _ in range(2):
            stack.enter_context(program("dask_worker", *where, *here, *alone))
        waited(120, (room / "scheduler.json").exists)
        with Client(scheduler_file=where[1], timeout="60s", set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)
            address = client.scheduler.address
        yield address


def test_a_cluster_of_two_changes_no_bit(cluster, path):
    here = sweep(COURSE, GRID, objective=AIM)
    there = sweep(COURSE, GRID, objective=AIM, cluster=cluster, ledger=Ledger(path))
    assert here.table.to_csv() == there.table.to_csv()
    assert there.ever == len(GRID)
    some = [with_fields(Candidate(), point) for point in SMALL.points]
    with on_cluster(cluster) as run:
        assert repr(run(COURSE, some)) == repr(outcomes(COURSE, some))


def test_a_cluster_is_told_of_splits(cluster):
    some = [with_fields(Candidate(), point) for point in SMALL.points]
    with on_cluster(cluster) as run:
        assert repr(run(IN_RAW, some)) == repr(outcomes(IN_RAW, some))


def test_every_candidate_meets_splits_and_dividends_as_a_backtest_does():
    some = [with_fields(Candidate(), point) for point in SMALL.points]
    found = outcomes(IN_RAW, some, workers=2)
    unaware = outcomes(course_of(RAW, date(2003, 1, 2)), some)
    for candidate, outcome, blind in zip(some, found, unaware, strict=True):
        asked = candidate.policy, candidate.costs
        run = backtest(RAW, *asked, start=date(2003, 1, 2), actions=ACTIONS)
        assert outcome.summary.trades == len(run.trades) + len(run.holdings)
        alone = stretch(IN_RAW, candidate, IN_RAW.spans[0])
        assert np.array_equal(alone.equity[:-1], run.equity[:-1])
        assert outcome.summary.total_return == alone.equity[-1] / alone.equity[0] - 1
        assert blind.summary.total_return != outcome.summary.total_return


def test_a_walk_meets_splits_in_training_and_in_tests():
    windows = Windows(train=250, test=120)
    walk = walk_forward(RAW, SMALL, windows, objective=AIM, actions=ACTIONS)
    blind = walk_forward(RAW, SMALL, windows, objective=AIM)
    assert not np.array_equal(walk.whole.equity, blind.whole.equity)
    course = course_of(RAW, actions=ACTIONS)
    for step, fold in zip(walk.steps, folds(RAW.at, windows), strict=True):
        alone = stretch(course, with_fields(Candidate(), step.chosen), fold.test)
        assert not step.chosen or np.array_equal(alone.equity, step.part.equity)


def test_actions_on_adjusted_bars_are_refused_and_others_are_other_trials(path):
    adjusted = course_of(STOCKS, date(2003, 1, 2), actions=ACTIONS)
    with pytest.raises(InvalidBars, match="need raw prices"):
        sweep(adjusted, SMALL, objective=AIM)
    sweep(IN_RAW, SMALL, objective=AIM, ledger=Ledger(path))
    fewer = course_of(RAW, date(2003, 1, 2), actions=ACTIONS[:1])
    assert sweep(fewer, SMALL, objective=AIM, ledger=Ledger(path)).ever == 2 * len(SMALL)


def test_actions_that_change_nothing_make_no_other_trial():
    beyond = Action("AAPL", date(2009, 1, 5), 7.0), Action("GOOG", date(2004, 1, 5), 2.0)
    for same in (ACTIONS[::-1], (*ACTIONS, *beyond)):
        other = course_of(RAW, date(2003, 1, 2), actions=same)
        assert optimize.ground_of(other) == optimize.ground_of(IN_RAW)
    assert "actions" not in optimize.ground_of(COURSE)


def test_a_worker_with_other_code_is_refused(cluster, monkeypatch):
    real = optimize.check_codes
    monkeypatch.setattr(optimize, "check_codes", lambda codes, own: real(codes, "repaired"))
    with pytest.raises(InvalidSettings, match="has other code"), on_cluster(cluster):
        pass


def test_without_the_extra_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InvalidSettings, match=r"argo-alpine\[cluster\]"), on_cluster("tcp://x:1"):
        pass
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InvalidSettings, match=r"argo-alpine\[research\]"):
        search(COURSE, SPACE, 2, seed=1)


def test_a_scheduler_that_does_not_answer_is_unavailable():
    with pytest.raises(Unavailable, match="no scheduler answers"), on_cluster("tcp://127.0.0.1:1"):
        pass


tables = arrays(
    np.float64, st.tuples(st.integers(1, 5), st.integers(1, 5)),
    elements=st.one_of(st.just(math.nan), st.floats(-5, 5)),
)  # fmt: skip


def a_grid(shape):
    return Grid({f"knob{i}": (*range(n),) for i, n in enumerate(shape)})


@given(tables)
def test_a_plateau_is_the_median_of_the_cells_one_step_away(scores):
    rows, columns = scores.shape
    found = plateau_scores(a_grid(scores.shape), scores.ravel()).reshape(scores.shape)
    for i, j in product(range(rows), range(columns)):
        near = [
            -math.inf if math.isnan(scores[a, b]) else scores[a, b]
            for a, b in product(range(rows), range(columns))
            if max(abs(a - i), abs(b - j)) <= 1
        ]
        median = float(np.median(near))
        assert found[i, j] == median or (math.isnan(found[i, j]) and median == -math.inf)


@given(tables, st.floats(-3, 3))
def test_a_plateau_moves_with_its_scores_and_never_leaves_them(scores, by):
    grid, flat = a_grid(scores.shape), scores.ravel()
    found = plateau_scores(grid, flat)
    assert np.allclose(plateau_scores(grid, flat + by), found + by, equal_nan=True)
    known = found[~np.isnan(found)]
    assert len(known) == 0 or (known.min() >= np.nanmin(flat) and known.max() <= np.nanmax(flat))


@given(st.integers(0, 24), st.floats(2, 1e6))
def test_a_lonely_peak_never_moves_the_plateau(place, height):
    hill = np.array([4 - abs(i - 3) - abs(j - 1) for i, j in product(range(5), range(5))], float)
    spiked = hill.copy()
    spiked[place] = hill.max() + height
    before, after = (plateau_scores(a_grid((5, 5)), s) for s in (hill, spiked))
    assert best(spiked) == place
    row, column = divmod(best(after, spiked), 5)
    assert max(abs(row - 3), abs(column - 1)) <= 1
    assert after.max() <= hill.max() + 1e-12
    assert before.max() <= after.max() + 1e-12


def test_words_and_switches_have_no_neighbours():
    grid = Grid({"costs.stop_first": (False, True), "sizing.stop_pct": (1, 2, 3)})
    found = plateau_scores(grid, np.array([1, 1, 1, 5, 5, 5.0]))
    assert found.tolist() == [1, 1, 1, 5, 5, 5]


@given(
    arrays(np.float64, st.tuples(st.integers(1, 20), st.just(2)), elements=st.floats(0, 1)),
    st.randoms(use_true_random=False),
)
def test_the_order_of_a_samplers_points_changes_no_neighbourhood(places, random):
    scores = places.sum(axis=1)
    order = np.array(random.sample(range(len(places)), len(places)))
    turned = nearby_scores(places[order], scores[order])
    assert np.array_equal(turned, nearby_scores(places, scores)[order], equal_nan=True)


def test_a_lonely_point_of_a_sampler_is_not_judged():
    places = np.array([[0.1], [0.11], [0.12], [0.13], [0.14], [0.9]])
    found = nearby_scores(places, np.array([1, 1, 1, 1, 1, 99.0]))
    assert math.isnan(found[5])
    assert found[:5].tolist() == [1.0] * 5


def test_too_few_trades_are_no_score_and_the_page_says_so():
    found = sweep(COURSE, SMALL, objective=Objective("sharpe", min_trades=10_000))
    assert (found.peak, found.plateau) == (None, None)
    assert found.table["score"].isna().all()
    assert "Nothing could be judged" in found._repr_html_()


def test_the_page_says_how_many_were_tried(path):
    counted_ones = sweep(COURSE, SMALL, objective=AIM, ledger=Ledger(path))
    assert "The best of 6 trials flatters" in counted_ones._repr_html_()
    assert "6 ever counted" in counted_ones.caveat
    assert "not counted in a ledger" in sweep(COURSE, SMALL, objective=AIM).caveat


def test_the_best_without_skill_is_told_with_the_luck_of_the_period():
    found = sweep(COURSE, SMALL, objective=AIM)
    ratios = found.table["sharpe"]
    best, low, high = found.lucky
    top = found.table.loc[ratios.idxmax()]
    assert best == luckiest(ratios.to_numpy())
    assert high - low == pytest.approx(top["sharpe_high"] - top["sharpe_low"])
    assert reading(best, low, high) in found.caveat


def test_progress_ends_where_the_work_ends(capsys):
    ticks = []
    sweep(COURSE, GRID, objective=AIM, tick=lambda *t: ticks.append(t))
    assert ticks == [(64, 90), (90, 90)]
    bar = progress("sweep")
    for tick in ticks:
        bar(*tick)
    assert "90/90" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("space", "count", "said"),
    [
        ({}, 5, "search something"),
        ({"sizing.stop": Range(1, 2)}, 5, "did you mean sizing.stop_pct"),
        ({"costs.stop_first": Range(0, 1)}, 5, "is no number"),
        (SPACE, 0, "search something"),
    ],
)
def test_a_search_for_nothing_is_refused(space, count, said):
    with pytest.raises(InvalidPolicy, match=said):
        search(COURSE, space, count, seed=1)


@pytest.mark.parametrize("wrong", [(2, 1), (1, 1), (0, 5, None, True), (1, 2, -1), (1, math.inf)])
def test_a_range_that_leads_nowhere_is_refused(wrong):
    with pytest.raises(InvalidPolicy, match="range"):
        Range(*wrong)


def test_workers_are_one_or_more():
    with pytest.raises(InvalidPolicy, match="workers must be at least 1"):
        sweep(COURSE, SMALL, workers=0)


class Leaving:
    """A cluster of two, of which one goes after the first look."""

    def __init__(self, *seen):
        self.seen = [*seen]

    def nthreads(self):
        now = self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]
        if isinstance(now, Exception):
            raise now
        return dict.fromkeys(now, 1)

    def as_current(self):
        return nullcontext()


class Endless:
    """What a worker promised that will never come."""

    def done(self):
        return False


@pytest.mark.parametrize("then", ["a", "", OSError("the scheduler is gone")])
def test_a_search_ends_when_a_worker_does(monkeypatch, then):
    def nothing_yet(futures, timeout):
        raise TimeoutError

    monkeypatch.setattr("distributed.wait", nothing_yet)
    client = Leaving("ab", "ab", then)
    with pytest.raises(Unavailable, match="goes on from there"), while_all_stay(client) as there:
        gathered(client, [Endless()], there)


def test_an_error_of_ours_is_not_laid_on_the_cluster():
    with pytest.raises(KeyError), while_all_stay(Leaving("ab")):
        raise KeyError("ours")
    with pytest.raises(PermissionError), while_all_stay(Leaving("ab")):
        raise PermissionError(13, "a folder of ours")
    with pytest.raises(Unavailable, match="KeyError"), while_all_stay(Leaving("ab", "a")):
        raise KeyError("theirs")


@pytest.mark.parametrize("address", ["", "nonsense", "a b:1"])
def test_an_address_that_is_none_is_said_at_once(address):
    with pytest.raises(InvalidSettings, match="tcp://host:8786"), running(cluster=address):
        pass


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"sizing.stop_pct": (1, 2, 0)}, "a step is above 0"),
        ({"sizing.stop_pct": (1, 2, math.nan)}, "a step is above 0"),
        ({"sizing.stop_pct": (1, 2, 5)}, "no longer than its range"),
        ({"sizing.stop_pct": (1, 5, 1, True)}, "not by factors"),
        ({"indicators.sma": (10, 20, 0.5)}, "indicators.sma takes whole numbers"),
    ],
)
def test_a_range_that_cannot_be_walked_is_refused(space, words):
    with pytest.raises(InvalidPolicy, match=words):
        search(COURSE, {name: Range(*given) for name, given in space.items()}, 2, 1)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "7"])
def test_a_seed_that_no_sampler_takes_is_refused(seed):
    with pytest.raises(InvalidPolicy, match="a seed is a whole number"):
        search(COURSE, {"sizing.stop_pct": Range(1, 2)}, 2, seed)


WINDOWS = Grid({"indicators.sma": (20, 120)})
LATE = STOCKS.times[119].date()


@pytest.mark.parametrize(
    "look",
    [
        lambda start: sweep(course_of(STOCKS, start), WINDOWS),
        lambda start: walk_forward(STOCKS, WINDOWS, Windows(252, 126), start=start),
        lambda start: search(course_of(STOCKS, start), {"indicators.sma": Range(20, 120)}, 2, 1),
    ],
    ids=["sweep", "walk", "search"],
)
def test_no_candidate_is_decided_before_the_longest_of_its_search_is_warm(look):
    for start in (None, LATE):
        with pytest.raises(UnavailableData, match=r"want 120 bars before it.* begin on 2000-08-21"):
            look(start)
    assert STOCKS.times[120].date() == date(2000, 8, 21)
    look(date(2000, 8, 21))


def test_a_search_that_leaves_the_windows_alone_may_begin_cold():
    assert sweep(course_of(STOCKS), SMALL).trials == 6


def test_windows_longer_than_the_bars_are_refused_by_how_many_there_are():
    few = load(["AAPL"], last=date(2000, 5, 31))
    with pytest.raises(UnavailableData, match=r"no day has 120 bars before it.* there are AAPL 64"):
        sweep(course_of(few, date(2000, 5, 1)), WINDOWS)
