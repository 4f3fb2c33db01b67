"""The process of one backtest: parameters on stdin, progress on stdout, a line each."""

import json
import sys
from pathlib import Path
from typing import Any

from argo_alpine.domain import ArgoAlpineError
from services.common import reports


def say(**values: Any) -> None:
    """A line for whoever started us."""
    print(json.dumps(values), flush=True)


def main() -> None:
    """Render the report that was asked for."""
    wanted = json.load(sys.stdin)
    out = Path(wanted["out"])

    def tick(cell: int, cells: int, heading: str) -> None:
        say(state="running", progress=(cell - 1) / cells, note=heading)

    try:
        reports.render("backtest", wanted["parameters"], out, tick)
    except ArgoAlpineError as error:
        words = str(error).partition(" (the notebook so far")[0]  # it names a path of ours
        say(state="failed", note=words)
        return
    say(state="done", note="")


if __name__ == "__main__":
    main()
