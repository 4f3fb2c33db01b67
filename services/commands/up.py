"""Everything on one machine with one command."""

from typing import Annotated

import typer

PORTS = {"min": 1, "max": 65535}


def up(
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew, forget the books.")] = False,
    dwell: Annotated[float, typer.Option(min=1.0, help="Seconds a window lasts.")] = 12.0,
    report: Annotated[bool, typer.Option(help="Make the backtest report beside it.")] = True,
    sandbox_port: Annotated[int, typer.Option(**PORTS, help="Of the vendors.")] = 8600,
    control_port: Annotated[int, typer.Option(**PORTS, help="Of their clock.")] = 8601,
    argo_port: Annotated[int, typer.Option(**PORTS, help="Of the engine.")] = 8000,
    alpine_port: Annotated[int, typer.Option(**PORTS, help="Of the subscribers' API.")] = 9001,
    dashboard_port: Annotated[int, typer.Option(**PORTS, help="Of the dashboard.")] = 8501,
) -> None:
    """Start the sandbox, Argo, Alpine and the dashboard; Ctrl+C stops them all.

    Nothing leaves this machine: prices are recorded, the broker is simulated. A second run goes
    on where the first stopped; --fresh begins anew. A part that dies is started again.

    Ctrl+C ends it with exit code 0, or with 130 where it comes before the first part is started.

    \b
    Examples:
      argo-alpine up
      argo-alpine up --fresh --dwell 6
      argo-alpine up --dashboard-port 8502 --no-report
    """
    from services.commands import together

    ports = together.Ports(sandbox_port, control_port, argo_port, alpine_port, dashboard_port)
    together.run(ports, dwell, fresh, report)
