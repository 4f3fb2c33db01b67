"""What the commands that run a policy are asked with: symbols, days, and any knob by its name."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.commands import interrupts
from services.commands.screen import tell

if TYPE_CHECKING:
    from argo_alpine.fields import Knob
    from argo_alpine.indicators import IndicatorPolicy
    from argo_alpine.stretches import Candidate
    from services.common.folders import Asked

STOCKS = "AAPL,IBM,MSFT,GOOG"
CAVEAT = "Hypothetical results: nobody traded them, and the policy was chosen after the prices."
SLOW = "Compiling for about a minute, since this code has not run here before."


def said_if_slow(program: str) -> None:
    """Say that code is compiled first, where nothing is kept of the program a command lives in."""
    import argo_alpine
    from argo_alpine.arithmetic import compiled_folder

    kept = compiled_folder(Path(argo_alpine.__file__).parent)
    if not any(kept.glob(f"*/{program}-*.nbi")):
        tell(SLOW)


def listed(symbols: str) -> list[str]:
    """The symbols in `AAPL,MSFT`."""
    from argo_alpine.samples import symbols_in

    return symbols_in(symbols)


def day(text: str | date) -> date:
    """A day such as 2005-03-01."""
    try:
        return text if isinstance(text, date) else date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day: write it as 2005-03-01") from None


Symbols = Annotated[str, typer.Option(help="Which, with commas; see `bars`.")]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="FOLDER",
        show_default="the samples",
        help="Bars of your own, a SYMBOL.csv each: see `bars --help`. Symbols and days that are "
        "not named are then all there are, but for those that warm up the indicators.",
    ),
]
First = Annotated[
    date, typer.Option("--from", parser=day, metavar="DATE", help="First day decided.")
]
Last = Annotated[date, typer.Option("--to", parser=day, metavar="DATE", help="Last, included.")]
Cash = Annotated[float, typer.Option(help="At the beginning, account currency.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Any knob that is a number, a switch or a word; repeatable, goes last.",
    ),
]


def is_unsaid(context: typer.Context, name: str) -> bool:
    """Whether an option was left at its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT"


def asked(
    context: typer.Context,
    data: str,
    symbols: str,
    first: date,
    last: date,
    periods: "IndicatorPolicy",
    basis: str = "splits",
) -> "Asked":
    """The bars that are asked for: defaults are of the samples, and of no other folder."""
    from argo_alpine.readings import recorded_in_words
    from services.common import folders

    interrupts.check()
    if not data and not is_unsaid(context, "data"):
        raise typer.BadParameter("--data names a folder: leave it out for the samples")
    if not folders.is_own(data):
        return folders.asked(data, listed(symbols), first, last, periods, basis)
    names = None if is_unsaid(context, "symbols") else listed(symbols)
    begin, end = (
        None if is_unsaid(context, name) else day
        for name, day in (("first", first), ("last", last))
    )
    found = folders.asked(data, names, begin, end, periods, basis)
    heard = recorded_in_words(found.decided, found.readings, data)
    tell(f"Decided: {found}; bars before that warm up the indicators. {heard}")
    return found


def told_lacks(prices: "Asked") -> None:
    """Print which symbols lack bars, and how many bars are decided before any is warm."""
    from argo_alpine.gaps import gaps_in_words
    from argo_alpine.loading import cold_in_words

    cold = cold_in_words(prices.bars, prices.needed, prices.first)
    for words in filter(None, (gaps_in_words(prices.gaps), cold)):
        print(f"{words}.")


def pair(text: str) -> tuple[str, str]:
    """The field and the words in `field=words`; anything else is a usage error."""
    name, equals, words = text.partition("=")
    if not (name and equals and words):
        raise typer.BadParameter(f"{text!r} is not FIELD=VALUE, such as sizing.stop_pct=2")
    return name.strip(), words.strip()


def pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    """The same of several, each field once."""
    found = [pair(text) for text in words]
    names = [name for name, _ in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise typer.BadParameter(f"{twice[0]} is asked for twice: put all its values into one")
    return found


def base_of(words: Sequence[str], options: "Mapping[str, Knob] | None" = None) -> "Candidate":
    """The policy and the costs that options ask for, and `--set` after them."""
    from argo_alpine.fields import as_typed, with_fields
    from argo_alpine.stretches import Candidate

    asked = {name: as_typed(text) for name, text in map(pair, words)}
    return with_fields(Candidate(), {**(options or {}), **asked})
