"""A split overnight: the past is read in new shares, and the journal says since when."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from argo_alpine.bars import Bars, one_bar
from argo_alpine.domain import Bar
from argo_alpine.engine import Policy
from argo_alpine.votes import heard
from services.argo import store
from services.argo.journal import replayed
from services.argo.ports import Harvest
from services.argo.tape import Split, Tape, split_ratio
from tests.argo_stage import staged

CLOSE = datetime(2005, 2, 25, 21, tzinfo=UTC)
DAY = timedelta(days=1)
LIVED = 3  # days before the split


def bar(open, high, low, close, at=CLOSE, volume=1_000.0):
    return Bar("AAPL", at, open, high, low, close, volume)


def in_new_shares(old, ratio, digits=4):
    """What a vendor says of a bar after a split."""
    prices = (round(p / ratio, digits) for p in (old.open, old.high, old.low, old.close))
    return Bar(old.symbol, old.at, *prices, old.volume * ratio)


KEPT = bar(89.62, 89.91, 88.19, 88.99)


@pytest.mark.parametrize(
    "ratio", [2, 3, 1.5, 1.25, 1.1, 1.05, 7, 10, 20, 50, 0.5, 0.1, 0.04, 2 / 3]
)
@pytest.mark.parametrize("digits", [2, 4])
def test_a_bar_that_is_restated_by_a_split_tells_its_ratio(ratio, digits):
    assert split_ratio(KEPT, in_new_shares(KEPT, ratio, digits)) == pytest.approx(ratio, rel=1e-12)


def test_a_split_is_seen_though_one_price_was_corrected_as_well():
    said = replace(in_new_shares(KEPT, 2.0), high=45.30)
    assert split_ratio(KEPT, said) == 2.0
    assert split_ratio(KEPT, replace(said, low=43.10)) == 1.0


@pytest.mark.parametrize(
    "said",
    [
        KEPT,
        bar(89.62, 89.91, 1e-310, 1e-310),  # nothing that a market says
        bar(*(price * 1e-302 for price in (89.62, 89.91, 88.19, 88.99))),
        bar(*(price / 12.5 for price in (89.62, 89.91, 88.19, 88.99))),  # above ten, whole numbers
        bar(89.62, 89.91, 88.19, 88.49),  # a close that was corrected
        bar(44.81, 89.91, 44.10, 88.99),  # half of it is halved
        bar(89.62, 180.0, 88.19, 88.99),  # a bad high
        bar(88.72, 89.01, 87.31, 88.10),  # one percent of a dividend
        bar(60.43, 60.62, 59.46, 60.01),  # 1.483: no split is like that
    ],
)
def test_second_thoughts_that_are_no_split_change_nothing(said):
    assert split_ratio(KEPT, said) == 1.0
    tape = Tape(["AAPL"], Policy().indicators)
    tape.extend([KEPT])
    before = tape.states.tobytes()
    assert tape.extend([said]) == []
    assert (tape.splits, tape.last["AAPL"]) == ({}, KEPT)
    assert tape.states.tobytes() == before


def vote_of(reading, policy):
    vote = heard(reading, policy.votes, reading.at)
    return vote.direction, vote.confidence


def walk(n=120):
    rng = np.random.default_rng(5)
    closes = np.round(80 * np.exp(np.cumsum(rng.normal(0, 0.02, n))), 2)
    return [
        bar(c, c + 1.25, c - 1.5, c, CLOSE + i * DAY, 1_000.0 + i) for i, c in enumerate(closes)
    ]


@pytest.mark.parametrize("ratio", [2.0, 0.5, 8.0])  # powers of two: to the last bit
def test_the_past_is_read_as_if_it_had_always_been_in_new_shares(ratio):
    bars = walk()
    exact = [in_new_shares(b, ratio, digits=12) for b in bars]
    lived, always = (Tape(["AAPL"], Policy().indicators) for _ in range(2))
    lived.extend(bars[:100])
    assert lived.extend(exact[99:]) == exact[100:]  # as delivered: the last known, then the new
    always.extend(exact)
    assert lived.reading("AAPL") == always.reading("AAPL")


def test_without_the_bar_that_is_said_again_a_split_is_a_crash():  # what the rule is for
    bars, policy = walk(), Policy()
    crashed, whole = (Tape(["AAPL"], policy.indicators) for _ in range(2))
    crashed.extend(bars[:100])
    crashed.extend([in_new_shares(b, 2.0) for b in bars[100:]])
    whole.extend(bars)
    votes = [vote_of(tape.reading("AAPL"), policy) for tape in (crashed, whole)]
    assert votes[0] != votes[1]
    assert crashed.reading("AAPL").values["atr"] > 1.5 * whole.reading("AAPL").values["atr"] / 2


def test_two_splits_of_one_symbol_and_one_of_another_stand_apart():
    bars = walk()
    tape = Tape(["AAPL", "IBM"], Policy().indicators)
    ibm = [replace(b, symbol="IBM") for b in bars]
    tape.extend(bars[:40] + ibm[:40])
    tape.extend([in_new_shares(b, 2.0, 12) for b in bars[39:80]] + ibm[39:80])
    tape.extend([in_new_shares(b, 8.0, 12) for b in bars[79:]])
    tape.extend([in_new_shares(b, 0.5, 12) for b in ibm[79:]])
    assert [*tape.splits.values()] == [
        Split("AAPL", bars[39].at, 2.0),
        Split("AAPL", bars[79].at, 4.0),
        Split("IBM", ibm[79].at, 0.5),
    ]
    always = Tape(["AAPL", "IBM"], Policy().indicators)
    always.extend([in_new_shares(b, 8.0, 12) for b in bars])
    always.extend([in_new_shares(b, 0.5, 12) for b in ibm])
    assert [tape.reading(s) for s in ("AAPL", "IBM")] == [
        always.reading(s) for s in ("AAPL", "IBM")
    ]


def test_of_a_few_cents_a_cent_is_no_split():
    penny = bar(0.02, 0.02, 0.02, 0.02)
    assert split_ratio(penny, bar(0.02, 0.02, 0.019, 0.019)) == 1.0
    assert split_ratio(penny, bar(0.04, 0.04, 0.04, 0.04)) == 0.5


def test_a_restatement_that_is_taken_back_leaves_no_trace():
    bars, policy = walk(), Policy()
    lived, always = (Tape(["AAPL"], policy.indicators) for _ in range(2))
    lived.extend(bars[:100])
    lived.extend([in_new_shares(bars[99], 2.0)])
    assert lived.splits
    lived.extend(bars[99:])
    always.extend(bars)
    assert lived.reading("AAPL") == always.reading("AAPL")


def test_the_latest_of_two_restatements_counts():
    bars = walk()
    lived, always = (Tape(["AAPL"], Policy().indicators) for _ in range(2))
    lived.extend(bars[:100])
    lived.extend([in_new_shares(bars[99], 0.5)])  # the wrong way round
    lived.extend([in_new_shares(b, 2.0, 12) for b in bars[99:]])
    always.extend([in_new_shares(b, 2.0, 12) for b in bars])
    assert lived.reading("AAPL") == always.reading("AAPL")


def halved(bars: Bars) -> Bars:
    """The market after AAPL was split two for one, all of its past restated."""
    s, columns = bars.symbols.index("AAPL"), []
    for name, factor in dict.fromkeys(("open", "high", "low", "close"), 0.5).items():
        columns.append(getattr(bars, name).copy())
        columns[-1][:, s] *= factor
    volume = bars.volume.copy()
    volume[:, s] *= 2
    return Bars(bars.symbols, bars.at, *columns, volume, bars.basis)


def split(stage):
    """Overnight; Massive says the last bar again with the next one."""
    stage.bars = halved(stage.bars)
    s = stage.bars.symbols.index("AAPL")
    stage.board.put("massive", Harvest(bars=(one_bar(stage.bars, stage.t - 1, s),)))


def book_of(stage, kind):
    with stage.writer.transaction() as session:
        return [json.loads(e.body) for e in store.read_journal(session) if e.kind == kind]


@pytest.fixture
def lived(tmp_path):
    """A book that nobody trades with, three days before a split and two after it."""
    with staged(tmp_path / "book.sqlite", history=200, auto_execute=False) as stage:
        for _ in range(LIVED):
            stage.day()
        split(stage)
        for _ in range(2):
            stage.day()
        yield stage


def test_a_split_is_written_down_before_what_follows_from_it(lived):
    (noted,) = book_of(lived, "split")
    assert (noted["symbol"], float(noted["ratio"])) == ("AAPL", 2.0)
    assert noted["at"].startswith(f"{lived.closed[lived.t - 3]:%Y-%m-%d}")
    with lived.writer.transaction() as session:
        kinds = [entry.kind for entry in store.read_journal(session)]
    assert "moment" in kinds[kinds.index("split") :]


def test_what_was_decided_around_a_split_replays_identically(lived):
    with lived.writer.transaction() as session:
        found = replayed(session)
    assert (found.divergence, found.decisions > LIVED) == (None, True)


def test_a_replay_that_did_not_know_of_the_split_would_find_out(lived, monkeypatch):
    monkeypatch.setattr(Tape, "note", lambda self, split: None)
    with lived.writer.transaction() as session:
        assert replayed(session).divergence.field.startswith("readings.massive.AAPL")


def test_after_a_restart_the_book_knows_of_the_split_and_does_not_note_it_again(lived):
    before = lived.engine.tape.reading("AAPL")
    lived.restart()
    lived.engine.cycle()
    assert lived.engine.tape.reading("AAPL") == before
    lived.day()
    assert len(book_of(lived, "split")) == 1
    with lived.writer.transaction() as session:
        assert replayed(session).divergence is None


def test_a_split_while_the_engine_was_down_is_found_in_the_history_it_asks_for(tmp_path):
    with staged(tmp_path / "book.sqlite", history=200, auto_execute=False) as stage:
        for _ in range(LIVED):
            stage.day()
        stage.bars = halved(stage.bars)
        stage.restart()
        stage.day()
        (noted,) = book_of(stage, "split")
        assert (noted["symbol"], float(noted["ratio"])) == ("AAPL", 2.0)
        with stage.writer.transaction() as session:
            assert replayed(session).divergence is None


def test_a_split_noted_before_a_crash_is_not_taken_twice(tmp_path, monkeypatch):
    with staged(tmp_path / "book.sqlite", history=200, auto_execute=False) as stage:
        for _ in range(LIVED):
            stage.day()
        stage.close()  # folded, and not decided upon: nobody knew the time
        stage.t += 1
        split(stage)
        stage.at(stage.closed[stage.t])
        monkeypatch.setattr(stage.engine, "keep_history", lambda at: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stage.engine.cycle()
        stage.t += 1
        stage.restart()  # the vendor has all of it in new shares
        stage.engine.cycle()
        assert len(book_of(stage, "split")) == 2
        whole = Tape(stage.engine.tape.index, stage.policy.indicators)
        whole.extend(stage.past(stage.t))
        read, meant = (tape.reading("AAPL").values for tape in (stage.engine.tape, whole))
        assert read["sma"] == pytest.approx(meant["sma"], rel=1e-9)
        with stage.writer.transaction() as session:
            assert replayed(session).divergence is None


def test_late_bars_in_two_deliveries_replay_identically(tmp_path):
    with staged(tmp_path / "book.sqlite", history=200, auto_execute=False) as stage:
        stage.day()
        bars = [one_bar(stage.bars, stage.t, s) for s in range(4)]
        for some in (bars[2:], bars[:2]):
            stage.board.put("massive", Harvest(bars=tuple(some)))
            stage.engine.listen_to_tape()
        stage.t += 1
        stage.at(stage.closed[stage.t])
        stage.engine.cycle()
        assert book_of(stage, "bars")
        with stage.writer.transaction() as session:
            assert replayed(session).divergence is None


def test_a_position_in_old_shares_freezes_its_symbol_and_no_other(tmp_path):
    with staged(tmp_path / "book.sqlite", history=200) as stage:
        stage.day()
        assert stage.broker.held.get("AAPL")
        split(stage)
        stage.broker.held["AAPL"] *= 2
        posts = len(stage.broker.posts)
        stage.clock.move(31.0)
        stage.day()
        assert set(stage.engine.frozen) == {"AAPL"}
        symbols = {stage.broker.meant[name].symbol for name in stage.broker.posts[posts:]}
        assert "AAPL" not in symbols
