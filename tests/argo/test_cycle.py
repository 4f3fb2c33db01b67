"""The engine as a whole: what it decides, writes down, and says of itself."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from argo_alpine.domain import InvalidSettings, UnavailableBroker
from services.argo import tables
from services.argo.cycle import SKEW
from services.argo.lock import locked
from services.argo.ports import Harvest
from tests.argo_stage import SOURCES, SYMBOLS, staged


def rows(stage, query):
    with stage.writer.transaction() as session:
        return session.execute(text(query)).all()


@pytest.fixture
def stage(tmp_path):
    with staged(tmp_path / "book.sqlite", history=120) as stage:
        stage.engine.cycle()
        yield stage


def test_a_day_leaves_votes_a_signal_an_order_and_a_bracket(stage):
    while not rows(stage, "select 1 from fills"):
        stage.day()
    (body,) = rows(stage, "select body from signals limit 1")[0]
    votes = json.loads(body)["consensus"]["votes"]
    assert {vote["source"] for vote in votes} == {*SOURCES}
    assert rows(stage, "select leg from intents limit 1") == [("entry",)]
    assert {leg for (leg,) in rows(stage, "select leg from legs")} == {"stop", "target"}


def test_the_broker_and_the_book_agree_after_every_day(stage):
    for _ in range(40):
        stage.day()
        book = stage.engine.book
        assert {s: p.quantity for s, p in book.positions.items()} == {
            s: q for s, q in stage.broker.held.items() if q
        }
        assert book.cash == pytest.approx(stage.broker.cash, abs=0.005)
    realised = sum(pnl for (pnl,) in rows(stage, "select pnl from trades"))
    open_cost = sum(p.quantity * p.price for p in stage.engine.book.positions.values())
    assert stage.broker.cash + open_cost == pytest.approx(100_000 + realised, abs=0.01)
    assert len(rows(stage, "select 1 from trades")) > 5


def test_nothing_new_writes_only_a_heartbeat(stage):
    stage.day()
    before = rows(stage, "select count(*) from entries")
    for _ in range(5):
        stage.clock.move(5.0)
        stage.engine.cycle()
    assert rows(stage, "select count(*) from entries") == before
    (beat,) = rows(stage, "select body from notes where name = 'heartbeat'")[0]
    assert json.loads(beat)["cycles"] == stage.engine.status.cycles - 1


def test_a_bar_waits_for_the_other_sources_but_not_for_ever(tmp_path):
    with staged(tmp_path / "book.sqlite", history=120, patience=6.0) as stage:
        stage.close()
        said = {key: r for key, r in stage.board.readings.items() if key[0] != "sonar"}
        stage.board.readings = said
        for _ in range(2):
            stage.engine.cycle()
            stage.clock.move(2.0)
        assert not rows(stage, "select 1 from decisions")
        stage.clock.move(3.0)
        stage.engine.cycle()
        assert len(rows(stage, "select 1 from decisions")) == len(SYMBOLS)


def test_a_bar_is_decided_at_once_when_every_source_has_spoken(tmp_path):
    with staged(tmp_path / "book.sqlite", history=120, patience=600.0) as stage:
        stage.close()
        stage.engine.cycle()
        assert len(rows(stage, "select 1 from decisions")) == len(SYMBOLS)


def test_a_bar_is_decided_once_however_often_it_is_delivered(stage):
    stage.day()
    decided = rows(stage, "select count(*) from decisions where why = 'signal'")
    stage.board.put("massive", Harvest(bars=stage.past(stage.t)))
    stage.engine.cycle()
    assert rows(stage, "select count(*) from decisions where why = 'signal'") == decided


def test_without_prices_there_is_no_signal_and_nothing_is_invented(stage):
    stage.closed_board = stage.board.take_bars()
    for i, symbol in enumerate(stage.engine.tape.index):
        stage.opine(i, symbol, stage.clock.market())
    stage.engine.cycle()
    assert not rows(stage, "select 1 from signals")


def test_all_sources_silent_means_no_opinion(tmp_path):
    with staged(tmp_path / "book.sqlite", history=0) as stage:
        stage.board.take_bars()
        stage.engine.cycle()
        opinions = stage.engine.status.opinions
        assert {o.turnout for o in opinions.values()} == {0.0}
        assert not rows(stage, "select 1 from decisions")


def test_a_broker_that_does_not_answer_moves_no_mark_and_gets_no_order(stage, monkeypatch):
    while not rows(stage, "select 1 from signals"):
        stage.close()
        stage.engine.cycle()
        if not rows(stage, "select 1 from signals"):
            stage.t += 1

    def silent(*_):
        raise UnavailableBroker("no answer")

    book, posts = stage.engine.book, len(stage.broker.posts)
    monkeypatch.setattr(stage.broker, "account", silent)
    stage.t += 1
    stage.at(stage.closed[stage.t] - timedelta(hours=6))
    stage.quote(stage.bars.open[stage.t])
    stage.engine.cycle()
    assert len(stage.broker.posts) == posts
    assert stage.engine.book.peak == book.peak
    assert stage.engine.book.pending == book.pending
    monkeypatch.undo()
    stage.clock.move(1.0)
    stage.quote(stage.bars.open[stage.t])
    stage.engine.cycle()
    assert len(stage.broker.posts) > posts


def test_clocks_that_disagree_stop_every_entry(stage, monkeypatch):
    monkeypatch.setattr(stage.broker, "clock", lambda: stage.clock.market() + 2 * SKEW)
    stage.engine.gap()
    stage.engine.cycle()
    assert not stage.engine.status.reconciled
    assert "clock" in stage.engine.status.error
    monkeypatch.undo()
    stage.engine.cycle()
    assert stage.engine.status.reconciled


def test_market_time_never_goes_back(stage):
    stage.clock.move(-60.0)
    stage.engine.cycle()
    assert (stage.engine.status.state, "before this book" in stage.engine.status.error) == (
        "waiting",
        True,
    )


@pytest.mark.parametrize("table", tables.APPEND_ONLY, ids=str)
def test_history_cannot_be_changed_through_the_database(stage, table):
    for _ in range(10):
        stage.day()
    if not rows(stage, f"select 1 from {table} limit 1"):
        pytest.fail(f"no {table} to protect")
    column = table.columns.keys()[0]
    for verb in (f"update {table} set {column} = {column}", f"delete from {table}"):
        with pytest.raises(IntegrityError, match="append-only"):
            rows(stage, verb)


def test_a_second_engine_on_a_book_is_told_who_runs_it(tmp_path):
    with locked(tmp_path / "paper.lock"), pytest.raises(InvalidSettings, match="run by process"):
        locked(tmp_path / "paper.lock").__enter__()
    with locked(tmp_path / "paper.lock"):
        pass


def test_a_foreign_position_freezes_its_symbol_and_no_other(stage):
    stage.quote(stage.bars.open[stage.t])
    stage.broker.held["IBM"] = 7.0
    stage.engine.gap()
    stage.engine.cycle()
    assert list(stage.engine.status.frozen) == ["IBM"]
    for _ in range(30):
        stage.day()
    symbols = {symbol for (symbol,) in rows(stage, "select symbol from intents")}
    assert "IBM" not in symbols and symbols
    stage.broker.held["IBM"] = 0.0
    stage.engine.gap()
    stage.engine.cycle()
    assert not stage.engine.status.frozen
