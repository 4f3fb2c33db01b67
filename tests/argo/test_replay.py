"""Whatever was decided live is decided again from the journal, to the last bit."""

import json
import socket

import pytest
from sqlalchemy import text

from argo_alpine.domain import InvalidJournal
from services.argo.journal import replayed, verified
from tests.argo_stage import staged


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A book with more than 500 moments, one restart among them."""
    path = tmp_path_factory.mktemp("lived") / "book.sqlite"
    with staged(path, history=200) as stage:
        for day in range(100):
            stage.day()
            if day == 50:
                stage.restart()
    return path


@pytest.fixture
def book(lived, tmp_path):
    """A copy of that book to tamper with."""
    copy = tmp_path / "book.sqlite"
    copy.write_bytes(lived.read_bytes())
    with staged(copy, history=0) as stage, stage.writer.transaction() as session:
        for (name,) in session.execute(
            text("select name from sqlite_master where type = 'trigger'")
        ).all():
            session.execute(text(f"drop trigger {name}"))
        yield session


def test_500_moments_replay_identically_without_a_network(book, monkeypatch):
    def blocked(*_, **__):
        raise AssertionError("a replay must not use the network")

    monkeypatch.setattr(socket, "socket", blocked)
    found = replayed(book)
    assert found.divergence is None
    assert found.decisions >= 500


def changed(book, table, key, value, change):
    """Change the JSON of one row."""
    (body,) = book.execute(text(f"select body from {table} where {key} = :v"), {"v": value}).one()
    content = json.loads(body)
    change(content)
    new = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    book.execute(text(f"update {table} set body = :b where {key} = :v"), {"b": new, "v": value})


def first_seq(book, where):
    return book.execute(text(f"select min(seq) from entries where {where}")).scalar_one()


def test_one_changed_equity_names_the_entry_and_the_field(book):
    seq = first_seq(book, "kind = 'moment' and seq > 300")
    changed(book, "entries", "seq", seq, lambda e: e["moment"]["account"].update(equity="1234.5"))
    parted = replayed(book).divergence
    assert (parted.seq, parted.field) == (seq, "decision.portfolio.equity")


def test_one_changed_quote_is_found_even_where_it_decides_nothing(book):
    after = "(select max(seq) from entries where kind = 'start')"  # what went before was verified
    seq = first_seq(book, f"kind = 'moment' and body like '%quotes\":[{{%' and seq > {after}")
    changed(book, "entries", "seq", seq, lambda e: e["moment"]["quotes"][0].update(price="1.25"))
    parted = replayed(book).divergence
    assert parted is not None and parted.seq == seq
    with pytest.raises(InvalidJournal, match=f"entry {seq}: id"):
        verified(book)


def test_one_changed_bar_is_found_where_it_was_first_used(book):
    symbol, at, seq = book.execute(
        text("select symbol, at, seq from bars where seq > 100 order by seq limit 1")
    ).one()
    book.execute(
        text("update bars set close = close * 1.001 where symbol = :s and at = :a"),
        {"s": symbol, "a": at},
    )
    parted = replayed(book).divergence
    assert parted.seq == seq
    assert parted.field == f"moment.bars.{symbol} {at[:10]}T{at[11:16]}.close"


@pytest.mark.parametrize("change", ["update bars set volume = volume + 1", "delete from bars"])
def test_one_changed_or_missing_bar_of_the_past_is_found(book, change):
    book.execute(text(f"{change} where rowid = (select rowid from bars where seq < 3 limit 1)"))
    assert replayed(book).divergence.field == "bars"


@pytest.mark.parametrize("table", ["decisions", "signals", "trades"])
def test_what_is_shown_is_what_was_decided(book, table):
    (body,) = book.execute(text(f"select body from {table} limit 1")).one()
    book.execute(
        text(f"update {table} set body = :new where body = :old"),
        {"old": body, "new": body.replace("1", "2")},
    )
    assert replayed(book).divergence.field == table


LAST_FILL = "n = (select max(n) from fills)"
NO_MOMENT = "(select min(seq) from entries where kind = 'fill')"
BESIDE = {
    f"update fills set told = null where {LAST_FILL}": "fills.told",
    f"update fills set told = told - 1 where {LAST_FILL}": "fills.told",
    f"insert into fills select n + 1, broker_id, at, null, body from fills where {LAST_FILL}":
        "fills",
    f"update fills set told = null, n = n + 9 where {LAST_FILL}": "fills.told",
    "delete from fills where n = 1": "fills",
    "delete from equity where seq = (select max(seq) from equity)": "equity",
    "update equity set equity = equity + 1 where seq = (select max(seq) from equity)": "equity",
    "update equity set cash = cash + 1 where seq = (select max(seq) from equity)": "outbox",
    "update equity set at = '2005-01-01' where seq = (select max(seq) from equity)": "equity",
    "delete from intents where rowid = (select max(rowid) from intents)": "intents",
    "update intents set body = replace(body, 'e', 'f') where rowid = 1": "intents",
    """insert into intents select 'mine', seq, symbol, leg, at, recorded_at, state, tries, tried_at,
        broker_id, filled, average, note, told, body from intents where rowid = 1""": "intents",
    "delete from outbox where n = 3": "outbox",
    "update outbox set body = replace(body, '1', '2') where n = 3": "outbox",
    "update outbox set hash = 'a' || hash where n = 3": "outbox",
    "insert into outbox select n + 1, seq, kind, 'another', body, null from outbox "
    "where n = (select max(n) from outbox)": "outbox",
    f"insert into equity select {NO_MOMENT}, at, equity, cash from equity limit 1": "equity",
    f"insert into decisions select {NO_MOMENT}, symbol, at, why, body from decisions limit 1":
        "decisions",
    f"insert into signals select 'one', {NO_MOMENT}, at, symbol, body from signals limit 1":
        "signals",
    f"insert into trades select 1e6, {NO_MOMENT}, closed, pnl, body from trades limit 1": "trades",
}  # fmt: skip


@pytest.mark.parametrize("damage", BESIDE)
def test_what_is_kept_beside_the_journal_is_what_was_written_with_it(book, damage):
    assert book.connection().exec_driver_sql(damage).rowcount == 1
    assert replayed(book).divergence.field == BESIDE[damage]


def test_one_changed_reading_is_found(book):
    name = book.execute(text("select digest from readings where source = 'sonar'")).scalar()
    changed(book, "readings", "digest", name, lambda r: r["values"].update(confidence="99.0"))
    assert replayed(book).divergence.field == "readings"


def test_a_removed_entry_is_found(book):
    seq = first_seq(book, "kind = 'order' and seq > 150")
    book.execute(text("delete from entries where seq = :s"), {"s": seq})
    assert replayed(book).divergence.field == "previous"


def test_entries_that_are_gone_from_the_end_are_missed(book):
    last = book.execute(text("select max(seq) from entries")).scalar_one()
    book.execute(text("delete from entries where seq > :s"), {"s": last - 5})
    parted = replayed(book).divergence
    assert (parted.seq, parted.field) == (last - 4, "entries")


def test_a_price_that_is_no_number_is_a_sentence(book):
    book.execute(text("update bars set high = 'abc' where symbol = 'IBM' and seq > 200"))
    with pytest.raises(InvalidJournal, match=r"^IBM at .*: high must be a number, was 'abc'"):
        replayed(book)


def test_a_changed_policy_is_found(book):
    changed(
        book, "entries", "seq", 0,
        lambda e: e["policy"]["consensus"].update(threshold="74.0"),
    )  # fmt: skip
    assert replayed(book).divergence is not None
