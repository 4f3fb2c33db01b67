"""One policy over old prices: what it would have done."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.commands.knobs import (
    CAVEAT,
    STOCKS,
    Cash,
    Data,
    First,
    Last,
    Sets,
    Symbols,
    asked,
    base_of,
    said_if_slow,
    told_lacks,
)
from services.commands.screen import Json, near, rows_of, say, show, tell

if TYPE_CHECKING:
    from argo_alpine.backtest import Backtest
    from services.common.folders import Asked

RAW = "Raw prices: positions are converted at splits; dividends are not recorded."


def backtest(
    context: typer.Context,
    symbols: Symbols = STOCKS,
    data: Data = "",
    first: First = date(2005, 3, 1),
    last: Last = date(2013, 3, 1),
    cash: Cash = 100_000.0,
    threshold: Annotated[float, typer.Option(help="Consensus that acts, percent.")] = 75.0,
    drawdown_pct: Annotated[float, typer.Option(help="From the peak; more halts.")] = 10.0,
    rearm_after: Annotated[int, typer.Option(help="Days a halt lasts; 0: for good.")] = 0,
    slippage_bps: Annotated[float, typer.Option(help="Against us, basis points.")] = 5.0,
    spread_bps: Annotated[float, typer.Option(help="Bid to ask; half is paid.")] = 2.0,
    fee_per_share: Annotated[float, typer.Option(help="Account currency.")] = 0.0,
    settings: Sets = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Unadjusted prices, and the splits as they came.")
    ] = False,
    trades: Annotated[
        Path | None,
        typer.Option("--trades", metavar="FILE", dir_okay=False, help="Write them as CSV."),
    ] = None,
    json: Json = False,
) -> None:
    """What the policy would have done with these prices, after costs.

    Bars before --from warm up the indicators. --set turns any knob of the policy, such as
    sizing.stop_pct, or of the costs, such as costs.fee_bps; a wrong name is answered with the
    right ones.

    \b
    Examples:
      argo-alpine backtest
      argo-alpine backtest --symbols AAPL,MSFT --from 2009-01-01 --to 2013-03-01
      argo-alpine backtest --threshold 80 --slippage-bps 10 --json
      argo-alpine backtest --set sizing.stop_pct=2 --set costs.volume_pct=1
      argo-alpine backtest --symbols AAPL --raw --trades data/reports/trades.csv
      argo-alpine backtest --data prices --from 2020-01-02
    """
    said_if_slow("loop.loop")
    from argo_alpine.backtest import backtest as run_backtest
    from argo_alpine.loading import splits_of

    options = {
        "consensus.threshold": threshold,
        "risk.drawdown_pct": drawdown_pct,
        "risk.rearm_after": rearm_after,
        "costs.slippage_bps": slippage_bps,
        "costs.spread_bps": spread_bps,
        "costs.fee_per_share": fee_per_share,
    }
    wanted, basis = base_of(settings or (), options), "raw" if raw else "splits"
    prices = asked(context, data, symbols, first, last, wanted.policy.indicators, basis)
    run = run_backtest(
        prices.bars,
        policy=wanted.policy,
        costs=wanted.costs,
        readings=prices.readings,
        cash=cash,
        start=prices.first,
        actions=splits_of(prices.bars.symbols, data) if raw else (),
    )
    check_two(run)
    said_run(run, prices) if json else show_run(run, prices)
    if trades is not None:
        keep_trades(run, trades)


def check_two(run: "Backtest") -> None:
    """*Raises* `UnavailableData` where a single bar was decided: no return follows from it."""
    from argo_alpine.domain import UnavailableData

    if len(run.equity) < 2:
        raise UnavailableData(
            f"{run.bars.times[0]:%Y-%m-%d} is the only bar decided, and no return follows from "
            "one: begin earlier, or end later"
        )


def keep_trades(run: "Backtest", path: Path) -> None:
    """Write closed trades down. *Raises* `UnavailableData` where nothing can be written."""
    from argo_alpine.domain import UnavailableData

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        run.trades.to_csv(path, index=False)
    except OSError as error:
        raise UnavailableData(f"{path} cannot be written: {error.strerror}") from None
    tell(f"{len(run.trades)} trades are in {near(path)}")


def said_run(run: "Backtest", prices: "Asked") -> None:
    """A run for programs."""
    from argo_alpine.bootstrap import luck
    from argo_alpine.metrics import as_json, summary
    from argo_alpine.verdict import judgement

    page, spans = summary(run), luck(run)
    found = {"verdict": judgement(run, page, spans), "summary": as_json(page, spans)}
    about = {"symbols": [*run.bars.symbols], "basis": run.bars.basis, "policy": run.policy.version}
    paid = {name: float(value) for name, value in run.paid.items()}
    halts = [f"{at:%Y-%m-%d}" for at in run.halts]
    said = {"caveat": CAVEAT, **found, "paid": paid, "halts": halts}
    say({**about, **prices.origin, **said, "stranded": rows_of(run.stranded)})


def most_often(run: "Backtest") -> str:
    """The three reasons that were given most."""
    rows = run.reasons.nlargest(3, "count").itertuples(index=False)
    return ", ".join(f"{reason} at the {moment} {count:,} times" for moment, reason, count in rows)


def show_run(run: "Backtest", prices: "Asked") -> None:
    """A run for people."""
    from argo_alpine.bootstrap import luck
    from argo_alpine.metrics import lines, summary
    from argo_alpine.results import PAID, halts_in_words, stranded_in_words
    from argo_alpine.verdict import judgement

    page, spans = summary(run), luck(run)
    print(judgement(run, page, spans))
    found = lines(page, spans)
    extra = [("Trades", str(len(run.trades))), ("Halts", halts_in_words(run))]
    paid = [(f"Paid in {PAID[name]}", f"{run.paid[name]:,.2f}") for name in PAID if name != "fees"]
    known = {name for name, _ in extra}
    numbers = [line for line in found if line[0] not in known]
    show(", ".join(run.bars.symbols), ("", ""), [*numbers, *paid, *extra])
    if not len(run.trades):
        print(f"No trade. Most often, and when: {most_often(run)}.")
    if run.bars.basis == "raw":
        print(RAW)
    told_lacks(prices)
    if outlived := stranded_in_words(run):
        print(f"{outlived}. Nobody knows what it would have brought.")
    print(CAVEAT)
