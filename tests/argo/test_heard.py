"""What a book has heard, as a folder that backtests read: the way back from live to research."""

import errno
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.orm import Session

from argo_alpine.backtest import backtest
from argo_alpine.domain import InvalidJournal, Reading, exchange_date
from argo_alpine.loading import load, splits_of
from argo_alpine.readings import SAID, readings_of
from argo_alpine.records import digest
from argo_alpine.samples import READINGS, checksums
from argo_alpine.sessions import day_number, instant
from services.argo import store
from services.argo.export import heard, write
from services.argo.journal import pages, replayed
from services.argo.ports import Harvest
from services.argo.tape import Split
from services.common.db import sqlite
from tests.argo_stage import SYMBOLS, Stage, staged

LATE = timedelta(seconds=40)  # after a close: then sources have spoken, and it is decided


class LateStage(Stage):
    """X speaks after each close; Sonar every other day, and not quite until the second decision."""

    def close(self):
        super().close()
        self.at(self.closed[self.t] + LATE)
        self.board = self.engine.board
        for symbol in self.engine.tape.index:
            self.say_of(symbol, self.clock.market() - timedelta(seconds=5))

    def opine(self, i, symbol, at):
        super().opine(i, symbol, at)
        for source in ("x_sentiment", "sonar"):
            self.board.readings.pop((source, symbol), None)

    def say_of(self, symbol, at):
        lean = 1.0 if len(symbol) == 4 else -1.0
        mood = Reading("x_sentiment", symbol, at, at + timedelta(hours=3),
                       {"score": 0.7 * lean, "authors": 9.0})  # fmt: skip
        claim = {"direction": lean, "confidence": 95.0}
        until = self.closed[self.t + 1] + LATE / 2
        self.board.put("x_sentiment", Harvest(readings=(mood,)))
        if self.t % 2:
            self.board.put("sonar", Harvest(readings=(replace(
                mood, source="sonar", values=claim, expires=until),)))  # fmt: skip


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A stage of eight days, and the folder of what was heard in them."""
    place = tmp_path_factory.mktemp("heard")
    stage = LateStage(place / "book.sqlite")
    for _ in range(8):
        stage.day()
    yield stage, exported(stage, place / "folder")
    stage.writer.close()


def exported(stage, folder):
    """The folder that a book becomes."""
    with stage.writer.transaction() as session:
        write(heard(session), folder)
    return folder


def decided(stage):
    """Direction and confidence of every consensus, by the close it was about and by symbol."""
    found = {}
    with stage.writer.transaction() as session:
        for entry in store.read_journal(session):
            body = json.loads(entry.body)
            for bar in body["moment"]["bars"] if entry.kind == "moment" else ():
                said = body["decision"]["consensus"][bar["symbol"]]
                key = datetime.fromisoformat(bar["at"]), bar["symbol"]
                found[key] = said["direction"], float(said["confidence"])
    return found


def in_a_backtest(folder, readings):
    """The same of a backtest."""
    names = ("SHORT", "NEUTRAL", "LONG")
    run = backtest(load(SYMBOLS, folder=folder), readings=readings, keep_log=True)
    return {
        (instant(int(at)), symbol): (names[row["side"] + 1], row["confidence"] / 100)
        for at, rows in zip(run.bars.at, run.log, strict=True)
        for symbol, row in zip(run.bars.symbols, rows, strict=True)
    }


def test_a_backtest_decides_what_was_decided_live(lived):
    stage, folder = lived
    live, ours = decided(stage), in_a_backtest(folder, readings_of(SYMBOLS, folder))
    assert len(live) == 8 * len(SYMBOLS)
    assert {key: ours[key] for key in live} == live


def test_with_nothing_said_or_by_its_own_times_it_would_decide_otherwise(lived):
    stage, folder = lived
    live = decided(stage)
    with stage.writer.transaction() as session:
        used = [r for p in pages(session, store.read_journal(session)) for r in p.readings]
        said = {digest(r): r for r in used if r.source in SAID}
        by_own_times = tuple(sorted(said.values(), key=lambda r: r.at))
    for readings in ((), by_own_times):
        ours = in_a_backtest(folder, readings)
        assert {key: ours[key] for key in live} != live


def test_prices_and_readings_come_back_as_they_were(lived):
    stage, folder = lived
    with stage.writer.transaction() as session:
        told = heard(session)
        kept = [bar for _, bar in store.read_bars(session)]
    bars = load(SYMBOLS, folder=folder)
    assert sum(np.count_nonzero(~np.isnan(bars.close[:, s])) for s in range(4)) == len(kept)
    for bar in kept[::97]:
        t, s = list(bars.at).index(day_of(bar)), bars.symbols.index(bar.symbol)
        assert (bars.open[t, s], bars.close[t, s], bars.volume[t, s]) == (
            bar.open, bar.close, bar.volume,
        )  # fmt: skip
    assert readings_of(SYMBOLS, folder) == tuple(told.readings)
    assert READINGS in checksums(SYMBOLS, folder)


def day_of(bar):
    """A bar's close as arrays have it."""
    return int(bar.at.timestamp() * 1_000_000)


def keep_more(session, stage, bar):
    """Keep a bar of the past as the engine does."""
    body, at = {"digest": digest([bar])}, stage.clock.market()
    entry = store.append(session, "bars", at, at, body)
    store.keep_bars(session, entry.seq, [bar])


def test_a_split_is_one_for_the_backtest_too(tmp_path):
    with staged(tmp_path / "book.sqlite", history=300) as stage:
        stage.day()
        with stage.writer.transaction() as session:
            kept = [bar for _, bar in store.read_bars(session) if bar.symbol == "AAPL"]
            at = stage.engine.clock.wall()
            for split in (Split("AAPL", kept[-1].at, 2.0), Split("AAPL", kept[-2].at, 2.0)):
                store.append(session, "split", split.at, at, split)
            last = kept[-1].at + timedelta(days=1)
            halves = (price / 2 for price in (kept[-1].open, kept[-1].high, kept[-1].low))
            new = type(kept[-1])("AAPL", last, *halves, kept[-1].close / 2, 5.0)
            keep_more(session, stage, new)
        folder = exported(stage, tmp_path / "folder")
    found = splits_of(["AAPL"], folder)  # the earlier one was taken back: its open shows none
    assert [(a.symbol, a.day, a.ratio) for a in found] == [("AAPL", exchange_date(last), 2.0)]
    assert day_number(found[0].day) > day_number(exchange_date(kept[-1].at))


def test_what_no_vote_can_be_made_of_is_left_out_and_counted(tmp_path):
    with staged(tmp_path / "book.sqlite", history=300) as stage:
        stage.close()
        at = stage.clock.market()
        wild = Reading(
            "sonar", "AAPL", at, at + timedelta(hours=9), {"direction": 7.0, "confidence": 80.0}
        )
        stage.board.put("sonar", Harvest(readings=(wild,)))
        stage.engine.cycle()
        with stage.writer.transaction() as session:
            told = heard(session)
    assert told.unreadable == 1
    assert {(r.source, r.symbol) for r in told.readings} == {
        (source, symbol) for source in SAID for symbol in SYMBOLS
    } - {("sonar", "AAPL")}


@pytest.mark.parametrize("symbol", ["../X", "A B", "readings", "SPLITS", "", ".HID", "BTC/USD"])
def test_a_symbol_that_no_folder_of_bars_can_hold_is_refused(tmp_path, symbol):
    with staged(tmp_path / "book.sqlite", history=300) as stage:
        stage.day()
        with stage.writer.transaction() as session:
            one = next(iter(store.read_bars(session)))[1]
            keep_more(session, stage, replace(one, symbol=symbol))
            with pytest.raises(InvalidJournal, match="is no symbol that a folder of bars can hold"):
                heard(session)


@pytest.fixture
def copy(lived, tmp_path):
    """A copy of that book which forbids nothing."""
    with closing(sqlite3.connect(tmp_path / "copy.sqlite")) as book:
        with lived[0].writer.engine.connect() as connection:
            connection.connection.driver_connection.backup(book)
        for (name,) in book.execute("select name from sqlite_master where type = 'trigger'"):
            book.execute(f"drop trigger {name}")
        book.commit()
    engine = sqlite(tmp_path / "copy.sqlite")
    with Session(engine) as session:
        yield session
    engine.dispose()


AAPL_IN_JUNE = "symbol = 'AAPL' and at like '2004-06%'"
LIES = 'body = replace(body, \'"direction":"1\', \'"direction":"-1\')'
DOUBLED = "insert into bars select symbol,"
REST = "volume, seq from bars where seq = 12 and symbol = 'IBM'"
DAMAGES = {
    f"update readings set {LIES} where source = 'sonar'": "entry 2, readings: .* not the reading",
    "update readings set body = replace(body, 'AAPL', 'IBM') where source = 'x_sentiment'":
        "entry 2, readings: .* not the reading",
    "delete from readings where source = 'sonar'": "entry 2, readings: .* gone",
    f"delete from bars where {AAPL_IN_JUNE}": "entry 1, bars: ",
    f"update bars set close = close * 2, high = high * 2 where {AAPL_IN_JUNE}": "entry 1, bars: ",
    "update bars set close = close * 2, high = high * 2 where seq = 12":
        r"entry 12, moment.bars.AAPL 2005-03-02T21:00.close: ",
    "delete from bars where seq = 12 and symbol = 'IBM'": "entry 12, moment.bars.IBM 2005-03-02",
    "update bars set seq = 13 where seq = 12 and symbol = 'IBM'": "entry 12, moment.bars.IBM",
    f"{DOUBLED} '2005-03-02 21:00:00', open * 2, high * 2, low * 2, close * 2, {REST}":
        "entry 12, moment.bars: recorded .4 bars., replayed .5 bars.",
    f"{DOUBLED} '2005-03-02 21:00:01.000000', open, high, low, close, {REST}":
        "entry 12, moment.bars.IBM 2005-03-02T21:00:01",
    "delete from entries where seq > 30":
        "entry 31, entries: recorded up to entry 58, replayed none",
    f"update bars set close = 'abc' where {AAPL_IN_JUNE}":
        "AAPL at 2004-06-01 20:00: close must be a number, was 'abc'",
    f"update bars set close = 9e999, high = 9e999 where {AAPL_IN_JUNE}":
        "AAPL at 2004-06-01 20:00: high must be a number, was inf; restore the book",
    f"update bars set close = -close where {AAPL_IN_JUNE}":
        "^AAPL at 2004-06-01 20:00: a price is not a finite number above zero, was open [0-9.]+, "
        "high [0-9.]+, low [0-9.]+, close -[0-9.]+, volume [0-9.]+; restore the book from a backup",
    "insert into notes values ('verified', 'null')":
        "the note verified must hold names and values, was 'null'; restore the book",
    """insert into notes values ('verified', '{"seq": "9", "id": "one"}')""":
        "the note verified must name an entry by seq and id, was .*'9'.*; restore the book",
    """insert into notes select 'verified', '{"seq":-7,"id":"' || id || '"}' from entries
        where seq = 1""":
        "the note verified must name an entry by seq and id, was .*-7.*; restore the book",
    """insert into notes select 'verified', '{"seq":true,"id":"' || id || '"}' from entries
        where seq = 1""":
        "the note verified must name an entry by seq and id, was .*True.*; restore the book",
    """insert into notes select 'verified', '{"seq":30,"id":"' || id || '"}' from entries
        where seq = 31""":
        "entry 30 is not the one that was there; restore the book",
    "update outbox set seq = 'abc'":
        "outbox.seq must be the number of an entry, was 'abc'; restore the book",
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_book_is_refused_by_what_is_damaged_and_where(copy, damage):
    assert copy.connection().exec_driver_sql(damage).rowcount > 0
    with pytest.raises(InvalidJournal, match=DAMAGES[damage]):
        heard(copy)


def test_what_a_restart_found_is_missed_too(copy):
    store.keep_note(copy, "verified", {"seq": 70, "id": "one"})
    with pytest.raises(InvalidJournal, match="recorded up to entry 70, replayed none"):
        heard(copy)
    assert replayed(copy).divergence.seq == 59


@pytest.mark.parametrize(
    ("column", "seq"),  # a replay misses what is not where it belongs before it comes to the end
    [("intents.seq", 59), ("intents.told", 59), ("outbox.seq", 58), ("fills.told", 40)],
)
def test_whatever_names_an_entry_that_is_gone_tells_of_it(copy, column, seq):
    table, name = column.split(".")
    last = f"rowid = (select max(rowid) from {table})"
    done = copy.connection().exec_driver_sql(f"update {table} set {name} = 70 where {last}")
    assert done.rowcount == 1
    with pytest.raises(InvalidJournal, match="recorded up to entry 70, replayed none"):
        heard(copy)
    assert replayed(copy).divergence.seq == seq


def test_a_book_cut_short_with_all_that_is_never_changed_is_found_by_the_rest(copy):
    for table in store.APPEND_ONLY:
        if "seq" in table.c:
            copy.connection().exec_driver_sql(f"delete from {table.name} where seq > 30")
    copy.connection().exec_driver_sql("delete from notes")
    with pytest.raises(InvalidJournal, match="entry 31, entries: recorded up to entry "):
        heard(copy)


def test_closes_that_alpha_vantage_had_not_spoken_of_are_counted(tmp_path, lived):
    class NoVendor(Stage):
        def opine(self, i, symbol, at):
            super().opine(i, symbol, at)
            self.board.readings.pop(("alpha_vantage", symbol))

    stage = NoVendor(tmp_path / "book.sqlite", history=300)
    stage.day()
    folder = exported(stage, tmp_path / "folder")
    with stage.writer.transaction() as session:
        told = heard(session)
    live, ours = decided(stage), in_a_backtest(folder, readings_of(SYMBOLS, folder))
    stage.writer.close()
    assert (told.apart, told.decided) == (4, 4)
    assert {key: ours[key] for key in live} != live
    with lived[0].writer.transaction() as session:
        told = heard(session)
    assert (told.apart, told.decided, str(told.first)) == (0, 32, "2005-03-01")


def test_an_export_that_fails_leaves_nothing(lived, tmp_path, monkeypatch):
    with lived[0].writer.transaction() as session:
        told = heard(session)
    made = []

    def fail(path, *args, **kwargs):
        made.append(path)
        if len(made) == 3:
            raise KeyboardInterrupt
        return opened(path, *args, **kwargs)

    opened = Path.open
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(KeyboardInterrupt):
        write(told, tmp_path / "folder")
    assert len(made) == 3 and not [*tmp_path.iterdir()]
    monkeypatch.undo()
    (tmp_path / "folder").mkdir()
    write(told, tmp_path / "folder")
    assert readings_of(SYMBOLS, tmp_path / "folder") == tuple(told.readings)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "a bad disk"), KeyboardInterrupt()])
def test_an_export_that_is_half_moved_is_taken_back(lived, tmp_path, monkeypatch, error):
    with lived[0].writer.transaction() as session:
        told = heard(session)
    moved = []

    def fail(path, place):
        moved.append(place)
        renamed(path, place)
        if len(moved) == 4:
            raise error

    renamed = Path.rename
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(type(error)):
        write(told, tmp_path)
    assert len(moved) == 4 and not [*tmp_path.iterdir()]
    monkeypatch.undo()
    write(told, tmp_path)
    assert readings_of(SYMBOLS, tmp_path) == tuple(told.readings)


def test_an_export_into_a_mount_point_stays_on_its_device(lived, tmp_path, monkeypatch):
    with lived[0].writer.transaction() as session:
        told = heard(session)

    def across(path, place):
        if not (path.is_relative_to(tmp_path) and place.is_relative_to(tmp_path)):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return renamed(path, place)

    renamed = Path.rename
    monkeypatch.setattr(Path, "rename", across)
    write(told, tmp_path)
    assert {READINGS, "SHA256SUMS"} < {path.name for path in tmp_path.iterdir()}
    assert not [*tmp_path.glob(".*")]


def test_a_book_says_whether_the_world_was_a_stand_in(tmp_path):
    with staged(tmp_path / "book.sqlite", history=300) as stage:
        for is_sandbox, ever in ((False, False), (True, True), (False, True)):
            stage.engine.plan = replace(stage.engine.plan, sandbox=is_sandbox)
            stage.engine.recover()
            with stage.writer.transaction() as session:
                assert heard(session).is_sandbox is ever
