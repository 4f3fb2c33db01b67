"""The command `argo-alpine`: everything a person asks of this repository."""

# Nothing heavy is imported up here: --help answers at once, each command imports what it needs.
import errno
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.commands import (
    alpine,
    backtest,
    compare,
    dashboard,
    interrupts,
    live,
    quality,
    record,
    run,
    search,
    up,
)
from services.commands.knobs import listed
from services.commands.screen import Json, near, progress, say, show, tell

if TYPE_CHECKING:
    from pathlib import Path

    from argo_alpine.loading import Action
    from services.common.reports import Tick

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def stated(version: bool) -> None:
    """Print the version and stop."""
    if version:
        from argo_alpine import __version__

        print(f"argo-alpine {__version__}")
        raise typer.Exit


@app.callback()
def entry(
    version: Annotated[
        bool, typer.Option("--version", callback=stated, is_eager=True, help="Which this is.")
    ] = False,
) -> None:
    """Research trading signals, see what they would have done, and run them live.

    \b
    Start here:
      argo-alpine bars                    what market data is here
      argo-alpine lab                     the notebooks it is all made of

    \b
    Try a policy:
      argo-alpine backtest                what it would have done, after costs
      argo-alpine signal-quality          how often its signals were right, and thanks to whom
      argo-alpine sweep                   many policies at once: the peak and the plateau
      argo-alpine walk-forward            chosen on the past, judged on what came after
      argo-alpine report backtest         the same as a page with pictures; report --all for all
      argo-alpine compare                 the reports there are, side by side

    \b
    Run it all:
      argo-alpine up                      sandbox, engine, Alpine and dashboard; Ctrl+C stops them

    \b
    Or each part in a terminal of its own:
      argo-alpine sandbox                 four vendors and a broker, on this machine
      argo-alpine argo --sandbox          the engine that trades with them
      argo-alpine alpine                  what subscribers get
      argo-alpine dashboard               all of it in a browser
      argo-alpine user                    make a subscriber
      argo-alpine health                  how it is doing, and what is wrong

    \b
    Ask it:
      argo-alpine signals                 who voted how, and what became of it
      argo-alpine positions               what is held, and what guards it
      argo-alpine account                 what it is worth
      argo-alpine sources                 what each source says now
      argo-alpine logs                    what happened
      argo-alpine replay                  decide it all again, and compare
      argo-alpine export                  what it heard, as a folder to test other policies on

    \b
    Exit codes: 0 well, 1 a check failed, something is missing or a value cannot be, 2 the line was
    not understood, 130 interrupted.
    Every command explains itself with --help and answers programs with --json.
    """


def inventory(
    symbol: str,
    name: str,
    known: "Sequence[Action]",
    said: Mapping[str, int],  # readings of each symbol
    count: int,
    data: str,
) -> dict[str, Any]:
    """What is here of one symbol; its last rows if asked for. A damaged file is not sound."""
    from argo_alpine.bars import to_frame
    from argo_alpine.domain import Invalid
    from argo_alpine.gaps import gaps
    from argo_alpine.loading import bars_from
    from argo_alpine.samples import data_folder, digest_of, sums_of

    place = data_folder(data)
    try:
        bars, digest = bars_from(name, symbol, known, "splits", data), digest_of(place / name)
    except Invalid as error:
        return {"symbol": symbol, "file": name, "sound": False, "error": str(error)}
    rows = to_frame(bars, symbol).tail(count).reset_index().astype({"at": str}) if count else None
    return {
        "symbol": symbol,
        "file": name,
        "bars": len(bars),
        "first": bars.times[0].isoformat(),
        "last": bars.times[-1].isoformat(),
        "splits": sum(split.symbol == symbol for split in known),
        "readings": said[symbol],
        "gaps": gaps(bars),
        "sound": True,
        "checksum": "none" if sums_of(place) is None else "ok",
        "sha256": digest,
    } | ({} if rows is None else {"rows": rows.to_dict("records")})


def adjusted(splits: int) -> str:
    """What was done to prices, in words."""
    return f"adjusted for {splits} split{'s' * (splits > 1)}" if splits else "as they are"


def said_inventory(found: Sequence[Mapping[str, Any]]) -> None:
    """What is here, for programs."""
    from services.common.folders import plain

    say([{**row, "gaps": [plain(gap) for gap in row.get("gaps", ())]} for row in found])


def show_inventory(found: Sequence[Mapping[str, Any]]) -> None:
    """What is here, for people."""
    from argo_alpine.gaps import gaps_in_words, largest
    from argo_alpine.samples import READINGS

    heads = ("symbol", "bars", "first", "last", "prices", "checksum")
    show(
        "Bars, times in UTC",
        heads,
        (
            (
                row["symbol"],
                f"{row['bars']:,}",
                row["first"][:10],
                row["last"][:10],
                adjusted(row["splits"]),
                row["checksum"],
            )
            if row["sound"]
            else (row["symbol"], "", "", "", "", "NOT SOUND")
            for row in found
        ),
    )
    if words := gaps_in_words(largest([gap for row in found for gap in row.get("gaps", ())])):
        print(f"{words}.")
    if said := sum(row.get("readings", 0) for row in found):
        print(f"{READINGS} holds readings of these symbols: {said:,}.")
    names = ("open", "high", "low", "close", "volume")
    for row in found:
        if "rows" in row:
            lines = ((r["at"][:16], *(f"{r[name]:,.10g}" for name in names)) for r in row["rows"])
            show(f"{row['symbol']}, last bars", ("close at", *names), lines)


@app.command()
def bars(
    symbols: Annotated[list[str] | None, typer.Argument(metavar="[SYMBOL]...")] = None,
    rows: Annotated[int, typer.Option(min=0, help="Last rows shown of each named symbol.")] = 5,
    data: Annotated[
        str,
        typer.Option(
            metavar="FOLDER", show_default="the samples", help="Of bars of your own, as said above."
        ),
    ] = "",
    json: Json = False,
) -> None:
    """What market data is here, and whether its files are what they were.

    \b
    A folder of your own holds a SYMBOL.csv for each symbol, its rows in order of time:
      date,open,high,low,close,volume     days of the New York exchange, such as 2024-03-01
      at,open,high,low,close,volume       any other bars, by their closes: 2024-03-01T21:00:00Z
    Other columns are not read; a volume that nobody knows is 0. Prices are as paid, or, where
    there is no splits.csv, taken as they are. It may say the splits:
      symbol,date,ratio                   first day in new shares, new ones for each old one
    readings.csv may say what X and Sonar said, known at `at`, believed until `expires`:
      symbol,source,at,expires,score,authors          source x_sentiment; score -1 to 1
      symbol,source,at,expires,direction,confidence   source sonar; -1 to 1, 0 to 100 percent
    Where SHA256SUMS is there as well (sha256sum *.csv > SHA256SUMS), files must be as it says.

    \b
    Examples:
      argo-alpine bars
      argo-alpine bars AAPL MSFT --rows 10
      argo-alpine bars --data prices
    """
    from argo_alpine.loading import splits_of
    from argo_alpine.readings import readings_of, strangers, strangers_in_words
    from argo_alpine.samples import files_of, symbols_there

    named = listed(" ".join(symbols or ()))
    files = files_of(named, data) if named else symbols_there(data)
    count, known, found = rows if named else 0, splits_of([*files], data), []
    said = Counter(reading.symbol for reading in readings_of([*files], data))
    with progress("Reading", len(files)) as tick:
        for symbol, name in files.items():
            found.append(inventory(symbol, name, known, said, count, data))
            tick(len(found))
    said_inventory(found) if json else show_inventory(found)
    if unheard := strangers_in_words(strangers(data)):
        tell(unheard)
    if damaged := [row["error"] for row in found if not row["sound"]]:
        tell("\n".join(damaged))
        raise typer.Exit(1)


def settings(context: typer.Context, words: Sequence[str], known: Iterable[str]) -> dict[str, str]:
    """The parameters in `--cash 5000 --from=2005-03-01`; anything else is a usage error."""
    given: dict[str, str] = {}
    short = {"from": "first", "to": "last"}
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        name = option.removeprefix("--").replace("-", "_")
        name = short.get(name, name)
        if not option.startswith("--") or name not in known:
            options = ", ".join(f"--{k.replace('_', '-')}" for k in known)
            context.fail(f"no option {option}; this report has {options}")
        text = value if equals else next(rest, None)
        if text is None:
            context.fail(f"option {option} needs a value")
        given[name] = text
    return given


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    options_metavar="[OPTIONS] [--PARAMETER VALUE]...",
)
def report(
    context: typer.Context,
    template: Annotated[
        str | None, typer.Argument(metavar="[TEMPLATE]", help="Of nbs/reports, such as backtest.")
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Every template there is, with its defaults.")
    ] = False,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where; else data/reports/TEMPLATE.")
    ] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Print report.pdf as well; needs Chromium.")
    ] = False,
    json: Json = False,
) -> None:
    """Run a report and write one page that needs no network.

    Any other option is a parameter of the template: --slippage-bps sets slippage_bps, and
    --from and --to set first and last, --knobs "sizing.stop_pct=2 costs.fee_bps=1" what --set does
    elsewhere. A name it does not have is refused with those it has.
    --data FOLDER is about bars of your own (see `bars --help`); symbols and days that are not
    named are then all there are. The page shows the folder's name and the digests of its files.
    The folder holds report.html, report.ipynb, metrics.json and manifest.json.

    With --all every template is run, each into a folder of its own below DIR; one that fails is
    named at the end, with exit code 1. data/reports/index.html lists what lies beside it; another
    --out below data/reports keeps several runs of one template, which `compare` holds side by side.

    \b
    Examples:
      argo-alpine report backtest
      argo-alpine report backtest --symbols AAPL --from 2009-01-01 --out data/reports/aapl
      argo-alpine report backtest --data prices --out data/reports/prices
      argo-alpine report backtest --pdf
      argo-alpine report --all
    """
    from pathlib import Path

    from services.common import reports

    if all_ == (template is not None):
        context.fail(f"name a report, or --all: there are {', '.join(reports.names())}")
    if all_ and context.args:
        context.fail(f"--all runs templates with their defaults, without {context.args[0]}")
    folder = Path(out) if out else None
    if all_:
        every_report(folder, pdf, json)
        return
    path = reports.template(str(template))
    known = reports.declared(path)
    given = settings(context, context.args, known)
    values = {name: reports.parsed(known[name], text) for name, text in given.items()}
    values = reports.meant(known, values)
    if values.get("data"):
        asked = {k: values.get(k, known[k].default) for k in reports.UNSAID if k in known}
        tell(f"About {', '.join(f'{name} {value}' for name, value in asked.items())}")
    made = reports.render(path.stem, values, folder, ticker(), pdf=pdf)
    if json:
        say({"page": str(made.page), "metrics": made.metrics, "manifest": made.manifest})
    else:
        print(f"The report is at {near(made.page)}")


def ticker() -> "Tick":
    """Tell each heading once, when its first cell begins."""
    last = ""

    def tick(cell: int, of: int, under: str) -> None:
        nonlocal last
        interrupts.check()
        if under != last:
            tell(f"  {cell:>3}/{of}  {under}")
        last = under

    return tick


def every_report(folder: "Path | None", pdf: bool, json: bool) -> None:
    """Render every template, then the page that lists them; a failure stops only its own."""
    from argo_alpine.domain import ArgoAlpineError
    from services.common import comparison, printer, reports

    if pdf:
        printer.browser()
    made, failed = [], []
    for n, name in enumerate(names := reports.names(), 1):
        tell(f"{name}, report {n} of {len(names)}")
        out = folder / name if folder else None
        try:
            made.append(reports.render(name, {}, out, ticker(), pdf=pdf))
        except ArgoAlpineError as error:
            failed.append(str(error))
    place = (folder or reports.REPORTS).absolute()
    place.mkdir(parents=True, exist_ok=True)
    index = comparison.write_index(place)
    if json:
        pages = {report.manifest["template"]: str(report.page) for report in made}
        say({"index": str(index), "pages": pages, "failed": failed})
    else:
        print("\n".join(f"The report is at {near(report.page)}" for report in made))
        print(f"They are listed in {near(index)}")
    if failed:
        tell("\n".join(failed))
        raise typer.Exit(1)


@app.command()
def lab(
    port: Annotated[int, typer.Option(min=1, max=65535, help="On this machine only.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open one.")] = True,
    json: Json = False,
) -> None:
    """Open the notebooks in JupyterLab, reachable from this machine only.

    \b
    Examples:
      argo-alpine lab
      argo-alpine lab --port 9999 --no-browser
    """
    from importlib.util import find_spec
    from pathlib import Path

    import argo_alpine

    nbs = Path(argo_alpine.__file__).parents[1] / "nbs"
    if find_spec("jupyterlab") is None or not nbs.is_dir():
        tell(f"JupyterLab or {nbs} is not here: work in a checkout, after `make setup`")
        raise typer.Exit(1)
    command = [sys.executable, "-m", "jupyterlab", str(nbs), "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", *(() if browser else ("--no-browser",))]
    if os.geteuid() == 0:  # containers run as root; loopback and a token guard the server
        command.append("--allow-root")
    if json:
        say({"command": command, "ip": "127.0.0.1", "port": port})
    sys.stdout.flush()
    os.execv(sys.executable, command)


for command in (
    *(backtest.backtest, quality.signal_quality, search.sweep, search.walk_forward),
    *(run.sandbox, run.argo, live.health, live.account, live.positions, live.signals),
    *(live.sources, record.replay, record.export, record.logs),
    *(up.up, alpine.alpine, alpine.user, dashboard.dashboard),
    compare.compare,
):
    app.command()(command)


DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EINVAL)  # told without a name


def main(words: Sequence[str] | None = None) -> None:
    """Run a command; what this package raises on purpose becomes one sentence and exit code 1.

    So does what the system refuses: a folder for a file, a full disk, one that is read only.
    """
    try:
        with interrupts.remembered():
            app(args=words, prog_name="argo-alpine")
    except SystemExit as end:
        if not end.code:
            leave_if_interrupted()
        raise
    except KeyboardInterrupt:  # before click looks out for it, or after
        leave()
    except Exception as error:
        leave_if_interrupted()  # this is what became of it
        if not (why := reason(error)):
            raise
        tell(f"argo-alpine: {why}")
        sys.exit(1)


def leave_if_interrupted() -> None:
    """End as one does after a Ctrl+C, if there was one that nobody heeded."""
    if interrupts.CAME.is_set():
        leave()


def leave() -> None:
    """End as one does after a Ctrl+C."""
    tell("argo-alpine: interrupted")
    sys.exit(interrupts.INTERRUPTED)


def is_nowhere() -> bool:
    """Whether the folder in which we stand was taken away."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def reason(error: Exception) -> str:
    """What to tell a person of an error; empty for one that nobody raised on purpose."""
    if isinstance(error, OSError):
        if error.errno == errno.ENOENT and not error.filename and is_nowhere():
            return "the current folder is gone: go to one that is there, and ask again"
        if not error.strerror or not (error.filename or error.errno in DISK):
            return ""
        return error.strerror + (f": {error.filename}" if error.filename else "")
    domain = sys.modules.get("argo_alpine.domain")  # not loaded, not raised
    is_ours = domain is not None and isinstance(error, domain.ArgoAlpineError)
    return str(error) if is_ours else ""


if __name__ == "__main__":
    main()
