"""A folder of one's own is asked for by one option, and is never taken for the samples."""

import json

import pytest

from argo_alpine import samples
from argo_alpine.backtest import backtest
from argo_alpine.bars import from_daily, join, to_frame
from argo_alpine.bootstrap import luck
from argo_alpine.domain import InvalidPolicy, Unavailable
from argo_alpine.metrics import as_json, summary
from argo_alpine.samples import checksums, samples_folder
from argo_alpine.trials import Ledger
from services import cli
from services.common import reports
from tests.test_parity import a_market

MARKET = a_market(5, 300, ("AAA", "BBB"), 0.02, missing=0.0)
DAYS = to_frame(MARKET, "AAA").index.tz_convert("America/New_York").date
FRAMES = {symbol: to_frame(MARKET, symbol).set_axis(DAYS) for symbol in MARKET.symbols}
SAMPLES = ("--symbols", "AAPL", "--from", "2011-01-03", "--to", "2011-12-30")
ASKED = [
    ("backtest",),
    ("signal-quality",),
    ("sweep", "--grid", "sizing.stop_pct=2,4"),
    ("walk-forward", "--grid", "sizing.stop_pct=2,4", "--train", "100", "--test", "50"),
]


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    """Run a command in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture
def prices(tmp_path):
    """A folder of two symbols, as pandas writes them."""
    folder = tmp_path / "prices"
    folder.mkdir()
    for symbol, frame in FRAMES.items():
        frame.to_csv(folder / f"{symbol}.csv", index_label="date")
    return folder


@pytest.mark.parametrize(
    "command", ["bars", "backtest", "signal-quality", "sweep", "walk-forward", "report"]
)
def test_help_says_that_a_folder_may_be_ones_own(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "--data" in out and f"argo-alpine {command}" in out and "--data prices" in out


def test_the_help_of_bars_says_what_a_folder_holds(run):
    _, out, _ = run("bars", "--help")
    for said in ("date,open,high,low,close,volume", "at,open", "splits.csv", "SHA256SUMS"):
        assert said in out


def test_bars_of_a_folder_are_listed_with_their_digests(run, prices):
    code, out, _ = run("bars", "--data", "prices", "--json")
    rows = json.loads(out)
    assert code == 0
    assert [(r["symbol"], r["bars"], r["checksum"]) for r in rows] == [
        ("AAA", 300, "none"),
        ("BBB", 300, "none"),
    ]
    assert {r["file"]: r["sha256"] for r in rows} == checksums(["AAA", "BBB"], prices)


def test_a_folder_is_looked_through_once_however_many_files_there_are(run, prices, monkeypatch):
    looked, there = [], samples.symbols_there
    monkeypatch.setattr(
        samples, "symbols_there", lambda data="": looked.append(data) or there(data)
    )
    for n in range(8):
        (prices / f"S{n}.csv").write_text((prices / "AAA.csv").read_text())
    assert "S7" in run("bars", "--data", "prices")[1]
    assert len(looked) <= 2


def test_prices_are_called_adjusted_only_where_a_split_was_taken_out(run, prices):
    assert "as they are" in run("bars", "--data", "prices")[1]
    halved = FRAMES["AAA"].copy()
    halved.loc[halved.index[100:], ["open", "high", "low", "close"]] /= 2
    halved.to_csv(prices / "AAA.csv", index_label="date")
    (prices / "splits.csv").write_text(f"symbol,date,ratio\nAAA,{DAYS[100]},2\n")
    rows = json.loads(run("bars", "--data", "prices", "--json")[1])
    assert {row["symbol"]: row["splits"] for row in rows} == {"AAA": 1, "BBB": 0}
    out = run("bars", "--data", "prices")[1]
    assert "adjusted for 1 split " in out and "as they are" in out


@pytest.fixture
def torn(prices):
    """The folder, where the second symbol lacks six weeks."""
    FRAMES["BBB"].drop(FRAMES["BBB"].index[100:130]).to_csv(prices / "BBB.csv", index_label="date")
    return prices


LACKS = "sessions looked at between its first and its last (30 in a row, "
GAP = {"symbol": "BBB", "due": 300, "missing": 30, "longest": 30}
GAP |= {"first": str(DAYS[100]), "last": str(DAYS[129])}


@pytest.mark.parametrize("words", [("bars",), *ASKED], ids=lambda words: words[0])
def test_a_symbol_that_lacks_bars_is_told_to_people_and_programs(run, torn, words):
    said = run(*words, "--data", "prices")[1]
    assert f"BBB has no bar on 30 of the {300 - 50 * (words[0] != 'bars')} {LACKS}" in said
    rows = json.loads(run(*words, "--data", "prices", "--json")[1])
    found = rows["data"]["gaps"] if words[0] != "bars" else rows[1]["gaps"]
    assert found == [GAP | {"due": 300 if words[0] == "bars" else 250}]
    assert "AAA has" not in said


@pytest.mark.parametrize("words", ASKED[:2], ids=lambda words: words[0])
def test_a_gap_that_the_last_day_cuts_is_told_as_far_as_it_is_decided(run, torn, words):
    words += ("--data", "prices", "--from", DAYS[90], "--to", DAYS[119])
    found = json.loads(run(*words, "--json")[1])["data"]["gaps"]
    counts = {"due": 30, "missing": 20, "longest": 20, "last": str(DAYS[119])}
    assert found == [GAP | counts]
    assert "BBB has no bar on 20 of the 30 sessions" in run(*words)[1]


@pytest.mark.parametrize("words", [("bars",), *ASKED], ids=lambda words: words[0])
def test_where_nothing_is_missing_nothing_is_said_of_it(run, prices, words):
    assert "has no bar" not in run(*words, "--data", "prices")[1]


@pytest.mark.parametrize("name", ["backtest", "daily", "signal_quality", "walk_forward"])
def test_a_symbol_that_lacks_bars_is_a_caveat_of_every_report(torn, tmp_path, name):
    asked = {"data": str(torn)} | ({"train": 100, "test": 50} if name == "walk_forward" else {})
    page = reports.render(name, asked, tmp_path / name).page.read_text()
    assert "<strong>Sessions without a bar.</strong> BBB has no bar on 30 of the 250 " in page


@pytest.mark.parametrize("name", ["backtest", "daily", "signal_quality", "walk_forward"])
def test_a_gap_that_the_last_day_cuts_is_a_caveat_of_every_report(torn, tmp_path, name):
    asked = {"data": str(torn), "day" if name == "daily" else "last": str(DAYS[119])}
    asked |= {"train": 30, "test": 20} if name == "walk_forward" else {}
    page = reports.render(name, asked, tmp_path / name).page.read_text()
    assert "<strong>Sessions without a bar.</strong> BBB has no bar on 20 of the 70 " in page


COLD = "The first 9 of 260 bars decided come before the indicators of any symbol are warm"


@pytest.mark.parametrize("words", ASKED[:2], ids=lambda words: words[0])
def test_bars_that_are_decided_cold_are_counted_for_people_and_programs(run, prices, words):
    words += ("--data", "prices", "--from")
    assert COLD in run(*words, DAYS[40])[1]
    assert json.loads(run(*words, DAYS[40], "--json")[1])["data"]["cold"] == 9
    assert "are warm" not in run(*words, DAYS[49])[1]


@pytest.mark.parametrize("name", ["backtest", "daily", "signal_quality"])
def test_bars_that_are_decided_cold_are_a_caveat_of_reports(prices, tmp_path, name):
    asked = {"data": str(prices), "first": str(DAYS[40])}
    assert COLD in reports.render(name, asked, tmp_path / name).page.read_text()


def test_a_file_that_is_no_file_of_bars_is_a_failed_check_and_its_neighbour_is_not(run, prices):
    (prices / "AAA.csv").write_text("date,open\n2024-03-01,5\n")
    code, out, err = run("bars", "--data", prices)
    assert code == 1
    assert "NOT SOUND" in out and "BBB" in out
    assert "prices/AAA.csv has no column high, low, close, volume" in err


def test_a_folder_gives_what_the_frames_give(run, prices):
    code, out, err = run("backtest", "--data", "prices", "--json")
    said = json.loads(out)
    bars = join([from_daily(frame, symbol, "raw") for symbol, frame in FRAMES.items()])
    straight = backtest(bars, start=DAYS[50])
    made = as_json(summary(straight), luck(straight))
    assert (code, said["symbols"]) == (0, ["AAA", "BBB"])
    assert said["summary"] == made
    assert made["trades"] > 0
    assert said["data"] == {
        "folder": "prices",
        "first": str(DAYS[50]),
        "last": str(DAYS[-1]),
        "readings": {"x_sentiment": 0, "sonar": 0},
        "gaps": [],
        "cold": 0,
        "sha256": checksums(["AAA", "BBB"], prices),
    }
    assert f"AAA, BBB of prices, {DAYS[50]} to {DAYS[-1]}; bars before that warm up" in err


@pytest.mark.parametrize("words", ASKED, ids=lambda words: words[0])
def test_unnamed_symbols_and_days_are_all_there_are_but_the_warm_up(run, prices, words):
    code, out, _ = run(*words, "--data", "prices", "--json")
    said = json.loads(out)
    assert (code, said["symbols"]) == (0, ["AAA", "BBB"])
    assert (said["data"]["first"], said["data"]["last"]) == (str(DAYS[50]), str(DAYS[-1]))


def test_what_is_named_is_taken_at_its_word_and_a_longer_indicator_warms_up_longer(run, prices):
    words = ("backtest", "--data", "prices", "--json", "--symbols", "bbb")
    named = json.loads(run(*words, "--from", DAYS[99], "--to", DAYS[200])[1])
    assert named["symbols"] == ["BBB"]
    assert (named["data"]["first"], named["data"]["last"]) == (str(DAYS[99]), str(DAYS[200]))
    slower = json.loads(run(*words, "--set", "indicators.sma=120")[1])
    assert slower["data"]["first"] == str(DAYS[120])
    # a day that is the samples' default is a day like any other when somebody names it
    default = json.loads(run(*words, "--from", "2005-03-01")[1])
    assert default["data"]["first"] == "2005-03-01"


TOLD = "symbol,source,at,expires,direction,confidence\n"


def test_what_sources_said_is_heard_by_every_command(run, prices, tmp_path):
    days = FRAMES["AAA"].index
    rows = (f"AAA,sonar,{d}T17:00Z,{d}T23:00Z,{1 - 2 * (i % 2)},95\n" for i, d in enumerate(days))
    silent = json.loads(run("signal-quality", "--data", "prices", "--json")[1])
    (prices / "readings.csv").write_text(TOLD + "".join(rows))
    code, out, err = run("signal-quality", "--data", "prices", "--json")
    heard = json.loads(out)
    assert code == 0 and "By readings.csv sonar is heard at 250 of 500 closes decided here" in err
    voted = [{s["source"]: s["voted"] for s in said["sources"]} for said in (silent, heard)]
    assert voted[0]["sonar"] == 0 < voted[1]["sonar"] and voted[1]["x_sentiment"] == 0
    for command in ("backtest", "sweep", "walk-forward"):
        more = () if command == "backtest" else ("--grid", "consensus.threshold=60,70", "--ledger",
                                                 str(tmp_path / "trials.jsonl"))  # fmt: skip
        more += ("--train", "80", "--test", "40") if command == "walk-forward" else ()
        code, out, err = run(command, "--data", "prices", *more, "--json")
        assert (code, json.loads(out)["data"]["readings"]["sonar"]) == (0, 250), err
    (prices / "readings.csv").write_text(
        TOLD + f"CCC,sonar,{days[9]}T17:00Z,{days[9]}T23:00Z,1,90\n"
    )
    assert "readings.csv says nothing of AAA, BBB." in run("backtest", "--data", "prices")[2]
    (prices / "readings.csv").write_text(
        TOLD + f"AAA,sonar,{days[9]}T01:00Z,{days[9]}T02:00Z,1,90\n"
    )
    _, _, err = run("backtest", "--data", "prices")
    assert "Of readings.csv, 1 long, nothing is alive at a close decided here." in err
    (prices / "readings.csv").write_text(
        TOLD + "AAA,sonar,2024-01-02T17:00Z,2024-01-02T23:00Z,1,\n"
    )
    code, _, err = run("backtest", "--data", "prices")
    assert code == 1 and "prices/readings.csv, line 2, confidence: '' is no number" in err


MOOD = "sonar,2024-01-02T17:00Z,2024-01-02T23:00Z,1,"


def test_bars_counts_what_sources_said_of_each_symbol(run, prices):
    assert "readings" not in run("bars", "--data", "prices")[1]
    (prices / "readings.csv").write_text(
        TOLD + f"aaa,{MOOD}90\nAAB,{MOOD}90\nAAB,{MOOD[:-3]},0,5\n"
    )
    code, out, err = run("bars", "--data", "prices")
    assert code == 1 and "line 4" in err
    (prices / "readings.csv").write_text(TOLD + f"aaa,{MOOD}90\nAAB,{MOOD}90\n")
    code, out, err = run("bars", "--data", "prices")
    assert (code, err) == (0, "In readings.csv 1 row is of AAB, of which there are no bars.\n")
    assert "readings.csv holds readings of these symbols: 1." in out
    rows = json.loads(run("bars", "--data", "prices", "--json")[1])
    assert {row["symbol"]: row["readings"] for row in rows} == {"AAA": 1, "BBB": 0}


def test_bars_names_what_is_wrong_in_readings_by_line(run, prices):
    (prices / "readings.csv").write_text(TOLD + f"AAA,{MOOD}90\nBBB,{MOOD}much\n")
    code, out, err = run("bars", "--data", "prices")
    assert (code, out) == (1, "")
    assert "prices/readings.csv, line 3, confidence: 'much' is no number" in err


@pytest.mark.parametrize("words", [("backtest",), ("signal-quality",)], ids=lambda words: words[0])
def test_rows_about_symbols_without_bars_are_told(run, prices, words):
    rows = f"AAB,{MOOD}90\nAAB,{MOOD.replace('17:00', '18:00')}90\n"
    for said, known in (("", "says nothing of AAA"), (f"BBB,{MOOD}9\n", "nothing is alive")):
        (prices / "readings.csv").write_text(TOLD + said + rows)
        _, _, err = run(*words, "--data", "prices", "--symbols", "AAA,BBB"[: 3 + 4 * bool(said)])
        assert "In readings.csv 2 rows are of AAB, of which there are no bars." in err
        assert known in err  # BBB has bars: that it is not asked for is no mistake


LONGER = [
    ("sweep", "--grid", "indicators.sma=20,120"),
    ("sweep", "--range", "indicators.sma=20:120", "--trials", "2"),
    ("walk-forward", "--grid", "indicators.sma=20,120", "--train", "60", "--test", "30"),
]


@pytest.mark.parametrize("words", LONGER, ids=lambda words: " ".join(words[:2]))
def test_a_search_warms_up_for_its_longest_candidate(run, prices, words):
    code, out, _ = run(*words, "--data", "prices", "--json")
    assert (code, json.loads(out)["data"]["first"]) == (0, str(DAYS[120]))
    code, _, err = run(*words, "--data", "prices", "--from", DAYS[119])
    assert code == 1 and f"begin on {DAYS[120]}, or load earlier bars" in err
    code, _, err = run(*words, "--data", "prices", "--to", DAYS[99])
    assert code == 1 and "no day has 120 bars before it" in err and "AAA 100" in err


def test_a_report_of_a_walk_warms_up_for_its_longest_candidate(prices):
    known = reports.declared(reports.template("walk_forward"))
    asked = {"data": str(prices), "field_up": "indicators.sma", "values_up": "20,120"}
    assert reports.meant(known, asked)["first"] == str(DAYS[120])
    assert reports.meant(known, {"data": str(prices)})["first"] == str(DAYS[50])


def test_the_samples_by_their_folder_are_the_samples(run):
    words = ("backtest", *SAMPLES, "--json")
    assert run(*words, "--data", samples_folder())[1] == run(*words)[1]


def test_a_ledger_counts_trials_on_other_data_apart(run, prices, tmp_path):
    words = ("sweep", "--grid", "sizing.stop_pct=2,4", "--ledger", "book.jsonl", "--data")
    other = tmp_path / "other"
    other.mkdir()
    for path in prices.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    for folder, ever in ((prices, 2), (other, 2)):
        assert run(*words, folder)[0] == 0
        assert len(Ledger(tmp_path / "book.jsonl")) == ever
    text = (other / "AAA.csv").read_text()
    (other / "AAA.csv").write_text(text.replace(",500", ",501").replace(".1,", ".11,"))
    assert (other / "AAA.csv").read_text() != text
    run(*words, other)
    assert len(Ledger(tmp_path / "book.jsonl")) == 4


@pytest.mark.parametrize("words", ASKED, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--data", "nowhere"), "no folder nowhere"),
        (("--data", "prices", "--symbols", "AAPL"), "no AAPL in prices: there are AAA, BBB"),
        (("--data", "prices", "--symbols", "../prices/AAA"), "no ../PRICES/AAA in prices"),
        (("--data", "prices", "--set", "indicators.sma=256", "--to", "2000-01-03"), "no bars of"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_what_is_missing_is_one_sentence_and_exit_code_one(run, prices, words, more, said):
    code, out, err = run(*words, *more)
    assert (code, out) == (1, "")
    assert said in err.splitlines()[-1] and "Traceback" not in err


def test_symbols_that_begin_later_are_left_out_unless_they_are_named(run, prices):
    FRAMES["BBB"].iloc[200:].to_csv(prices / "BBB.csv", index_label="date")
    words = ("backtest", "--data", "prices", "--to", DAYS[150], "--json")
    assert json.loads(run(*words)[1])["symbols"] == ["AAA"]
    code, _, err = run(*words, "--symbols", "AAA,BBB")
    assert code == 1 and "no bars of BBB" in err


def test_a_report_that_fails_names_the_file_and_leaves_the_folder_alone(run, prices):
    text = FRAMES["BBB"].iloc[:1].to_csv(index_label="date") + "tomorrow,1,1,1,1,1\n"
    (prices / "BBB.csv").write_text(text)
    words = ("--symbols", "AAA,BBB", "--from", DAYS[60], "--to", DAYS[90], "--out", "page")
    code, _, err = run("report", "backtest", "--data", "prices", *words)
    assert code == 1
    assert "prices/BBB.csv, line 3, date: 'tomorrow' is no day" in err.splitlines()[-1]
    assert (prices / "BBB.csv").read_text() == text and len([*prices.iterdir()]) == 2


def test_too_few_bars_to_warm_up_say_how_many_there_are(run, prices):
    code, _, err = run("backtest", "--data", "prices", "--to", DAYS[30])
    assert code == 1
    assert "no day has 50 bars before it" in err and "there are AAA 31, BBB 31" in err


@pytest.mark.parametrize("command", ["bars", "backtest", "report"])
def test_an_option_without_its_folder_is_exit_code_two(run, command):
    name = ("backtest",) if command == "report" else ()
    assert run(command, *name, "--data")[0] == 2


def test_the_report_that_signal_quality_names_is_about_the_same_folder(run, prices):
    _, out, _ = run("signal-quality", "--data", "prices", "--from", DAYS[99], "--report")
    given = cli.settings(
        None, out.split()[3:], reports.declared(reports.template("signal_quality"))
    )
    assert (given["data"], given["first"]) == ("prices", str(DAYS[99]))
    assert "symbols" not in given and "last" not in given


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    place = tmp_path_factory.mktemp("secret-place")
    (place / "prices").mkdir()
    for symbol, frame in FRAMES.items():
        frame.to_csv(place / "prices" / f"{symbol}.csv", index_label="date")
    asked = {"data": str(place / "prices")}
    return reports.render("backtest", asked, place / "report")


def test_a_report_shows_the_name_of_the_folder_and_the_digests_and_no_place(report):
    asked = report.manifest["parameters"]
    assert (asked["data"], asked["symbols"]) == ("prices", "AAA,BBB")
    assert (asked["first"], asked["last"]) == (str(DAYS[50]), str(DAYS[-1]))
    digests = checksums(["AAA", "BBB"], report.folder.parent / "prices")
    assert report.manifest["data"] == digests
    page = report.page.read_text()
    assert all(digest in page for digest in digests.values()) and ">prices<" in page
    for path in report.folder.iterdir():
        assert "secret-place" not in path.read_text(), path.name
    assert {p.name for p in report.folder.iterdir()} == {*report.manifest["files"]}


def test_a_report_says_what_the_command_says(report, run):
    folder = report.folder.parent / "prices"
    said = json.loads(run("backtest", "--data", folder, "--json")[1])
    assert said["summary"]["trades"] == report.metrics["trades"]
    assert said["summary"]["total_return"] == report.metrics["total_return"]


def test_reports_on_other_data_are_not_compared(report, tmp_path, run):
    (tmp_path / "prices").mkdir()
    for path in (report.folder.parent / "prices").iterdir():
        a_day_less = path.read_text().rsplit("\n", 2)[0] + "\n"
        (tmp_path / "prices" / path.name).write_text(a_day_less)
    other = reports.render("backtest", {"data": str(tmp_path / "prices")}, tmp_path / "other")
    code, out, _ = run("compare", report.folder, other.folder)
    assert code == 0
    assert "Not comparable because the data differ: AAA.csv, BBB.csv" in out


def test_the_samples_by_their_folder_make_the_same_bytes(tmp_path):
    asked = {"symbols": "AAPL", "first": "2009-01-02", "last": "2009-12-31"}
    plain = reports.render("backtest", asked, tmp_path / "plain")
    named = reports.render("backtest", asked | {"data": str(samples_folder())}, tmp_path / "named")
    texts = [(made.folder / "metrics.json").read_bytes() for made in (plain, named)]
    assert texts[0] == texts[1]
    assert named.manifest["parameters"]["data"] == "samples"
    assert named.manifest["data"] == plain.manifest["data"]


def test_defaults_are_those_of_the_samples_and_of_no_other_folder(prices):
    known = reports.declared(reports.template("daily"))
    assert reports.meant(known, {"data": str(samples_folder())}) == {"data": str(samples_folder())}
    found = reports.meant(known, {"data": str(prices), "knobs": "indicators.sma=60"})
    assert (found["symbols"], found["first"]) == ("AAA,BBB", str(DAYS[60]))
    assert "last" not in found


def test_an_empty_name_is_not_taken_for_the_samples(run):
    code, _, err = run("backtest", "--data=")
    assert code == 2 and "leave it out for the samples" in err


def test_a_run_without_a_trade_says_what_kept_it_from_one(run, prices):
    code, out, _ = run("backtest", "--data", "prices", "--threshold", "100")
    assert code == 0
    assert "No trade. Most often, and when: " in " ".join(out.split())


@pytest.mark.parametrize("name", ["~", "report.ipynb", "-x", ".x", "a<b>"])
def test_a_folder_whose_name_could_be_taken_for_another_thing_is_no_reports(tmp_path, prices, name):
    odd = prices.rename(tmp_path / name)
    with pytest.raises(InvalidPolicy, match="rename it"):
        reports.beside({"data": str(odd)}, tmp_path, tmp_path / "out")


def test_a_report_runs_no_code_of_its_folder(tmp_path, prices):
    folder = prices.rename(tmp_path / "pandas")
    (folder / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    asked = {"data": str(folder), "symbols": "AAA"}
    reports.render("backtest", asked, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


def test_files_that_change_under_a_report_are_noticed():
    reports.check_unchanged("backtest", {"A.csv": "1"}, {"A.csv": "1"})
    with pytest.raises(Unavailable, match=r"A\.csv, B\.csv changed while it ran"):
        reports.check_unchanged("backtest", {"A.csv": "1"}, {"A.csv": "2", "B.csv": "1"})


def test_files_that_change_while_a_report_runs_leave_no_report(tmp_path, prices, monkeypatch):
    attempt = reports.attempt

    def meanwhile(*words):
        notebook = attempt(*words)
        (prices / "AAA.csv").write_text((prices / "BBB.csv").read_text())
        return notebook

    monkeypatch.setattr(reports, "attempt", meanwhile)
    with pytest.raises(Unavailable, match=r"AAA\.csv changed while it ran"):
        reports.render("backtest", {"data": str(prices), "symbols": "AAA"}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_backtest_says_first_what_it_allows_to_conclude(run):
    code, out, _ = run("backtest", *SAMPLES)
    said = json.loads(run("backtest", *SAMPLES, "--json")[1])["verdict"]
    assert code == 0 and " ".join(out.split()).startswith(said)
    assert "of buying and holding the same symbols" in said and "In short: " in said


@pytest.mark.parametrize("command", ["backtest", "signal-quality", "sweep", "walk-forward"])
def test_days_in_the_wrong_order_are_named_as_that(run, command):
    code, _, err = run(command, "--from", "2012-01-03", "--to", "2011-12-30")
    assert code == 1
    assert "2012-01-03 is after 2011-12-30: the first day must not lie behind the last" in err


def test_a_single_bar_is_no_run(run):
    code, _, err = run("backtest", "--symbols", "IBM", "--from", "2005-03-01", "--to", "2005-03-01")
    assert code == 1
    assert "2005-03-01 is the only bar decided, and no return follows from one" in err


@pytest.mark.parametrize("last", [["--to", "2011-12-30"], []], ids=["named", "default"])
def test_days_of_a_report_are_held_against_each_other_before_it_starts(run, last, tmp_path):
    first = "2012-01-03" if last else "2013-03-04"
    code, _, err = run("report", "backtest", "--from", first, *last, "--out", str(tmp_path / "r"))
    assert code == 1
    assert f"{first} is after" in err and "must not lie behind the last" in err
    assert not list(tmp_path.iterdir())
