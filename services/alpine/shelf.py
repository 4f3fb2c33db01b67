"""Reports that were rendered here, for those who review them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path("data/reports")
MOST = 200


@dataclass(frozen=True, slots=True)
class ReportView:
    """A report, and what it comes to."""

    name: str
    made_at: datetime
    verdict: str | None
    metrics: Mapping[str, Any]  # those that are one number or one text


def listed(folder: Path) -> tuple[ReportView, ...]:
    """All reports, newest first."""
    found = [view(path.parent) for path in sorted(folder.glob("*/metrics.json"))[:MOST]]
    whole = [report for report in found if report is not None]
    return tuple(sorted(whole, key=lambda report: report.made_at, reverse=True))


def view(folder: Path) -> ReportView | None:
    """A report; None for a folder that is not whole."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        made = (folder / "report.html").stat().st_mtime
    except (OSError, ValueError):
        return None
    if folder.name.startswith(".") or not isinstance(metrics, dict):
        return None
    plain = {k: v for k, v in metrics.items() if v is None or isinstance(v, str | int | float)}
    verdict = metrics.get("verdict")
    words = verdict if isinstance(verdict, str) else None
    return ReportView(folder.name, datetime.fromtimestamp(made, UTC), words, plain)


def page(folder: Path, name: str) -> Path | None:
    """The page of a report that is listed; a name from outside never becomes a path."""
    known = {report.name for report in listed(folder)}
    return folder / name / "report.html" if name in known else None
