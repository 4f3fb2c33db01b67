"""Rendered reports side by side: what differs between them, and a page that lists them."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from argo_alpine.domain import InvalidData, UnavailableData
from argo_alpine.metrics import BESIDE, NAMES, PERCENT, Summary
from argo_alpine.shares import Share, reading
from services.common.page import SHELL

INDEX = "index.html"
PERIOD = ("first", "last", "day")  # parameters that say which time a report is about
NAN, NONE = float("nan"), "\N{EN DASH}"
SHARES = PERCENT | {
    "break_even_rate",
    "break_even",
    "needed",
    "margin",
    "hit_rate",
    "gain",
    "risk",
    "cost",
}
SHARE = "coverage_"  # and what begins so is read as percent
BESIDES = {"benchmark_": "Benchmark", "in_part_": "Benchmark in part (its beta)"}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A report that lies in a folder."""

    name: str
    folder: Path
    manifest: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @property
    def commit(self) -> str:
        """The code it was made with, as people cite it."""
        at = self.manifest["code"]
        changed = ", changed since" if at["dirty"] else ""
        return f"{at['commit'][:12]}{changed}" if at["commit"] else "unknown"

    @property
    def symbols(self) -> str:
        """What it is about."""
        asked = self.manifest["parameters"]
        symbols = ", ".join(str(asked.get("symbols", "")).replace(",", " ").split())
        return f"{symbols} of {asked['data']}" if asked.get("data") else symbols


def opened(folder: Path) -> Rendered:
    """The report in a folder. *Raises* `UnavailableData` for none, `InvalidData` if broken."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        made = Rendered(folder.name, folder, manifest, metrics)
        if not {"template", "parameters", "data"} <= manifest.keys() or not made.commit:
            raise KeyError("template, parameters, data and code")
    except FileNotFoundError as error:
        raise UnavailableData(
            f"no report in {folder}: {Path(error.filename).name} is missing"
        ) from (None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidData(
            f"the report in {folder} cannot be read ({error}): render it again"
        ) from (error)
    return made


def there(folder: Path) -> tuple[list[Rendered], list[str]]:
    """Every whole report in a folder, by template and name; and the names of broken ones."""
    reports, broken = [], []
    for manifest in sorted(folder.glob("*/manifest.json")):
        if not manifest.parent.name.startswith("."):
            try:
                reports.append(opened(manifest.parent))
            except (UnavailableData, InvalidData):
                broken.append(manifest.parent.name)
    return sorted(reports, key=lambda report: (report.manifest["template"], report.name)), broken


def named(name: str, folder: Path) -> Rendered:
    """A report by its name in `folder`, or by its path. *Raises* `UnavailableData`."""
    known = {report.name: report for report in there(folder)[0]}
    if name in known:
        return known[name]
    if (Path(name) / "manifest.json").is_file():
        return opened(Path(name).absolute())
    raise UnavailableData(
        f"no report {name!r} in {folder}: there are {', '.join(known) or 'none'}; "
        "name one, or a folder that a report was written to"
    )


def parted(values: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The keys whose values are not all the same, with the values; None where one lacks it."""
    rows = [*values]
    keys = dict.fromkeys(key for row in rows for key in row)
    sides = {key: [row.get(key) for row in rows] for key in keys}
    return {key: side for key, side in sides.items() if any(v != side[0] for v in side)}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Reports held against each other; every list is in their order."""

    reports: tuple[Rendered, ...]
    parameters: Mapping[str, Sequence[Any]]  # those that differ
    data: Mapping[str, Sequence[Any]]  # digests that differ
    code: Mapping[str, Sequence[Any]]  # commits, and versions of libraries, that differ
    metrics: Mapping[str, Sequence[Any]]  # all of them

    @property
    def obstacles(self) -> list[str]:
        """Why the numbers do not answer the same question."""
        templates = [str(report.manifest["template"]) for report in self.reports]
        period = [key for key in PERIOD if key in self.parameters]
        said = []
        if len({*templates}) > 1:
            said.append(f"not comparable because the templates differ: {', '.join(templates)}")
        if self.data:
            said.append(f"not comparable because the data differ: {', '.join(self.data)}")
        if period:
            said.append(f"not comparable because the periods differ: {', '.join(period)}")
        return said

    @property
    def cautions(self) -> list[str]:
        """What a reader should know before the first number."""
        said = []
        if self.code:
            said.append(f"made by different code: {', '.join(self.code)}")
        if changed := [r.name for r in self.reports if r.manifest["code"]["dirty"]]:
            said.append(f"code was changed after its commit: {', '.join(changed)}")
        if not self.parameters:
            said.append("no parameter differs")
        return said


def compared(reports: Sequence[Rendered]) -> Comparison:
    """What differs between reports, and all their numbers."""
    numbers = [
        {k: v for k, v in r.metrics.items() if not isinstance(v, dict | list)} for r in reports
    ]
    keys = dict.fromkeys(key for row in numbers for key in row)
    code = parted(
        {"commit": r.manifest["code"]["commit"], "python": r.manifest.get("python")}
        | dict(r.manifest.get("libraries", {}))
        for r in reports
    )
    return Comparison(
        tuple(reports),
        parted(r.manifest["parameters"] for r in reports),
        parted(r.manifest["data"] for r in reports),
        code,
        {key: [row.get(key) for row in numbers] for key in keys},
    )


def part(key: str) -> tuple[str, str]:
    """Whose metric it is, as a prefix (none: the strategy's), and which."""
    whose = next((prefix for prefix in BESIDES if key.startswith(prefix)), "")
    return whose, key.removeprefix(whose)


def label(key: str) -> str:
    """A metric's name for people."""
    whose, bare = part(key)
    name = NAMES.get(bare, bare.replace("_", " ").capitalize())
    return f"{BESIDES[whose]}: {name[:1].lower()}{name[1:]}" if whose else name


def in_order(keys: Iterable[str]) -> list[str]:
    """Metrics as a page has them: the strategy's, then what its template adds, then benchmarks'.

    The ends of an interval and the counts behind a rate stand with what they belong to.
    """
    places = {field.name: n for n, field in enumerate(fields(Summary))}
    there, parties = {*keys}, ["", *BESIDES]

    def place(key: str) -> tuple[int, int, str]:
        whose, bare = part(key)
        return parties.index(whose), places.get(bare, len(places)), bare

    def is_end(key: str) -> bool:
        stem, _, end = key.rpartition("_")
        return end in ("low", "high") and stem in there

    besides = [key for key in there if part(key)[1] in BESIDE or is_end(key)]
    return sorted(there.difference(besides, ["verdict"]), key=place)


def said(report: Rendered, key: str) -> str:
    """A metric of a report for people, with its interval; a benchmark's reads as the strategy's."""
    m, bare = report.metrics, part(key)[1]
    value = m.get(key)
    if key == "win_rate":
        return won(m)
    if value is None:
        return NONE
    if isinstance(value, float):
        low, high = (number(m, f"{key}_{end}") for end in ("low", "high"))
        if bare == "longest_wait":
            return f"{reading(value, low, high, digits=0)} days"
        return reading(value, low, high, pct=bare in SHARES or bare.startswith(SHARE))
    text = str(value)
    return text[:10] if text[4:5] == "-" and text[10:11] == "T" else text


def won(metrics: Mapping[str, Any]) -> str:
    """The win rate with its interval and count; too few trades are a count."""
    share, low, high = (number(metrics, key) for key in ("win_rate", "win_low", "win_high"))
    n = int(metrics.get("trades", 0))
    return Share(share, n, float(n), low, high).text if "trades" in metrics else NONE


HEADS = (
    *("Report", "Template", "Symbols", "Period", "Return", "Growth a year", "Sharpe"),
    *("Deepest drawdown", "Trades won", "Code", "Verdict"),
)


def number(metrics: Mapping[str, Any], key: str) -> float:
    """A metric as a number; NaN for one that is missing, or is none."""
    value = metrics.get(key)
    return float(value) if isinstance(value, int | float) else NAN


def period(report: Rendered) -> str:
    """The exchange dates a report is about; what it does not say is what it was asked."""
    asked = report.manifest["parameters"]
    first, last = ("start", "first"), ("end", "last")
    days = [
        str(report.metrics.get(own) or asked.get(name) or "")[:10] for own, name in (first, last)
    ]
    return " to ".join(day for day in days if day) or NONE


def cells(report: Rendered) -> tuple[str, ...]:
    """A report in one line, from its template on."""
    m = report.metrics
    return (
        str(report.manifest["template"]),
        report.symbols or NONE,
        period(report),
        *(said(report, key) for key in ("total_return", "cagr", "sharpe", "max_drawdown")),
        won(m) if "win_rate" in m else NONE,
        report.commit,
        str(m.get("verdict") or NONE),
    )


def row(report: Rendered) -> str:
    """A line of the index: the page and the PDF are links."""
    place = quote(report.folder.name)
    links = f'<a href="{place}/report.html">{html.escape(report.name)}</a>'
    if (report.folder / "report.pdf").is_file():
        links += f' (<a href="{place}/report.pdf">PDF</a>)'
    *line, code, verdict = cells(report)
    said = "".join(f"<td>{html.escape(cell)}</td>" for cell in line)
    words = html.escape(f"{verdict} Code: {code}.")
    below = f'<tr class="verdict"><td colspan="{len(line) + 1}"><div>{words}</div></td></tr>'
    return f"<tr><th>{links}</th>{said}</tr>{below}"


def groups(reports: Sequence[Rendered]) -> list[str]:
    """Which reports answer the same question, in sentences."""
    same: dict[str, list[str]] = {}
    for report in reports:
        period = [report.manifest["parameters"].get(k) for k in PERIOD]
        question = json.dumps([report.manifest["template"], report.manifest["data"], period])
        same.setdefault(question, []).append(report.name)
    return [", ".join(names) for names in same.values() if len(names) > 1]


def index(reports: Sequence[Rendered], broken: Sequence[str] = ()) -> str:
    """One page that lists reports, and asks nobody for anything."""
    heads = "".join(f"<th>{head}</th>" for head in HEADS[:-2])
    lines = "\n".join(row(report) for report in reports)
    alike = "".join(f"<li>{html.escape(names)}</li>" for names in groups(reports))
    body = (
        "<style>main { max-width: 80rem; } thead th { white-space: normal; } "
        "footer { display: none; } "
        "td:nth-child(3), td:nth-child(4) { white-space: normal; min-width: 7rem; } "
        "tr:has(+ .verdict) > * { border-bottom: 0; padding-bottom: 0; } "
        ".verdict td { white-space: normal; color: var(--quiet); } "
        # the table may be wider than a phone: the words stay where they can be read
        ".verdict div { position: sticky; left: 0; max-width: calc(100vw - 4rem); }</style>"
        "<h1>Reports</h1>\n<blockquote><p>Hypothetical results, each with its caveats on its own "
        "page; in brackets 95 %. Numbers of different templates, data or periods do not compare."
        "</p></blockquote>\n"
        f'<div class="output"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>'
        "</div>"
    )
    if not reports:
        body = "<h1>Reports</h1>\n<p>None yet: <code>argo-alpine report --all</code></p>"
    if alike:
        body += (
            "<h2>Which of them compare?</h2>\n<p>Same template, data and period:</p>"
            f"<ul>{alike}</ul><p>Side by side: <code>argo-alpine compare NAME NAME</code></p>"
        )
    if broken:
        body += f"<p>Left out, because they cannot be read: {html.escape(', '.join(broken))}.</p>"
    return Template(SHELL.read_text(encoding="utf-8")).substitute(
        title="Reports", body=body, footer="", scripts=""
    )


def write_index(folder: Path) -> Path:
    """List what is in a folder; the page appears whole or not at all."""
    made = folder / f".{INDEX}"
    made.write_text(index(*there(folder)), encoding="utf-8")
    return made.replace(folder / INDEX)
