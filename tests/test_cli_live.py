"""The commands that ask a running Argo, start it, and read what it wrote."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from services.argo import store
from services.commands import record, screen
from services.commands.live import ballots
from tests.argo_stage import staged
from tests.served import serving

ASKING = ("health", "account", "positions", "signals", "sources")
COMMANDS = (*ASKING, "sandbox", "argo", "replay", "export", "logs")
ZONED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+")


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    """Run a command in an empty folder, on a wide screen: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "220")
    return run


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("cli") / "book.sqlite", days=12) as it:
        yield it


@pytest.fixture
def book(tmp_path):
    """A book of three days, closed."""
    with staged(tmp_path / "book.sqlite") as stage:
        for _ in range(3):
            stage.day()
    return stage.path


# Every command


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "Examples:" in out
    assert f"  argo-alpine {command}" in out
    assert "--json" in out


def test_the_first_help_names_every_command(run):
    _, out, _ = run("--help")
    assert all(f"argo-alpine {command}" in out for command in COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        ("health", "--url", "localhost"),
        ("health", "--url", "file:///etc/passwd"),
        ("signals", "--limit", "0"),
        ("signals", "--limit", "many"),
        ("logs", "--level", "loud"),
        ("sandbox", "--port", "0"),
        ("argo", "--port", "70000"),
    ],
    ids=" ".join,
)
def test_a_wrong_question_is_exit_code_two(run, words):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "Usage: argo-alpine" in err


# Asking Argo


@pytest.mark.parametrize("command", ASKING)
def test_when_nothing_answers_it_says_what_to_start(run, command):
    code, out, err = run(command, "--url", "http://127.0.0.1:9")
    assert (code, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith("argo-alpine: nothing answers at http://127.0.0.1:9: start")
    assert "argo-alpine argo --sandbox" in line


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("health", "/health"),
        ("account", "/api/account"),
        ("positions", "/api/positions"),
        ("signals", "/api/signals/latest"),
        ("sources", "/api/sources"),
    ],
)
def test_programs_get_what_the_api_says(run, served, command, path):
    code, out, err = run(command, "--json", "--url", served.url)
    assert (code, err) == (0, "")
    assert json.loads(out) == served.get(path)


@pytest.mark.parametrize("command", ASKING)
def test_people_get_a_table_without_escape_codes_and_with_times_in_a_zone(run, served, command):
    code, out, _ = run(command, "--url", served.url)
    assert code == 0
    assert "\x1b" not in out
    assert ZONED.search(out)


def test_health_says_what_is_wrong_and_fails(run, served):
    assert "SANDBOX" in run("health", "--url", served.url)[1]
    before = served.runners["sonar"].said
    served.runners["sonar"].turns("failing", error="HTTP 500")
    code, out, _ = run("health", "--url", served.url)
    assert code == 1
    assert "degraded" in out
    assert "- sonar fails: HTTP 500" in out
    status = served.engine.status
    served.engine.status = replace(status, state="failed", error="KeyError")
    code, out, _ = run("health", "--json", "--url", served.url)
    assert (code, json.loads(out)["status"]) == (1, "down")
    served.engine.status, served.runners["sonar"].said = status, before
    assert run("health", "--url", served.url)[0] == 0


def test_signals_show_votes_and_fates(run, served):
    _, out, _ = run("signals", "--symbol", "aapl", "--limit", "1", "--url", served.url)
    assert "SANDBOX: Signals" in out
    assert "Closed at its target with +306.60." in out
    assert re.search(r"M A\+\d+ X\+\d+ S\+\d+", out)  # Massive abstained
    assert "GOOG" not in out


def test_positions_show_profit_and_guards(run, served):
    _, out, _ = run("positions", "--url", served.url)
    assert "IBM" in out and "-162" in out
    assert "stop, target" in out


def test_nothing_yet_is_said_in_words(run, tmp_path):
    with serving(tmp_path / "book.sqlite") as served:
        served.stage.clock.move(7200)
        served.engine.cycle()
        assert run("signals", "--url", served.url)[1] == "No signals yet.\n"
        assert "Nothing is held." in run("positions", "--url", served.url)[1]


def test_a_broken_book_is_one_sentence_with_the_id_of_the_log(run, tmp_path):
    with serving(tmp_path / "book.sqlite") as served:
        code, _, err = run("signals", "--url", served.url)
    assert code == 1
    assert re.search(r"the book cannot be read: .* \([0-9a-f]{12}\)", err.splitlines()[-1])


def test_another_server_is_not_taken_for_argo(run, served):
    code, _, err = run("account", "--url", f"{served.url}/api")
    assert code == 1
    assert "is not Argo, or another version" in err.splitlines()[-1]


def test_a_vote_is_a_letter_and_a_number():
    votes = [
        {"source": "massive", "abstained": False, "direction": "LONG", "confidence": 90.4},
        {"source": "x_sentiment", "abstained": False, "direction": "SHORT", "confidence": 70.0},
        {"source": "sonar", "abstained": True, "direction": "NEUTRAL", "confidence": None},
    ]
    assert ballots(votes) == "M+90 X-70 S"


def test_foreign_text_moves_no_cursor(capsys):
    screen.show("", ("a",), [("\x1b[2Jfoul\u202e",)])
    out = capsys.readouterr().out
    assert "foul" in out
    assert "\x1b" not in out and "\u202e" not in out


@pytest.mark.parametrize(
    ("value", "words"), [(None, "-"), (3.4, "3 s"), (240, "4 min"), (7200, "2 h"), (400_000, "5 d")]
)
def test_a_length_of_time_is_told_in_its_unit(value, words):
    assert screen.seconds(value) == words


# Starting


@pytest.fixture
def serve(monkeypatch):
    """Stand-ins for the two servers, which remember how they were started."""
    started = []

    def begin(*words):
        if len(words) > 1:
            words[-1]("SANDBOX at 2005-03-01")  # what the real one says once it listens
        started.append(words)

    for name, code in (("services.sandbox.app", None), ("services.argo.app", 0)):
        module = ModuleType(name)
        module.serve = lambda *words, code=code: begin(*words) or code
        monkeypatch.setitem(sys.modules, name, module)
    return started


def test_the_sandbox_is_started_as_asked(run, serve, tmp_path):
    words = ("sandbox", "--port", 8700, "--control-port", 8701, "--dwell", 2, "--fresh", "--state")
    code, out, err = run(*words, tmp_path / "s.json", "--json")
    assert code == 0
    assert json.loads(out)["control_url"] == "http://127.0.0.1:8701"
    assert err.startswith("SANDBOX at 2005-03-01; state in s.json")
    assert "Ctrl+C stops it" in err
    asked = ("127.0.0.1", 8700, 8701, 2.0, tmp_path / "s.json", True)
    assert [words[:-1] for words in serve] == [asked]


def test_argo_in_the_sandbox_trades_with_this_machine_only(run, serve):
    code, out, err = run("argo", "--sandbox", "--port", 8123, "--book", "second", "--json")
    assert code == 0, err
    assert json.loads(out) == {"sandbox": True, "url": "http://127.0.0.1:8123", "book": "second"}
    ((settings,),) = serve
    assert settings.trading.auto_execute is True
    assert settings.broker.base_url == "http://127.0.0.1:8600/alpaca"
    assert (settings.argo.port, settings.argo.book) == (8123, "second")


def test_argo_without_a_sandbox_sends_no_orders(run, serve, tmp_path):
    assert run("argo")[0] == 0
    ((settings,),) = serve
    assert settings.trading.auto_execute is False
    config = tmp_path / "mine.json"
    config.touch(0o600)
    config.write_text('{"trading": {"auto_execute": true}}')
    code, out, err = run("argo", "--config", config)
    assert (code, out) == (1, "")
    assert "auto_execute" in err
    assert len(serve) == 1


@pytest.mark.parametrize("words", [("--book", "../x"), ("--config", "nowhere.json")], ids=" ".join)
def test_argo_refuses_what_cannot_be_meant_in_one_sentence(run, serve, words):
    code, out, err = run("argo", *words)
    assert (code, out, serve) == (1, "", [])
    assert "Traceback" not in err


def test_what_the_server_returns_is_the_exit_code(run, serve, monkeypatch):
    sys.modules["services.argo.app"].serve = lambda settings: 1
    assert run("argo", "--sandbox")[0] == 1


# Replaying


def tampered(path, *statements):
    """Change history behind the book's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        for table in ("entries", "readings", "bars"):
            for verb in ("update", "delete"):
                file.execute(f"DROP TRIGGER {table}_no_{verb}")
        for statement in statements:
            assert file.execute(statement).rowcount == 1, statement


def one(path, query):
    with closing(sqlite3.connect(path)) as file:
        return file.execute(query).fetchone()[0]


def test_an_honest_book_replays_and_is_not_touched(run, book):
    before = book.read_bytes()
    code, out, err = run("replay", book)
    assert (code, err) == (0, "")
    moments = one(book, "SELECT count(*) FROM entries WHERE kind = 'moment'")
    entries = one(book, "SELECT count(*) FROM entries")
    assert out == f"book.sqlite: {moments} decisions identical, {entries} entries\n"
    assert book.read_bytes() == before
    code, out, _ = run("replay", book, "--json")
    said = json.loads(out)
    assert (said["identical"], said["decisions"], said["divergence"]) == (True, moments, None)


def parted(run, book):
    """Where a replay parts, told twice: to people and to programs."""
    code, out, err = run("replay", book)
    assert (code, out) == (1, "")
    code, out, _ = run("replay", book, "--json")
    assert code == 1
    said = json.loads(out)
    assert said["identical"] is False
    where = said["divergence"]
    assert f"entry {where['seq']}, {where['field']}: recorded" in err
    return where["seq"], where["field"]


def test_one_changed_price_in_the_journal_is_found(run, book):
    query = "FROM entries WHERE kind = 'moment' AND json_extract(body, '$.moment.bars[0]')"
    seq = one(book, f"SELECT seq {query} IS NOT NULL ORDER BY seq LIMIT 1")
    close = "'$.moment.bars[0].close'"
    change = f"json_set(body, {close}, json_extract(body, {close}) || '1')"
    tampered(book, f"UPDATE entries SET body = {change} WHERE seq = {seq}")
    at, field = parted(run, book)
    assert (at, field.startswith("moment.bars.")) == (seq, True)


def test_one_changed_quote_in_the_journal_is_found(run, book):
    query = "FROM entries WHERE kind = 'moment' AND json_extract(body, '$.moment.quotes[0]')"
    seq = one(book, f"SELECT seq {query} IS NOT NULL ORDER BY seq DESC LIMIT 1")
    change = "json_set(body, '$.moment.quotes[0].price', '44.9999')"
    tampered(book, f"UPDATE entries SET body = {change} WHERE seq = {seq}")
    at, field = parted(run, book)
    assert at == seq
    assert field == "id" or field.startswith("decision")


@pytest.mark.parametrize("source", ["massive", "alpha_vantage"])
def test_one_changed_price_in_a_reading_is_found(run, book, source):
    key = one(book, f"SELECT digest FROM readings WHERE source = '{source}' ORDER BY at LIMIT 1")
    change = "json_set(body, '$.values.close', '44.9999')"
    tampered(book, f"UPDATE readings SET body = {change} WHERE digest = '{key}'")
    holds = f"FROM entries WHERE kind = 'moment' AND body LIKE '%{key}%'"
    assert parted(run, book) == (one(book, f"SELECT min(seq) {holds}"), "readings")


def test_one_changed_price_in_a_bar_is_found(run, book):
    last = one(book, "SELECT max(seq) FROM bars")
    assert one(book, f"SELECT kind FROM entries WHERE seq = {last}") == "moment"
    change = "UPDATE bars SET close = close + 0.01 WHERE symbol = 'AAPL' AND seq ="
    tampered(book, f"{change} {last}")
    at, field = parted(run, book)
    assert at == last
    assert re.fullmatch(r"moment\.bars\.AAPL 2005-03-\d\dT21:00\.close", field)


def test_an_entry_that_is_not_even_json_is_named(run, book):
    tampered(book, "UPDATE entries SET body = '{' WHERE seq = 5")
    assert parted(run, book) == (5, "body")


def test_a_missing_entry_is_named(run, book):
    last = one(book, "SELECT max(seq) FROM entries")
    tampered(book, f"DELETE FROM entries WHERE seq = {last - 1}")
    assert parted(run, book) == (last, "previous")


def test_what_a_book_heard_is_a_folder_that_a_backtest_reads(run, book, tmp_path):
    code, out, _ = run("export", book, "--into", "heard")
    assert (code, out[:26]) == (0, "heard: 4 symbols, 3,910 ba")
    assert "12 closes were decided live; the first with --from 2005-03-01." in out
    code, out, err = run("backtest", "--data", "heard", "--from", "2005-03-01", "--json")
    assert code == 0
    assert json.loads(out)["data"]["readings"] == {"x_sentiment": 12, "sonar": 12}
    assert "By readings.csv x_sentiment is heard at 12 and sonar is heard at 12 of" in err
    code, out, _ = run("export", book, "--into", "again", "--json")
    told = json.loads(out)
    assert (told["symbols"], told["readings"], told["left"]) == (4, 24, 0)
    assert (told["folder"], told["sandbox"], told["first"]) == ("again", False, "2005-03-01")
    assert (told["decided"], told["apart"]) == (12, 0)


def test_an_export_goes_where_one_stands_follows_links_and_knows_home(
    run, book, tmp_path, monkeypatch
):
    for name in ("here", "behind", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("behind")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert run("export", book, "--into", "link")[0] == 0
    assert run("export", book, "--into", "~/new")[0] == 0
    monkeypatch.chdir("here")
    code, out, _ = run("export", book, "--into", "./")
    assert (code, out[:13]) == (0, ".: 4 symbols,")
    files = {path.name for path in Path.cwd().iterdir()}  # still the folder we stand in
    assert {"AAPL.csv", "readings.csv", "SHA256SUMS"} <= files
    for folder in ("behind", "home/new"):
        assert {path.name for path in (tmp_path / folder).iterdir()} == files
    assert {p.name for p in tmp_path.iterdir()} == {"here", "behind", "home", "link", book.name}
    code, _, err = run("export", book, "--into", "~nobody-of-that-name/x")
    said = "no place ~nobody-of-that-name/x: nobody of that name has a home here"
    assert (code, err) == (1, f"argo-alpine: {said}\n")


def test_a_damaged_book_is_not_exported_and_said_in_one_sentence(run, book, tmp_path):
    first = "SELECT digest FROM readings WHERE source = 'sonar' ORDER BY at LIMIT 1"
    change = "json_set(body, '$.values.direction', '-1.0')"
    tampered(book, f"UPDATE readings SET body = {change} WHERE digest = ({first})")
    code, out, err = run("export", book, "--into", "heard")
    assert (code, out) == (1, "")
    assert err.startswith("argo-alpine: entry 2, readings: recorded ") and err.count("\n") == 1
    assert not (tmp_path / "heard").exists()


@pytest.mark.parametrize("command", [("export", "--into", "heard"), ("replay",)])
def test_a_price_that_is_a_text_is_one_sentence(run, book, tmp_path, command):
    first = "SELECT min(rowid) FROM bars WHERE symbol = 'AAPL'"
    tampered(book, f"UPDATE bars SET close = 'abc' WHERE rowid = ({first})")
    code, out, err = run(command[0], book, *command[1:])
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "AAPL at 2000-03-01 21:00: close must be a number, was 'abc'" in err
    assert not (tmp_path / "heard").exists()


@pytest.mark.parametrize("command", [("export", "--into", "heard"), ("replay",)])
@pytest.mark.parametrize("said", ["null", '{"seq": "9", "id": "one"}'])
def test_a_note_that_names_no_entry_is_one_sentence(run, book, tmp_path, command, said):
    with closing(sqlite3.connect(book, isolation_level=None)) as file:
        file.execute("INSERT OR REPLACE INTO notes VALUES ('verified', ?)", (said,))
    code, out, err = run(command[0], book, *command[1:])
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "the note verified must " in err and "restore the book from a backup" in err
    assert not (tmp_path / "heard").exists()


def test_what_names_no_entry_is_blamed_on_no_entry(run, book):
    with closing(sqlite3.connect(book, isolation_level=None)) as file:
        file.execute("UPDATE intents SET told = 'abc' WHERE rowid = 1")
    assert parted(run, book) == (one(book, "SELECT max(seq) FROM entries"), "afterwards")


def test_what_was_identical_before_an_entry_that_cannot_be_read_is_counted(run, book):
    whole = json.loads(run("replay", book, "--json")[1])
    last = "SELECT max(rowid) FROM bars"
    tampered(book, f"UPDATE bars SET close = 'abc' WHERE rowid = ({last})")
    found = json.loads(run("replay", book, "--json")[1])
    assert "must be a number, was 'abc'" in found["divergence"]["replayed"]
    assert 0 < found["decisions"] < whole["decisions"]


def test_an_export_mixes_with_nothing_and_needs_something_heard(run, book, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "AAPL.csv").write_text("mine")
    code, _, err = run("export", book, "--into", "full")
    assert (code, err) == (1, "argo-alpine: full is not empty: name a new folder\n")
    assert (tmp_path / "full" / "AAPL.csv").read_text() == "mine"
    assert run("export", book)[0] == 2  # into where?
    code, _, err = run("export", "none", "--into", "heard")
    assert code == 1 and "no book none" in err
    (tmp_path / "not.sqlite").write_text("words")
    code, _, err = run("export", "not.sqlite", "--into", "heard")
    assert code == 1 and "not.sqlite is not a book" in err


def test_an_export_into_what_is_no_folder_says_so(run, book, tmp_path):
    code, _, err = run("export", book, "--into", book.name)
    assert (code, err) == (1, "argo-alpine: book.sqlite is no folder: name a new one\n")
    code, _, err = run("export", book, "--into", "")
    assert code == 2 and "write . for the one you are in" in err
    assert [path.name for path in tmp_path.iterdir()] == [book.name]


def test_what_a_killed_export_left_is_in_nobodys_way(run, book, tmp_path):
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    left = f".export-{ended.pid}"
    for part in (f"there/{left}", f".there{left}", f".new{left}"):
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / "AAPL.csv").write_text("half")
    for into in ("there", "new"):
        assert run("export", book, "--into", into)[0] == 0
    assert not [*tmp_path.rglob(".*")]


def test_what_else_is_hidden_in_a_folder_is_left_and_named(run, book, tmp_path):
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    # an export that runs, and what somebody keeps
    running, mine = (Path("there", f".export-{k}") for k in (os.getppid(), ended.pid))
    year = Path("there", f".{ended.pid}")  # a number alone is no export
    for part, file in ((running, "AAPL.csv"), (mine, "notes.txt"), (year, "AAPL.csv")):
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / file).write_text("whole")
    code, _, err = run("export", book, "--into", "there")
    names = ", ".join(sorted((running.name, mine.name, year.name)))
    said = f"there is not empty (hidden in it: {names}): name a new folder"
    assert (code, err) == (1, f"argo-alpine: {said}\n")
    assert (tmp_path / running / "AAPL.csv").exists() and (tmp_path / mine / "notes.txt").exists()
    assert (tmp_path / year / "AAPL.csv").exists()


def test_the_newest_book_is_replayed_and_a_name_is_enough(run, book, tmp_path):
    assert run("replay")[2].startswith("argo-alpine: no book in data/recorded: run")
    folder = tmp_path / record.BOOKS
    folder.mkdir(parents=True)
    (folder / "mine.sqlite").write_bytes(book.read_bytes())
    assert run("replay")[1].startswith("data/recorded/mine.sqlite: ")
    assert run("replay", "mine")[0] == 0
    code, _, err = run("replay", "other")
    assert (code, err.splitlines()[-1]) == (
        1,
        "argo-alpine: no book other: there are mine in data/recorded, or name a file",
    )


@contextmanager
def written_to(path, statement, age):
    """A database that somebody has open and wrote to just now; the file itself is of old."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("PRAGMA wal_autocheckpoint=0")
        file.execute(statement)
        os.utime(path, (age, age))
        yield


def test_the_database_of_alpine_is_no_book_however_new(run, book, tmp_path):
    folder = tmp_path / record.BOOKS
    folder.mkdir(parents=True)
    (folder / "mine.sqlite").write_bytes(book.read_bytes())
    os.utime(folder / "mine.sqlite", (1, 1))
    (folder / "folder.sqlite").mkdir()
    with written_to(folder / "alpine.sqlite", "CREATE TABLE users (id)", 2):
        assert run("replay")[1].startswith("data/recorded/mine.sqlite: ")
        assert run("export", "--into", "heard")[0] == 0
        assert "there are mine in data/recorded" in run("replay", "other")[2]


def test_the_newest_book_is_the_one_that_was_written_to_last(run, book, tmp_path):
    folder = tmp_path / record.BOOKS
    folder.mkdir(parents=True)
    for name in ("live", "other"):
        (folder / f"{name}.sqlite").write_bytes(book.read_bytes())
    os.utime(folder / "other.sqlite", (2, 2))
    beat = "INSERT OR REPLACE INTO notes VALUES ('heartbeat', '{}')"
    with written_to(folder / "live.sqlite", beat, 1):
        assert run("replay")[1].startswith("data/recorded/live.sqlite: ")


def test_a_newest_book_that_is_damaged_is_not_passed_over(run, book, tmp_path):
    folder = tmp_path / record.BOOKS
    folder.mkdir(parents=True)
    (folder / "old.sqlite").write_bytes(book.read_bytes())
    os.utime(folder / "old.sqlite", (1, 1))
    (folder / "new.sqlite").write_bytes(b"noise" * 1000)
    assert "data/recorded/new.sqlite is not a book, or damaged" in run("replay")[2]


def test_a_book_where_nothing_can_be_written_is_read_without_a_file_beside_it(
    book, tmp_path, monkeypatch
):
    place = tmp_path / "100% read only"
    place.mkdir()
    (place / "book.sqlite").write_bytes(book.read_bytes())
    monkeypatch.setattr(os, "access", lambda path, *_, **__: Path(path) != place)
    with record.opened(place / "book.sqlite") as session:
        assert store.last_entry(session) is not None
        assert [path.name for path in place.iterdir()] == ["book.sqlite"]


def test_a_book_that_cannot_be_opened_is_not_called_damaged(run, book):
    book.with_name(f"{book.name}-wal").mkdir()  # SQLite makes a file of that name
    code, _, err = run("replay", book)
    assert (code, "damaged" in err) == (1, False)
    assert "cannot be opened (unable to open database file): see who may read it" in err


def test_what_is_no_book_is_one_sentence(run, tmp_path):
    for name, content in (("noise", b"noise" * 1000), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        code, out, err = run("replay", tmp_path / name)
        assert (code, out) == (1, "")
        assert "is not a book, or damaged" in err
        assert (tmp_path / name).read_bytes() == content


# Logs


@pytest.fixture
def lines(tmp_path):
    folder = tmp_path / record.LOGS
    folder.mkdir(parents=True)
    rows = [
        {"recorded_at": f"2026-01-05T15:00:0{n}Z", "level": level, "service": "argo"}
        | {"logger": "engine", "event": f"event {n}", "signal": f"abc{n}"}
        for n, level in enumerate(("info", "warning", "info", "error"))
    ]
    (folder / "argo.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def test_logs_are_read_and_chosen(run, lines):
    code, out, err = run("logs", "--json")
    assert (code, err, json.loads(out)) == (0, "", lines)
    assert json.loads(run("logs", "--json", "--level", "warning")[1]) == [lines[1], lines[3]]
    assert json.loads(run("logs", "--json", "--lines", "1")[1]) == lines[-1:]
    assert json.loads(run("logs", "--json", "--signal", "abc2")[1]) == lines[2:3]
    assert json.loads(run("logs", "--json", "--text", "event 1")[1]) == lines[1:2]
    code, out, _ = run("logs")
    assert code == 0
    assert len(out.splitlines()) == 4
    assert ZONED.match(out)
    assert run("logs", "--text", "nowhere")[1:] == ("", "No line is like that.\n")


def test_no_logs_is_one_sentence(run):
    code, out, err = run("logs")
    assert (code, out) == (1, "")
    assert err.startswith("argo-alpine: no logs in data/logs")
