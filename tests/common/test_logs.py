"""Logs: everything is told, nothing is given away, nobody forges a line."""

import json
import logging
import os
import stat
import sys
import threading

import numpy as np
import pytest

from argo_alpine.domain import InvalidSettings, UnavailableData
from services.common import logs

LETTERS = np.array(list("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"))


def canaries(count, odd=""):
    rng = np.random.default_rng(7)
    return ["".join(rng.choice(LETTERS, 24)) + odd for _ in range(count)]


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "data" / "logs"
    logs.release()


def written(folder, service="argo"):
    return (folder / f"{service}.jsonl").read_text()


def spill(secrets):
    """Say every secret in every way a program says something."""
    log = logs.logger("spill")
    for n, secret in enumerate(secrets):
        log.info(f"plain {secret} in a message")
        log.info("fields", value=secret, deep={"a": [{"b": (secret, {secret: 1})}]}, blob=[secret])
        log.info("url", url=f"https://example.com/v2?apiKey={secret}&x=1", held=Exception(secret))
        logging.getLogger("alpaca").warning("GET %s", f"https://h/q?a={secret}")
        logging.getLogger("uvicorn.access").info('"GET /x?token=%s"', secret)
        with logs.bound(signal=secret):
            log.info("bound")
        try:
            try:
                raise KeyError(secret)
            except KeyError as error:
                raise RuntimeError(f"with {secret}") from error
        except RuntimeError:
            log.exception("failed", n=n)
            logging.getLogger("other").exception("failed too")


@pytest.mark.parametrize("odd", ["", "/+=&%", "\"\\'", "é"])
def test_none_of_forty_canaries_is_in_the_file_or_on_the_screen(folder, capfd, odd):
    secrets = canaries(40, odd)
    logs.configure(folder, "argo", secrets)
    spill(secrets)
    text = written(folder) + capfd.readouterr().err
    assert text.count("\n") > 40 * 9
    assert [s for s in secrets if s[:24] in text] == []


def test_without_the_redactor_every_canary_is_found(folder, monkeypatch):
    monkeypatch.setattr(logs, "redactor", lambda secrets: lambda text: text)
    secrets = canaries(40)
    logs.configure(folder, "argo", secrets)
    spill(secrets)
    assert all(s in written(folder) for s in secrets)


@pytest.mark.parametrize(
    "said",
    [
        "Authorization: Bearer unknown-1234567",
        "{'Authorization': 'Bearer unknown-1234567'}",
        "https://h/q?symbol=A&apikey=unknown-1234567",
        "https://h/q?api_key=unknown-1234567&x=1",
        "https://h/q?key=unknown-1234567",
        '{"bearer_token": "unknown-1234567"}',
        "APCA-API-SECRET-KEY: unknown-1234567",
        "We have detected your API key as unknown-1234567 and our standard limit",
        "massive_api_key=unknown-1234567",
    ],
)
def test_what_looks_like_a_key_is_blackened_though_nobody_configured_it(folder, said):
    logs.configure(folder, "argo", ())
    logs.logger("x").info(said, field=said)
    assert "unknown-1234567" not in written(folder)
    assert "***" in written(folder)


def test_a_field_named_like_a_key_is_blackened(folder):
    logs.configure(folder, "argo", ())
    logs.logger("x").info("m", headers={"Authorization": "zzzzzz"}, api_key="yyyyyy", note="seen")
    text = written(folder)
    assert "zzzzzz" not in text
    assert "yyyyyy" not in text
    assert "seen" in text


def test_a_secret_that_is_a_number_is_blackened_and_other_numbers_stay(folder):
    logs.configure(folder, "argo", ["1234567890"])
    logs.logger("x").info("m", a=1234567890, b=42, c=1.5, d=True, e=None, f=float("nan"))
    (line,) = logs.read(folder, lines=9)
    assert [line[k] for k in "abcdef"] == ["***", 42, 1.5, True, None, "nan"]


def test_a_short_secret_does_not_black_out_words(folder):
    logs.configure(folder, "argo", ["a", ""])
    logs.logger("x").info("a message")
    assert logs.read(folder, lines=1)[0]["event"] == "a message"


@pytest.mark.parametrize(
    "evil",
    ["\r\n", "\n", "\x1b[2J", "\x00", "\x85", "\u2028", "\u202e", "\x9b31m"],
    ids=ascii,
)
def test_no_value_makes_a_second_line_or_moves_a_cursor(folder, capfd, evil):
    logs.configure(folder, "argo", ())
    forged = f'x{evil}{{"recorded_at":"2000","level":"critical","event":"forged"}}'
    logs.logger("x").info(forged, **{"note": forged, f"k{evil}": {forged: [forged]}})
    logging.getLogger("alpaca").warning("%s", forged)
    screen = capfd.readouterr().err
    assert len(written(folder).splitlines()) == 2
    assert screen.count("\n") == 2
    lines = logs.read(folder, lines=9)
    assert [line["level"] for line in lines] == ["info", "warning"]
    assert all(evil not in text for line in lines for text in json_texts(line))
    assert evil.strip("\n") == "" or evil not in screen


def test_half_a_character_is_spelt_out():
    # not logged here: pytest keeps what is logged, and could not tell it to another process
    assert logs.encoded("a\ud800b") == "a\\ud800b"


def json_texts(value):
    if isinstance(value, dict):
        return [t for k, v in value.items() for t in (k, *json_texts(v))]
    if isinstance(value, list):
        return [t for v in value for t in json_texts(v)]
    return [str(value)]


def test_without_encoding_a_line_end_reaches_the_reader(folder, monkeypatch):
    monkeypatch.setattr(logs, "encoded", lambda text: text)
    logs.configure(folder, "argo", ())
    logs.logger("x").info("a\nb")
    assert "\n" in logs.read(folder, lines=1)[0]["event"]


def test_only_the_owner_may_read(folder):
    old = os.umask(0)
    try:
        logs.configure(folder, "argo", ())
        logs.logger("x").info("m")
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "argo.jsonl").stat().st_mode) == 0o600


def test_a_file_that_others_could_read_is_closed_to_them(folder):
    folder.mkdir(parents=True, mode=0o755)
    (folder / "argo.jsonl").touch(0o644)
    logs.configure(folder, "argo", ())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "argo.jsonl").stat().st_mode) == 0o600


def test_a_shared_folder_is_refused_and_left_as_it_is(folder):
    folder.mkdir(parents=True)
    folder.chmod(0o1777)
    with pytest.raises(InvalidSettings, match="shared"):
        logs.configure(folder, "argo", ())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777


def test_the_file_rotates_and_every_part_stays_private(folder, monkeypatch):
    monkeypatch.setattr(logs, "FILE_BYTES", 2_000)
    logs.configure(folder, "argo", ())
    for n in range(200):
        logs.logger("x").info("turn", n=n)
    files = sorted(folder.iterdir())
    assert len(files) == logs.FILES
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
    assert [line["n"] for line in logs.read(folder, lines=20)] == list(range(180, 200))


def test_a_line_says_when_who_and_what(folder):
    logs.configure(folder, "argo", ())
    logs.logger("engine").warning("submitted", quantity=5)
    line = json.loads(written(folder))
    assert tuple(line)[:5] == logs.FIRST
    assert line["recorded_at"].endswith("Z")
    assert (line["level"], line["service"], line["logger"]) == ("warning", "argo", "engine")
    assert (line["event"], line["quantity"]) == ("submitted", 5)


def test_the_signal_is_on_every_line_of_its_block_and_on_no_other(folder):
    logs.configure(folder, "argo", ())
    log = logs.logger("engine")
    with logs.bound(signal="abc123", symbol="AAPL"):
        log.info("decided")
        logging.getLogger("alpaca").info("posted")
        with logs.bound(order="aa1-x"):
            log.info("submitted")
    log.info("idle")
    lines = logs.read(folder, lines=9)
    assert [line.get("signal") for line in lines] == ["abc123", "abc123", "abc123", None]
    assert [line.get("order") for line in lines] == [None, None, "aa1-x", None]
    assert [x["event"] for x in logs.read(folder, lines=9, signal="abc")] == [
        "decided",
        "posted",
        "submitted",
    ]


def test_an_exception_keeps_its_traceback_line_by_line(folder):
    logs.configure(folder, "argo", ())
    try:
        raise ValueError("broken\npart")
    except ValueError:
        logs.logger("x").exception("failed")
    (line,) = logs.read(folder, lines=1)
    assert line["exception"][0].startswith("Traceback")
    assert "part" in line["exception"][-1]


def test_reading_filters_by_level_text_and_number(folder):
    logs.configure(folder, "argo", (), "debug")
    log = logs.logger("x")
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)(f"at {level}", note="Apple" if level == "error" else "")
    events = [line["event"] for line in logs.read(folder, lines=9, level="warning")]
    assert events == ["at warning", "at error"]
    assert [x["event"] for x in logs.read(folder, lines=9, text="apple")] == ["at error"]
    assert [x["event"] for x in logs.read(folder, lines=1)] == ["at error"]
    assert logs.read(folder, lines=0) == []


def test_two_services_are_read_as_one_story(folder):
    for service in ("argo", "sandbox", "argo"):
        logs.configure(folder, service, ())
        logs.logger("x").info(service)
    assert [x["event"] for x in logs.read(folder, lines=9)] == ["argo", "sandbox", "argo"]


def test_a_line_cut_short_says_so_and_hides_no_other(folder):
    logs.configure(folder, "argo", ())
    logs.logger("x").info("before")
    with (folder / "argo.jsonl").open("a") as file:
        file.write('{"recorded_at": "20\n[]\n')
    logs.logger("x").info("after")
    events = [line["event"] for line in logs.read(folder, lines=9)]
    assert events == ["before", "unreadable line", "unreadable line", "after"]


def test_no_logs_are_not_empty_logs(folder):
    with pytest.raises(UnavailableData, match="no logs in"):
        logs.read(folder, lines=1)


@pytest.mark.parametrize(("service", "level"), [("../x", "info"), ("argo", "loud")])
def test_a_name_or_level_that_cannot_be_is_refused(folder, service, level):
    with pytest.raises(InvalidSettings):
        logs.configure(folder, service, (), level)
    assert not folder.exists()


def test_a_value_that_cannot_be_shown_does_not_cost_the_line(folder):
    class Broken:
        def __str__(self):
            raise ValueError("never")

    loop = {}
    loop["self"] = loop
    logs.configure(folder, "argo", ())
    logs.logger("x").info("m", broken=Broken(), loop=loop)
    assert logs.read(folder, lines=1)[0]["broken"] == "<Broken: ValueError>"


def test_a_lost_line_is_told_without_its_words(folder, capfd):
    logs.configure(folder, "argo", ())
    record = logging.LogRecord("other", logging.ERROR, "", 0, "%d", ("hunter2-hunter2",), None)
    for handler in [h for h in logging.getLogger().handlers if isinstance(h, logs.OURS)]:
        handler.handle(record)
    said = capfd.readouterr().err
    assert "a log line was lost: TypeError" in said
    assert "hunter2" not in said


def test_configuring_again_lets_go_of_what_was_open(folder):
    before = len(logging.getLogger().handlers)
    for _ in range(3):
        logs.configure(folder, "argo", ())
    assert len(logging.getLogger().handlers) == before + 2
    logs.logger("x").info("once")
    assert len(logs.read(folder, lines=9)) == 1


def test_a_level_of_a_library_is_read_as_one_of_ours(folder):
    logs.configure(folder, "argo", ())
    logging.getLogger("other").log(35, "odd")
    assert [(x["level"], x["event"]) for x in logs.read(folder, lines=9)] == [("info", "odd")]


def test_threads_write_whole_lines(folder):
    logs.configure(folder, "argo", ())

    def work(n):
        for _ in range(50):
            logs.logger("x").info("m" * 500, n=n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = logs.read(folder, lines=999)
    assert len(lines) == 200
    assert {line["event"] for line in lines} == {"m" * 500}


def test_the_screen_is_short(folder, capfd):
    logs.configure(folder, "argo", ())
    try:
        raise ValueError("why")
    except ValueError:
        logs.logger("engine").exception("failed", n=1)
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert said.rstrip().endswith("engine: failed n=1 (ValueError: why)")
    assert sys.stderr is not None
