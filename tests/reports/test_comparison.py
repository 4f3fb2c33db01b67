"""Reports lie side by side only where they answer the same question, and the list asks nobody."""

import json
import re

import pytest

from argo_alpine.domain import InvalidData, UnavailableData
from services.common import comparison, reports
from tests.reports.test_reports import OUTSIDE, a_template

METRICS = {
    **{"end": "2013-03-01T21:00:00.000000Z", "total_return": 0.3, "cagr": 0.033, "trades": 40},
    **{"sharpe": 0.7, "sharpe_low": 0.01, "sharpe_high": 1.4, "max_drawdown": -0.084},
    **{"win_rate": 0.5, "win_low": 0.4, "win_high": 0.6, "sortino": None, "n": 2014},
    "verdict": "no gain that luck could not explain",
}


def a_report(folder, name, **changes):
    """A folder as `render` leaves it, without running anything."""
    manifest = {
        "template": changes.pop("template", "backtest"),
        "parameters": {"symbols": "AAPL,IBM", "first": "2005-03-01", "threshold": 75.0}
        | changes.pop("parameters", {}),
        "data": changes.pop("data", {"AAPL.csv": "a" * 64, "IBM.csv": "b" * 64}),
        "code": {"commit": "c" * 40, "dirty": False} | changes.pop("code", {}),
        "python": "3.11.7",
        "libraries": {"numpy": changes.pop("numpy", "2.4.6")},
    }
    (folder / name).mkdir(parents=True)
    (folder / name / "report.html").write_text("<title>x</title>")
    (folder / name / "manifest.json").write_text(json.dumps(manifest))
    (folder / name / "metrics.json").write_text(json.dumps(METRICS | changes))
    return comparison.opened(folder / name)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "REPORTS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"data": {"AAPL.csv": "a" * 64, "IBM.csv": "f" * 64}}, "data differ: IBM.csv"),
        ({"data": {"AAPL.csv": "a" * 64}}, "data differ: IBM.csv"),
        ({"template": "daily"}, "templates differ: backtest, daily"),
        ({"parameters": {"first": "2009-01-02"}}, "periods differ: first"),
    ],
    ids=["digest", "missing", "template", "period"],
)
def test_what_cannot_be_compared_says_so_first(folder, run, change, why):
    a_report(folder, "one"), a_report(folder, "two", **change)
    code, out, _ = run("compare", "one", "two")
    assert code == 0
    assert out.startswith("Not comparable because the ")
    assert why in out.splitlines()[0]
    said = json.loads(run("compare", "one", "two", "--json")[1])
    assert (said["comparable"], len(said["obstacles"])) == (False, 1)


def test_what_can_be_compared_points_out_parameters_and_code(folder, run):
    a_report(folder, "one")
    a_report(folder, "two", parameters={"threshold": 80.0}, code={"dirty": True}, numpy="2.5.0")
    said = json.loads(run("compare", "one", "two", "--json")[1])
    assert (said["comparable"], said["obstacles"]) == (True, [])
    assert said["parameters"] == {"threshold": [75.0, 80.0]}
    assert said["code"] == {"numpy": ["2.4.6", "2.5.0"]}
    assert said["metrics"]["sharpe"] == [0.7, 0.7]
    assert said["metrics"]["sortino"] == [None, None]
    _, out, _ = run("compare", "one", "two")
    assert out.index("Code was changed after its commit: two") < out.index("Numbers, hypothetical")
    assert "0.70 [0.01, 1.40]" in out
    assert "50.0 % [40.0, 60.0], n = 40" in out


def test_few_trades_are_a_count_and_no_rate(folder, run):
    few = {"trades": 29, "win_rate": None, "win_low": None, "win_high": None}
    a_report(folder, "one", **few), a_report(folder, "two")
    _, out, _ = run("compare", "one", "two")
    assert "n = 29: too few to say" in out


def test_two_of_the_same_differ_in_nothing(folder):
    found = comparison.compared([a_report(folder, "one"), a_report(folder, "two")])
    assert (found.obstacles, found.cautions) == ([], ["no parameter differs"])
    assert not (found.parameters or found.data or found.code)


def test_a_folder_elsewhere_is_named_by_its_path(folder, tmp_path_factory, run):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    a_report(folder, "one"), a_report(elsewhere, "two")
    code, out, _ = run("compare", "one", str(elsewhere / "two"), "--json")
    assert (code, json.loads(out)["reports"]) == (0, ["one", "two"])


def test_a_report_that_is_not_there_is_answered_with_those_that_are(folder, run):
    a_report(folder, "one")
    code, out, err = run("compare", "one", "two")
    assert (code, out) == (1, "")
    assert "no report 'two'" in err and "there are one" in err
    assert run("compare", "one")[0] == 2
    assert run("compare", "one", "one")[0] == 2


def test_the_list_holds_what_is_whole_and_asks_nobody(folder, run):
    a_report(folder, "one"), a_report(folder, "t<o", parameters={"symbols": "<b>"})
    (folder / "one" / "report.pdf").write_bytes(b"%PDF-")
    (folder / "half").mkdir()
    (folder / "half" / "manifest.json").write_text("{}")
    code, out, err = run("compare")
    assert code == 0 and "half" not in out
    assert (
        "cannot be read: half" in err
        and "cannot be read: half" in (folder / "index.html").read_text()
    )
    page = (folder / "index.html").read_text()
    links = re.findall(r'href="([^"]*)"', page)
    assert links == ["one/report.html", "one/report.pdf", "t%3Co/report.html"]
    assert not OUTSIDE.findall(re.sub(r' href="[^"]*"', "", page))
    assert "default-src 'none'" in page and "<script" not in page
    assert "<b>" not in page and "&lt;b&gt;" in page
    assert "0.70 [0.01, 1.40]" in page and "luck could not explain" in page and "2013-03-01" in page
    assert "Which of them compare?" in page  # both are of the same data and period
    assert not list(folder.glob(".index*"))


def test_an_empty_list_says_what_to_do(folder, run):
    code, out, _ = run("compare")
    assert code == 0 and "argo-alpine report --all" in out
    assert "argo-alpine report --all" in (folder / "index.html").read_text()


def test_a_broken_report_is_named(folder):
    a_report(folder, "one")
    (folder / "one" / "metrics.json").write_text("{")
    with pytest.raises(InvalidData, match="render it again"):
        comparison.opened(folder / "one")
    with pytest.raises(UnavailableData, match=r"manifest\.json is missing"):
        comparison.opened(folder / "two")


def test_all_renders_every_template_and_names_the_one_that_failed(folder, run, monkeypatch):
    def rendered(name, parameters, out, tick, pdf):
        if name == "bad":
            raise InvalidData("report bad stopped: no luck")
        made = a_report(folder, name)
        return reports.Report(made.folder, made.metrics, made.manifest)

    monkeypatch.setattr(reports, "names", lambda: ["bad", "good"])
    monkeypatch.setattr(reports, "render", rendered)
    code, out, err = run("report", "--all")
    assert code == 1
    assert "good/report.html" in out and "index.html" in out
    assert "bad, report 1 of 2" in err and err.endswith("report bad stopped: no luck\n")
    assert "good/report.html" in (folder / "index.html").read_text()


def test_only_a_report_among_the_others_is_listed(folder, tmp_path_factory):
    templates = a_template(tmp_path_factory.mktemp("templates"))
    reports.render("small", {}, tmp_path_factory.mktemp("out") / "small", templates=templates)
    assert not (folder / "index.html").exists()
    reports.render("small", {}, folder / "mine", templates=templates)
    assert "mine/report.html" in (folder / "index.html").read_text()


def test_a_third_report_is_looked_at_too(folder):
    made = [
        a_report(folder, name, parameters={"first": first})
        for name, first in (("x", "2005-01-01"), ("y", "2005-01-01"), ("z", "2004-01-01"))
    ]
    assert comparison.parted([{"a": 1}, {"a": 1}, {"a": 2}]) == {"a": [1, 1, 2]}
    assert comparison.compared(made).obstacles == [
        "not comparable because the periods differ: first"
    ]
    assert comparison.groups(made) == ["x, y"]


def test_another_commit_is_a_caution(folder):
    made = a_report(folder, "one"), a_report(folder, "two", code={"commit": "d" * 40})
    assert "made by different code: commit" in comparison.compared(made).cautions
    assert [report.commit for report in made] == ["c" * 12, "d" * 12]


def test_numbers_of_a_benchmark_read_as_the_strategys(folder):
    beside = {"benchmark_sharpe": 3.0, "benchmark_sharpe_low": 2.5, "benchmark_sharpe_high": 3.5}
    made = a_report(folder, "one", **beside, benchmark_cagr=0.1)
    assert comparison.said(made, "benchmark_sharpe") == "3.00 [2.50, 3.50]"
    assert comparison.said(made, "benchmark_cagr") == "10.0 %"
    assert comparison.label("benchmark_cagr") == "Benchmark: growth a year"
    keys = comparison.in_order(made.metrics)
    assert keys[-2:] == ["benchmark_cagr", "benchmark_sharpe"]  # its ends stand with it


def test_what_a_report_does_not_say_is_a_dash(folder):
    made = a_report(folder, "one", trades=None)
    assert comparison.said(made, "trades") == comparison.said(made, "alpha") == "\N{EN DASH}"


def test_a_line_of_the_list_names_its_period_and_its_growth(folder):
    asked = {"last": "2013-03-01"}
    made = a_report(folder, "one", parameters=asked, end=None)
    assert comparison.period(made) == "2005-03-01 to 2013-03-01"
    line = comparison.cells(made)
    assert line[2:7] == (comparison.period(made), "30.0 %", "3.3 %", "0.70 [0.01, 1.40]",
                         "\N{MINUS SIGN}8.4 %")  # fmt: skip
    said = a_report(folder, "two", parameters=asked, start="2006-01-03T21:00:00.000000Z")
    assert comparison.period(said) == "2006-01-03 to 2013-03-01"


def test_a_hidden_folder_is_not_listed(folder):
    a_report(folder, "one"), a_report(folder, ".two")
    reports, broken = comparison.there(folder)
    assert [report.name for report in reports] == ["one"] and broken == []


@pytest.mark.parametrize("key", ["template", "parameters", "data", "code"])
def test_a_manifest_that_lacks_a_part_is_broken(folder, key):
    made = a_report(folder, "one")
    rest = {k: v for k, v in made.manifest.items() if k != key}
    (folder / "one" / "manifest.json").write_text(json.dumps(rest))
    with pytest.raises(InvalidData, match=f"cannot be read .*{key}.*: render it again"):
        comparison.opened(folder / "one")
    assert comparison.there(folder) == ([], ["one"])
