"""The page of a walk says what the package says, and does not break when there is little to say."""

from datetime import date

import pytest

from argo_alpine.domain import InvalidPolicy, UnavailableData
from argo_alpine.fields import Grid
from argo_alpine.folds import Windows
from argo_alpine.loading import load
from argo_alpine.optimize import plateau
from argo_alpine.samples import samples_folder
from argo_alpine.trials import Ledger
from argo_alpine.walk_forward import Objective, walk_forward
from services.common.reports import FILES, render

SMALL = {
    "symbols": "AAPL",
    "first": "2010-01-04",
    "last": "2012-03-30",
    "train": 200,
    "test": 100,
    "values_across": "2,4",
    "values_up": "66,72",
    "min_trades": 5,
    "workers": 1,
}


def test_the_page_shows_the_walk_and_counts_its_trials(tmp_path):
    book = tmp_path / "trials.jsonl"
    report = render("walk_forward", SMALL | {"ledger": str(book)}, tmp_path / "out")
    grid = Grid({"sizing.stop_pct": (2, 4), "consensus.threshold": (66, 72)})
    bars, since = load(["AAPL"], last=date(2012, 3, 30)), date(2010, 1, 4)
    walk = walk_forward(bars, grid, Windows(200, 100), None, Objective("sharpe", 5), plateau, since)
    assert report.metrics["total_return"] == pytest.approx(walk.outcome.summary.total_return)
    assert (report.metrics["folds"], report.metrics["trials"]) == (len(walk.steps), walk.trials)
    page = report.page.read_text()
    n = len(Ledger(book))
    assert f"{n} trials in the ledger, {n} of them on symbols of these names." in page
    assert "Hypothetical" in page
    for file in report.folder.iterdir():  # a page is shared: it names the ledger and no place
        assert str(tmp_path) not in file.read_text()
    assert report.manifest["parameters"]["ledger"] == "trials.jsonl"


def test_a_ledger_is_where_it_was_named_from_and_outlives_the_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        report = render("walk_forward", SMALL | {"ledger": "kept/book.jsonl"}, tmp_path / "out")
        assert {path.name for path in report.folder.iterdir()} == {*FILES}
        lines = (tmp_path / "kept" / "book.jsonl").read_text().splitlines()
        assert len(lines) == len(Ledger(tmp_path / "kept" / "book.jsonl")) > 0
    assert report.manifest["parameters"]["ledger"] == "book.jsonl"


@pytest.mark.parametrize(
    "name",
    ["out/book.jsonl", "out/kept/book.jsonl", "elsewhere", "out.failed.ipynb", "link"],
)
def test_a_ledger_that_a_report_would_take_away_with_it_is_refused(tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("out.failed.ipynb")
    with pytest.raises(InvalidPolicy, match="must be a file, and outside of the report"):
        render("walk_forward", SMALL | {"ledger": str(tmp_path / name)}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["report.html", ".book", "samples"])
def test_a_ledger_whose_name_could_be_taken_for_another_thing_is_refused(tmp_path, name):
    asked = {"ledger": str(tmp_path / name), "data": str(samples_folder())}
    with pytest.raises(InvalidPolicy, match="rename it"):
        render("walk_forward", SMALL | asked, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_ledger_in_a_home_that_nobody_has_is_refused(tmp_path):
    with pytest.raises(UnavailableData, match="no place ~nobody-of-that-name"):
        render("walk_forward", SMALL | {"ledger": "~nobody-of-that-name/book.jsonl"}, tmp_path)


def test_a_walk_that_could_never_choose_is_a_page_that_says_so(tmp_path):
    wanted = SMALL | {"min_trades": 100_000, "ledger": str(tmp_path / "trials.jsonl")}
    report = render("walk_forward", wanted, tmp_path / "out")
    assert report.metrics["idle_folds"] == report.metrics["folds"]
    assert report.metrics["sharpe"] is None
    page = report.page.read_text()
    assert "too few trades to judge" in page
    assert "nothing could be chosen" in page
