"""Try many policies: on the past only, then on what came after."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.commands import interrupts
from services.commands.knobs import (
    STOCKS,
    Cash,
    Data,
    First,
    Last,
    Sets,
    Symbols,
    asked,
    base_of,
    pairs,
    said_if_slow,
    told_lacks,
)
from services.commands.screen import Json, near, rows_of, say, show, tell

if TYPE_CHECKING:
    from argo_alpine.fields import Grid, Knob
    from argo_alpine.metrics import Summary
    from argo_alpine.optimize import Range, Sweep
    from argo_alpine.trials import Ledger
    from argo_alpine.walk_forward import Tick, WalkForward
    from services.common.folders import Asked

LEDGER = Path("data/recorded/trials.jsonl")
GRID = ("consensus.threshold=69:81:3", "sizing.stop_pct=2:5:1")
CAVEAT = "Hypothetical results: nobody traded them."
COLUMNS = 2  # knobs with a column each: three do not fit into a terminal of 80 characters

Grids = Annotated[
    list[str] | None,
    typer.Option("--grid", metavar="FIELD=VALUES", help="a,b,c or low:high:step; repeatable."),
]
Aim = Annotated[str, typer.Option("--objective", help="What is to be large.")]
MinTrades = Annotated[int, typer.Option(min=0, help="Fewer cannot be judged.")]
Workers = Annotated[int, typer.Option(min=1, help="Threads on this machine.")]
Cluster = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="A dask scheduler, tcp://host:8786.")
]
Book = Annotated[Path, typer.Option("--ledger", help="Where trials are counted.")]


def values(text: str) -> "tuple[Knob, ...]":
    """The values in `a,b,c` or `low:high:step`."""
    from argo_alpine.fields import as_typed, stepped

    if text.count(":") == 2:
        return stepped(*text.split(":"))
    return tuple(as_typed(word.strip()) for word in text.split(","))


def grid_of(words: Sequence[str]) -> "Grid":
    """What `--grid` says."""
    from argo_alpine.fields import Grid

    return Grid({name: values(text) for name, text in pairs(words)})


def space_of(words: Sequence[str]) -> "dict[str, Range]":
    """What `--range` says: low:high or low:high:step."""
    from argo_alpine.optimize import Range

    space = {}
    for name, text in pairs(words):
        try:
            low, high, step = map(float, (text + ":nan" * (text.count(":") == 1)).split(":"))
        except ValueError:
            raise typer.BadParameter(
                f"{name}={text}: a range is low:high or low:high:step"
            ) from None
        space[name] = Range(low, high, step if step == step else None)
    return space


@contextmanager
def watched(label: str, ledger: Path) -> Iterator["Tick"]:
    """A bar on stderr; after Ctrl+C it is said how to go on."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(label, total=None)

        def tick(done: int, total: int) -> None:
            interrupts.check()
            bar.update(task, completed=done, total=total)

        try:
            yield tick
        except KeyboardInterrupt:
            bar.stop()
            tell(f"Interrupted. Trials so far are in {near(ledger)}; the same command goes on.")
            raise typer.Exit(interrupts.INTERRUPTED) from None


def opened(path: Path) -> "Ledger":
    """The ledger; what it dropped of a line cut short is told."""
    import warnings

    from argo_alpine.samples import place_of
    from argo_alpine.trials import Ledger

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        book = Ledger(place_of(path))
    for warning in said:
        tell(f"Warning: {warning.message}")
    return book


def cell(value: object) -> str:
    """A knob for people; a dash where none was chosen."""
    from argo_alpine.fields import worded

    return "-" if value is None or value != value else worded(value)


def short(name: str) -> str:
    """The last word of a field."""
    return name.rpartition(".")[2]


def headed(names: Sequence[str]) -> list[str]:
    """Heads of a column for each knob, or of one for all when there are many."""
    if len(names) > COLUMNS:
        return ["/\n".join(map(short, names))]
    return [short(name).replace("_", "\n") for name in names]


def point(names: Sequence[str], row: Mapping[Any, object]) -> list[str]:
    """What stands under them."""
    chosen = [cell(row[name]) for name in names]
    return ["/".join(chosen)] if len(names) > COLUMNS else chosen


def record(summary: "Summary | None", why: str) -> str:
    """A summary in a line."""
    from argo_alpine.metrics import told

    if summary is None:
        return why
    words = told(summary)
    return (
        f"return {words['total_return']}, Sharpe ratio {words['sharpe']}, "
        f"deepest drawdown {words['max_drawdown']}, {summary.trades} trades"
    )


def walk_forward(
    context: typer.Context,
    symbols: Symbols = STOCKS,
    data: Data = "",
    first: First = date(2005, 3, 1),
    last: Last = date(2013, 3, 1),
    train: Annotated[int, typer.Option(min=2, help="Bars to choose on.")] = 504,
    test: Annotated[int, typer.Option(min=2, help="Bars to judge on.")] = 252,
    anchored: Annotated[bool, typer.Option("--anchored", help="Train from the first bar.")] = False,
    purge: Annotated[int, typer.Option(min=0, help="Bars left out before a test.")] = 0,
    embargo: Annotated[int, typer.Option(min=0, help="Bars not trained on after one.")] = 0,
    grid: Grids = None,
    settings: Sets = None,
    objective: Aim = "sharpe",
    min_trades: MinTrades = 30,
    choose: Annotated[str, typer.Option(help="plateau or peak.")] = "plateau",
    cash: Cash = 100_000.0,
    workers: Workers = 2,
    cluster: Cluster = None,
    ledger: Book = LEDGER,
    json: Json = False,
) -> None:
    """Choose knobs on the past, judge them on what came after, again and again.

    Each window tries every point of the grid on its training bars and runs the choice on the
    bars that follow; these runs, end to end, are a record out of sample. Fields are those of
    the policy, such as sizing.stop_pct, and of the costs, such as costs.slippage_bps; a wrong
    name is answered with the right ones. Every trial is counted in the ledger, and a run that
    was interrupted goes on from there.

    \b
    Examples:
      argo-alpine walk-forward
      argo-alpine walk-forward --grid sizing.stop_pct=2,3,4 --train 756 --anchored
      argo-alpine walk-forward --grid consensus.threshold=70:80:2 --set costs.slippage_bps=10
      argo-alpine walk-forward --data prices --train 252 --test 63
      argo-alpine walk-forward --cluster tcp://10.0.0.5:8786 --json
    """
    said_if_slow("sheets.run_row")
    from argo_alpine import optimize
    from argo_alpine.folds import Windows
    from argo_alpine.optimize import running
    from argo_alpine.stretches import farthest
    from argo_alpine.walk_forward import Objective, peak
    from argo_alpine.walk_forward import walk_forward as run_walk

    choosers = {"plateau": optimize.plateau, "peak": peak}
    if choose not in choosers:
        raise typer.BadParameter(f"choose plateau or peak, was {choose!r}")
    cells, base, aim = (
        grid_of(grid or GRID),
        base_of(settings or ()),
        Objective(objective, min_trades),
    )
    windows = Windows(train, test, anchored=anchored, purge=purge, embargo=embargo)
    longest = farthest(base, cells.ends).policy.indicators
    prices = asked(context, data, symbols, first, last, longest)
    begin, book = prices.first, opened(ledger)
    with watched("Trials", ledger) as tick, running(workers, cluster, book) as run:
        found = run_walk(
            *(prices.bars, cells, windows, base, aim, choosers[choose], begin, cash),
            readings=prices.readings,
            run=run,
            tick=tick,
        )
    said = f"{found.trials} trials chose here; {len(book)} ever counted in {near(ledger)}."
    said_walk(found, prices, said, len(book)) if json else show_walk(found, prices, said)


def said_walk(found: "WalkForward", prices: "Asked", note: str, ever: int) -> None:
    """A walk for programs."""
    from argo_alpine.metrics import as_json
    from argo_alpine.walk_forward import fold_table, stability

    seen = found.outcome.summary
    about = {"symbols": [*found.symbols], "trials": found.trials, "ever": ever} | prices.origin
    tables = {
        "folds": rows_of(fold_table(found)),
        "stability": rows_of(stability(found).reset_index()),
    }
    summary = as_json(seen) if seen else None
    note += f" {found.stranded}." if found.stranded else ""
    say(about | {"summary": summary, **tables, "caveat": f"{CAVEAT} {note}"})


def show_walk(found: "WalkForward", prices: "Asked", note: str) -> None:
    """A walk for people."""
    from argo_alpine.shares import reading
    from argo_alpine.walk_forward import fold_table, stability

    names, rows = [*found.grid.axes], []
    for row in fold_table(found).to_dict("records"):
        kept = reading(row["outside"], row["outside_low"], row["outside_high"])
        rest = [reading(row["inside"]), kept, reading(row["return"], pct=True), str(row["trades"])]
        rows.append([f"{row['test_from']:%Y-%m}", *point(names, row), *rest])
    heads = ("from", *headed(names), "inside", "outside", "return", "trades")
    show(f"{', '.join(found.symbols)}: {found.objective.name}", heads, rows)
    taken = (
        [short(row["field"]), row["chosen"], reading(row["moved"])]
        for row in stability(found).reset_index().to_dict("records")
    )
    show("How often each value was chosen", ("field", "value (times)", "places moved"), taken)
    for step in found.steps:
        if step.why:
            print(f"{step.tested[0]:%Y-%m-%d}: {step.why}")
    print(f"Out of sample: {record(found.outcome.summary, found.outcome.why)}.")
    told_lacks(prices)
    if found.stranded:
        print(f"{found.stranded}.")
    print(f"Inside scores are the best of {len(found.grid)} and flatter. {note}\n{CAVEAT}")


def sweep(
    context: typer.Context,
    symbols: Symbols = STOCKS,
    data: Data = "",
    first: First = date(2005, 3, 1),
    last: Last = date(2013, 3, 1),
    grid: Grids = None,
    settings: Sets = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option("--range", metavar="FIELD=LOW:HIGH", help="Search here; repeatable."),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Points of a search.")] = 100,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of a search.")] = 1,
    objective: Aim = "sharpe",
    min_trades: MinTrades = 30,
    top: Annotated[int, typer.Option(min=1, help="Trials shown, the best first.")] = 10,
    cash: Cash = 100_000.0,
    workers: Workers = 2,
    cluster: Cluster = None,
    ledger: Book = LEDGER,
    json: Json = False,
) -> None:
    """Try every point of a grid, or search a range, and show the peak and the plateau.

    The peak is the best score, the plateau the best median of a neighbourhood. Both are in
    sample: what such a choice is worth later is a question for walk-forward. Every trial is
    counted in the ledger, once, and a sweep that was interrupted goes on from there.

    \b
    Examples:
      argo-alpine sweep
      argo-alpine sweep --grid sizing.stop_pct=1:6:0.5 --grid sizing.target_pct=4,6,8
      argo-alpine sweep --range consensus.threshold=65:85 --trials 200 --seed 7
      argo-alpine sweep --objective calmar --set costs.slippage_bps=10 --json
      argo-alpine sweep --data prices --symbols XYZ
    """
    if grid and ranges:
        raise typer.BadParameter("--grid and --range are two ways to search: give one of them")
    said_if_slow("sheets.run_row")
    from argo_alpine import optimize
    from argo_alpine.stretches import course_of, farthest
    from argo_alpine.walk_forward import Objective

    base, aim = base_of(settings or ()), Objective(objective, min_trades)
    space, cells = space_of(ranges or ()), grid_of(grid or GRID)
    ends = {name: r.high for name, r in space.items()} if space else cells.ends
    longest = farthest(base, ends).policy.indicators
    prices = asked(context, data, symbols, first, last, longest)
    course = course_of(prices.bars, prices.first, cash, prices.readings)
    book = opened(ledger)
    with watched("Trials", ledger) as tick:
        if space:
            found = optimize.search(
                course, space, trials, seed, 8, base, aim, workers, cluster, book, tick
            )
        else:
            found = optimize.sweep(course, cells, base, aim, workers, cluster, book, tick)
    said_sweep(found, prices) if json else show_sweep(found, prices, top, ledger)


def said_sweep(found: "Sweep", prices: "Asked") -> None:
    """A sweep for programs."""
    about = {"symbols": [*found.symbols], "objective": found.objective.name} | prices.origin
    counts = {"trials": found.trials, "ever": found.ever}
    best = {"peak": found.peak, "plateau": found.plateau}
    say(about | counts | best | {"table": rows_of(found.table), "caveat": found.caveat})


def scored(aim: str) -> list[str]:
    """The scores in a table that shows the Sharpe ratio anyway."""
    return ["plateau"] if aim == "sharpe" else ["plateau", "score"]


def unjudged(found: "Sweep") -> str:
    """Why there is no peak, or, where there is one, no plateau."""
    if found.peak is None:
        return f"nothing could be judged: {found.table['why'].iloc[0]}"
    return "none, since around no trial enough others could be judged"


def show_sweep(found: "Sweep", prices: "Asked", top: int, ledger: Path) -> None:
    """A sweep for people."""
    from argo_alpine.optimize import sharpe_in_words
    from argo_alpine.shares import reading

    order = found.table.sort_values(["plateau", "score"], ascending=False, kind="stable")
    aim, rows = found.objective.name, []
    for row in order.head(top).to_dict("records"):
        scores = [reading(row[name]) for name in scored(aim)]
        rest = [
            sharpe_in_words(found, row),
            reading(row["total_return"], pct=True),
            str(row["trades"]),
        ]
        rows.append([*point(found.names, row), *scores, *rest])
    heads = (*headed(found.names), *scored(aim), "Sharpe [95 %]", "return", "trades")
    show(f"{', '.join(found.symbols)}: best neighbourhoods by {aim}", heads, rows)
    for name, place in (("Peak", found.peak), ("Plateau", found.plateau)):
        said = unjudged(found)
        if place is not None:
            said = ", ".join(f"{n} {cell(found.table[n][place])}" for n in found.names)
        print(f"{name}: {said}")
    told_lacks(prices)
    print(f"{found.caveat} The ledger is {near(ledger)}.")
