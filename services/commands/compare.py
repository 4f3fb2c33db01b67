"""Reports side by side: first what they do not share, then their numbers."""

from typing import TYPE_CHECKING, Annotated

import typer

from services.commands.screen import Json, near, printable, say, show, tell

if TYPE_CHECKING:
    from services.common.comparison import Comparison, Rendered


def compare(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Of data/reports, or folders; none lists them."),
    ] = None,
    json: Json = False,
) -> None:
    """List the reports there are, or hold two or more of them side by side.

    What makes them incomparable comes first: another template, other data, another period. Then
    what differs in parameters and code, then every number. Without a name the reports are listed,
    and data/reports/index.html is written again.

    \b
    Examples:
      argo-alpine compare
      argo-alpine compare backtest aapl
      argo-alpine compare data/reports/backtest /tmp/aapl --json
    """
    from services.common import comparison, reports

    if not names:
        listed(*comparison.there(reports.REPORTS), json)
        return
    if len({*names}) < 2:
        raise typer.BadParameter("name two reports or more, or none to list them")
    found = comparison.compared([comparison.named(name, reports.REPORTS) for name in names])
    say(as_json(found)) if json else side_by_side(found)


def listed(found: "list[Rendered]", broken: list[str], json: bool) -> None:
    """Every report in a line; the page that lists them is written again."""
    from services.common import comparison, reports

    reports.REPORTS.mkdir(parents=True, exist_ok=True)
    index = comparison.write_index(reports.REPORTS)
    if json:
        rows = [
            {"name": r.name, "page": str(r.folder / "report.html")}
            | {"manifest": dict(r.manifest), "metrics": dict(r.metrics)}
            for r in found
        ]
        say({"index": str(index), "reports": rows, "broken": broken})
        return
    for report in found:
        pairs = zip(comparison.HEADS[1:], comparison.cells(report), strict=True)
        show(report.name, ("", ""), [*pairs, ("Page", near(report.folder / "report.html"))])
    if not found:
        print("No reports yet: argo-alpine report --all")
    if broken:
        tell(f"Left out, because they cannot be read: {', '.join(broken)}")
    print(f"They are listed in {near(index)}")


def as_json(found: "Comparison") -> dict[str, object]:
    """A comparison for programs."""
    return {
        "reports": [r.name for r in found.reports],
        "comparable": not found.obstacles,
        "obstacles": found.obstacles,
        "cautions": found.cautions,
        "parameters": found.parameters,
        "data": found.data,
        "code": found.code,
        "metrics": found.metrics,
    }


def side_by_side(found: "Comparison") -> None:
    """A comparison for people."""
    from services.common.comparison import in_order, label, said

    heads = ("", *(report.name for report in found.reports))
    for line in (*found.obstacles, *found.cautions):
        print(f"{line[0].upper()}{printable(line[1:])}")
    for title, sides in (
        ("Parameters that differ", found.parameters),
        ("Data that differ, SHA-256", found.data),
        ("Code that differs", found.code),
    ):
        if sides:
            rows = ((key, *(short(value) for value in values)) for key, values in sides.items())
            show(title, heads, rows)
    numbers = (
        (label(key), *(said(report, key) for report in found.reports))
        for key in in_order(found.metrics)
    )
    show("Numbers, hypothetical", heads, numbers)
    for report in found.reports:
        if report.metrics.get("verdict"):
            print(f"{report.name}: {printable(str(report.metrics['verdict']))}")


def short(value: object) -> str:
    """A parameter, or a digest one can tell from another."""
    if value is None:
        return "-"
    text = str(value)
    return text[:12] if len(text) in {40, 64} and " " not in text else text
