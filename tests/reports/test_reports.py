"""A report asks nobody for anything, says the same twice, and refuses what it was not told."""

import json
import re

import pytest

from argo_alpine.domain import Invalid, InvalidPolicy, UnavailableData
from services.common.page import inert, page, quiet
from services.common.reports import declared, parsed, render

OUTSIDE = re.compile(
    r"""(?:\b(?:src|href|srcset|action|poster|data)\s*=\s*["']?\s*|@import|url\(\s*["']?)"""
    r"""(?!["']?(?:\#|data:|blob:))[^\s>]*""",
    re.IGNORECASE,
)
PARAMETERS = (
    'symbol: str = "AAPL"  # which\n'
    "cash: float = 1000.0  # at the beginning\n"
    "count: int = 2  # how many\n"
    "fail: bool = False  # stop in the middle\n"
)
FIGURE = """
from IPython.display import HTML, Markdown, display
display({"application/vnd.plotly.v1+json": {"data": [{"y": [1, 2], "name": "</script><b>out"}],
         "layout": {"width": 2000}}}, raw=True)
display({"application/vnd.plotly.v1+json": {"data": [{"y": [2, 1]}], "layout": {}}}, raw=True)
display(HTML('<table><tr><td onclick="x()">41</td></tr></table>'
             '<script src="https://example.com/x.js"></script><img src="https://example.com/a.png">'))
display(Markdown("see [there](https://example.com/paper)"))
"""
METRICS = 'display({"application/json": {"b": cash * count, "a": symbol}}, raw=True)'


def a_cell(n, kind, source, *tags):
    cell = {"cell_type": kind, "id": f"c{n}", "metadata": {"tags": [*tags]}, "source": source}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def a_template(folder, parameters=PARAMETERS, metrics=METRICS, tag="metrics"):
    folder.mkdir(exist_ok=True)
    cells = [
        a_cell(0, "markdown", "# A small <report>"),
        a_cell(1, "code", parameters, "parameters"),
        a_cell(2, "markdown", "## What is drawn"),
        a_cell(3, "code", FIGURE),
        a_cell(4, "code", "secret_code = 1\nif fail:\n    raise ValueError('no\\nluck')"),
        a_cell(5, "code", metrics, tag),
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "small.ipynb").write_text(json.dumps(notebook))
    return folder


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    return a_template(tmp_path_factory.mktemp("templates"))


@pytest.fixture(scope="module")
def ticks():
    return []


@pytest.fixture(scope="module")
def report(templates, tmp_path_factory, ticks):
    out = tmp_path_factory.mktemp("out") / "small"
    return render("small", {"cash": 2500}, out, lambda *tick: ticks.append(tick), templates)


def without_library(text):
    """The page without plotly.js, which names addresses it is never asked for here."""
    return re.sub(r'<script id="plotly">.*?</script>', "", text, flags=re.DOTALL)


@pytest.mark.parametrize("name", ["csah", "__import__('os').system('true'); x"])
def test_an_unknown_parameter_is_refused_with_the_known_ones(templates, tmp_path, name):
    with pytest.raises(InvalidPolicy) as refused:
        render("small", {name: 1}, tmp_path / "out", templates=templates)
    assert name in str(refused.value).replace("\\", "")
    assert "cash: float = 1000.0" in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cash", "1000"),
        ("cash", True),
        ("cash", float("nan")),
        ("count", 2.0),
        ("count", True),
        ("symbol", 7),
        ("fail", 1),
        ("fail", "yes"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(templates, tmp_path, name, value):
    with pytest.raises(InvalidPolicy, match=f"{name} must be a"):
        render("small", {name: value}, tmp_path / "out", templates=templates)


def test_a_word_on_the_command_line_becomes_a_value_of_its_type(templates):
    known = declared(templates / "small.ipynb")
    words = {"symbol": "7", "cash": "1e3", "count": "7", "fail": "false"}
    assert [parsed(known[k], v) for k, v in words.items()] == ["7", 1000.0, 7, False]
    with pytest.raises(InvalidPolicy, match="count must be a int, was 'many'"):
        parsed(known["count"], "many")


def test_an_unknown_report_is_refused_with_the_known_ones(templates, tmp_path):
    with pytest.raises(UnavailableData, match=r"no report '\.\./small': there are small"):
        render("../small", {}, tmp_path / "out", templates=templates)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tag": "numbers"}, "no cell tagged metrics"),
        ({"parameters": "cash = 5  # untyped"}, "name: type = value"),
        ({"parameters": "cash: object = 5  # odd"}, "cash must be one of"),
        ({"parameters": "cash: float = 'x'  # wrong"}, "cash must be a float"),
    ],
)
def test_a_template_that_cannot_be_checked_is_refused(tmp_path, change, said):
    folder = a_template(tmp_path / "templates", **change)
    with pytest.raises(Invalid, match=said):
        render("small", {}, tmp_path / "out", templates=folder)


def test_parameters_reach_the_notebook_and_the_manifest(report):
    assert json.loads((report.folder / "metrics.json").read_text()) == {"a": "AAPL", "b": 5000.0}
    manifest = json.loads((report.folder / "manifest.json").read_text())
    expected = {"symbol": "AAPL", "cash": 2500.0, "count": 2, "fail": False}
    assert manifest["parameters"] == expected
    assert {path.name for path in report.folder.iterdir()} == {*manifest["files"]}


def test_each_cell_is_announced_under_its_heading(ticks, report):
    assert [tick[0] for tick in ticks] == [2, 4, 5, 6]
    assert ticks[0] == (2, 6, "A small <report>")
    assert ticks[1] == (4, 6, "What is drawn")


def test_the_page_makes_no_request(report):
    text = without_library(report.page.read_text())
    assert not OUTSIDE.findall(text)
    assert "default-src 'none'" in text
    assert "there (https://example.com/paper)" in text  # a link is its text and its address


@pytest.mark.parametrize(
    "request_",
    [
        '<script src="https://a.b/c.js">',
        "<img src=//a.b/c.png>",
        '<link href="http://a.b">',
        "<style>@import 'https://a.b'</style>",
        '<p style="background:url(https://a.b)">',
    ],
)
def test_a_request_would_be_seen_and_is_taken_out(request_):
    assert OUTSIDE.search(request_)
    assert not OUTSIDE.search(quiet(request_ + "kept"))


def test_markup_keeps_what_is_harmless_and_closes_what_is_open():
    table = '<table class="dataframe"><tr><td>a &lt; b</td></tr></table>'
    assert quiet(table) == table
    assert quiet("</div><b>open") == "<b>open</b>"
    assert quiet("<style>td { color: red }</style>") == "<style>td { color: red }</style>"
    assert quiet('<img src="x.png" onerror="x()"><script>x()</script>') == "<img>"


@pytest.mark.parametrize(
    "text", ["[\u22122.0, 70.2]", "2012-03-28", "41.8 %", "n = 2,014", "[95 %]"]
)
def test_a_narrow_screen_tears_no_interval_date_share_or_count(text):
    whole = f'<span class="whole">{text}</span>'
    assert quiet(f"<td>about {text} then</td>") == f"<td>about {whole} then</td>"


def test_only_prose_and_tables_are_dressed_and_a_digest_may_break():
    for kept in ("<pre>[1.0, 2.0]</pre>", "<code>2012-03-28</code>", "<svg><text>5 %</text></svg>"):
        assert quiet(kept) == kept
    assert quiet(f"<td>{'0f' * 32}</td>") == f"<td><code>{'0f' * 32}</code></td>"
    head = "<thead><tr><th>sizing.stop_pct</th></tr></thead>"
    assert quiet(head) == head.replace(".", ".<wbr>")
    assert quiet("<p>[see below] a.b 12-03-28</p>") == "<p>[see below] a.b 12-03-28</p>"


def test_a_list_can_be_folded_away():
    fold = "<details><summary>All 3</summary><table></table></details>"
    assert quiet(fold) == fold


def test_the_page_shows_prose_and_outputs_but_no_code(report):
    text = without_library(report.page.read_text())
    assert "<title>A small &lt;report&gt;</title>" in text
    assert "<td>41</td>" in text
    assert "secret_code" not in text
    assert "secret_code" in (report.folder / "report.ipynb").read_text()


def test_the_library_is_there_once_for_two_figures_and_not_for_none(report):
    text = report.page.read_text()
    assert text.count("<script") == 2
    assert without_library(text).count("Plotly.newPlot(") == 2
    assert "2000" not in without_library(text)  # a figure is as wide as the page
    bare = {"cells": [{"cell_type": "markdown", "source": "# Bare"}]}
    assert "<script" not in page(bare, {})


def test_text_in_a_figure_cannot_end_its_script(report):
    assert inert("</script><!--") == '"\\u003c/script>\\u003c!--"'
    text = without_library(report.page.read_text())
    assert "</script><b>out" not in text
    assert "\\u003c/script>\\u003cb>out" in text


def test_the_same_inputs_give_the_same_bytes(report, templates):
    before = {name: (report.folder / name).read_bytes() for name in report.manifest["files"]}
    again = render("small", {"cash": 2500.0}, report.folder, templates=templates)
    for name in ("metrics.json", "report.html"):
        assert (again.folder / name).read_bytes() == before[name]
    assert before["metrics.json"].endswith(b"}\n")
    assert [path.name for path in report.folder.parent.iterdir()] == ["small"]


def test_a_failing_cell_is_named_in_one_line_and_its_notebook_kept(report, templates):
    before = report.page.read_bytes()
    with pytest.raises(Invalid) as stopped:
        render("small", {"fail": True}, report.folder, templates=templates)
    assert "ValueError: no luck" in str(stopped.value)
    assert "\n" not in str(stopped.value)
    kept = report.folder.with_name("small.failed.ipynb")
    assert "no\\nluck" in kept.read_text()
    assert report.page.read_bytes() == before
    render("small", {"cash": 2500}, report.folder, templates=templates)
    assert not kept.exists()  # it would only mislead now


def test_an_error_of_ours_in_a_cell_keeps_its_remedy(tmp_path):
    raising = (
        "from argo_alpine.domain import UnavailableData\nraise UnavailableData('no such bars')"
    )
    folder = a_template(tmp_path / "templates", metrics=raising)
    with pytest.raises(UnavailableData, match="report small stopped: no such bars"):
        render("small", {}, tmp_path / "out", templates=folder)


def test_numbers_that_json_lacks_are_refused(tmp_path):
    nan = 'display({"application/json": {"sharpe": float("nan")}}, raw=True)'
    folder = a_template(tmp_path / "templates", metrics=nan)
    with pytest.raises(Invalid, match="metric sharpe is nan"):
        render("small", {}, tmp_path / "out", templates=folder)


def test_a_folder_that_holds_something_else_is_never_replaced(templates, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Invalid, match=r"holds 'thesis\.txt'"):
        render("small", {}, tmp_path, templates=templates)
    assert (tmp_path / "thesis.txt").exists()
