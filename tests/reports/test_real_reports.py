"""The real templates over a short period: the same bytes twice, others when asked otherwise."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from argo_alpine.domain import UnavailableData
from services.common.reports import render

ROOT = Path(__file__).parents[2]
SHORT = {"symbols": "AAPL,IBM", "first": "2009-01-02", "last": "2009-12-31"}


def rendered(out: Path, **changes: object) -> bytes:
    """The metrics of a backtest report, made by a process of its own."""
    words = [f"--{key.replace('_', '-')}={value}" for key, value in (SHORT | changes).items()]
    script = "import sys; from services.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", script, "report", "backtest", "--out", str(out), *words]
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return (out / "metrics.json").read_bytes()


def money(text: str) -> float:
    """An amount as a page writes it."""
    return float(text.replace(",", "").replace("\N{MINUS SIGN}", "-"))


def test_two_processes_give_the_same_bytes_and_another_cost_gives_others(tmp_path):
    first, second = rendered(tmp_path / "a"), rendered(tmp_path / "b")
    assert first == second
    assert json.loads(first)["trades"] > 0
    dearer = rendered(tmp_path / "c", slippage_bps=5.001)
    assert dearer != first
    assert rendered(tmp_path / "d", knobs="costs.slippage_bps=5.001") == dearer


def test_the_trades_of_a_page_add_up_to_what_it_says_of_them(tmp_path):
    made = render("backtest", SHORT, tmp_path / "listed")
    (head, rows), text = (
        re.findall(r"<summary>(.*?)</summary>.*?<tbody>(.*?)</tbody>", made.page.read_text())[0],
        made.page.read_text(),
    )
    *profits, total = re.findall(r"<td>([+\N{MINUS SIGN}][\d,]+\.\d\d)</td><td>", rows)
    assert (
        head == f"All {made.metrics['trades']:,} trades" and len(profits) == made.metrics["trades"]
    )
    assert sum(map(money, profits)) == pytest.approx(money(total), abs=0.005 * len(profits))
    assert f"Closed trades {money(total):+,.0f}".replace("-", "\N{MINUS SIGN}") in text
    assert money(total) / len(profits) == pytest.approx(made.metrics["expectancy"], abs=0.01)


def test_a_position_that_outlives_its_bars_is_a_caveat_and_no_other_is(tmp_path):
    asked = {"symbols": "AAPL,SPX", "first": "2012-06-01"}
    ended = render("backtest", asked | {"last": "2013-06-28"}, tmp_path / "ended")
    told = 'AAPL had its last bar on <span class="whole">2013-03-01</span> and is still held'
    assert told in ended.page.read_text()
    assert ended.metrics["stranded_positions"] == 1
    going = render("backtest", asked | {"last": "2013-03-01"}, tmp_path / "going")
    assert "had its last bar" not in going.page.read_text()
    assert (going.metrics["stranded_positions"], going.metrics["open_positions"] > 0) == (0, True)


def test_a_backtest_without_trades_or_years_is_a_page_all_the_same(tmp_path):
    quiet = {"symbols": "ibm", "first": "2009-01-02", "last": "2009-02-27", "threshold": 100.0}
    made = render("backtest", quiet, tmp_path / "quiet")
    assert (made.metrics["trades"], made.metrics["sharpe"], made.metrics["cagr"]) == (0, None, None)
    text = made.page.read_text()
    assert "not defined: under 90 days" in text
    assert "not defined: returns do not vary" in text


def test_signals_of_a_short_period_are_a_page_with_bins_that_are_too_few(tmp_path):
    short = {"symbols": "AAPL", "first": "2010-01-04", "last": "2010-08-31"}
    made = render("signal_quality", short, tmp_path / "short")
    assert "too few" in made.page.read_text()
    assert made.metrics["adds_sonar"] is None and made.metrics["hit_rate_n"] > 30


@pytest.fixture(scope="module")
def daily(tmp_path_factory):
    """A day on which something was entered, left, refused and decided."""
    out = tmp_path_factory.mktemp("daily") / "day"
    return render("daily", {"day": "2008-10-10", "first": "2008-01-02"}, out)


def test_a_day_says_what_was_decided_about_each_symbol(daily):
    assert daily.metrics["day"] == "2008-10-10"
    answers = [v for k, v in daily.metrics.items() if k.startswith("answer_")]
    assert len(answers) == 4
    assert daily.metrics["signals"] == answers.count("signal")
    text = daily.page.read_text()
    assert "In one sentence" in text and "refused at the open, collar" in text


def test_a_day_follows_from_the_days_before_it_alone(daily, tmp_path):
    longer = render("daily", {"day": "2008-10-13", "first": "2008-01-02"}, tmp_path / "next")
    assert longer.metrics["equity"] / (1 + longer.metrics["day_return"]) == pytest.approx(
        daily.metrics["equity"]
    )


def test_a_day_without_a_session_is_refused_with_the_one_before(tmp_path):
    with pytest.raises(UnavailableData, match=r"no bar on 2008-10-11: .* 2008-10-10"):
        render("daily", {"day": "2008-10-11", "first": "2008-01-02"}, tmp_path / "none")


def test_the_day_of_a_market_that_trades_through_midnight_ends_with_it(tmp_path):
    asked = {"symbols": "EURUSD", "day": "2017-03-01", "first": "2017-02-01"}
    assert render("daily", asked, tmp_path / "day").metrics["day"] == "2017-03-01"
