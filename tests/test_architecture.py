"""Who may know whom, and where the clock and the dice are kept."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "nbs").glob("[0-9]*.ipynb"))
NUMBER = {re.sub(r"^\d+_", "", p.stem): int(p.stem.split("_")[0]) for p in NOTEBOOKS}
FILE = dict(zip(NUMBER, NOTEBOOKS, strict=True))

SOURCES = [
    path.relative_to(ROOT)
    for folder in ("argo_alpine", "services", "dashboards")
    for path in sorted((ROOT / folder).rglob("*.py"))
]

VENDORS = {"alpaca", "alpha_vantage", "massive", "perplexity", "polygon", "tweepy", "yfinance"}
VENDOR_ROOMS = (Path("services/argo/sources"), Path("services/argo/brokers"))

CLOCK_ROOM = Path("services/common/clock.py")
MOODS = {
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "numpy.random.seed",
    "pandas.Timestamp.now",
    "pandas.Timestamp.today",
    "pandas.Timestamp.utcnow",
    "time.gmtime",
    "time.localtime",
    "time.time",
    "time.time_ns",
    "uuid.uuid1",
    "uuid.uuid4",
}


def code(notebook: Path) -> str:
    """The code of a notebook as one program, without the lines only IPython reads."""
    cells = json.loads(notebook.read_text())["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    return re.sub(r"^[%!].*$", "", text, flags=re.MULTILINE)


def imports(source: str) -> set[str]:
    """Every dotted name a program imports; a relative import is one from argo_alpine."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        if isinstance(node, ast.ImportFrom):
            home = ".".join(filter(None, ("argo_alpine" if node.level else "", node.module)))
            names |= {f"{home}.{a.name}" for a in node.names}
    return names


def neighbours(source: str) -> set[str]:
    """The modules of argo_alpine a program imports."""
    pairs = (name.split(".") for name in imports(source))
    return {p[1] for p in pairs if p[0] == "argo_alpine" and len(p) > 1} & NUMBER.keys()


def vendors(source: str) -> set[str]:
    """The vendors whose words a program speaks."""
    return {name.split(".")[0] for name in imports(source)} & VENDORS


def references(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    """Every name in a program, spelt from the module it was imported from."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for a in node.names:
                known[a.asname or a.name.split(".")[0]] = (
                    a.name if a.asname else a.name.split(".")[0]
                )
        if isinstance(node, ast.ImportFrom) and not node.level:
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}

    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            first, _, rest = ast.unparse(node).partition(".")
            if first in known:
                yield node, f"{known[first]}.{rest}".rstrip(".")


def moods(source: str) -> set[str]:
    """What a program takes from the clock or from chance instead of being told."""
    tree = ast.parse(source)
    unseeded = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call) and not n.args}
    return {
        name
        for node, name in references(tree)
        if name in MOODS
        or name.split(".")[0] == "random"
        or (name == "numpy.random.default_rng" and id(node) in unseeded)
    }


@pytest.mark.parametrize("module", NUMBER)
def test_a_notebook_imports_only_smaller_numbers(module):
    larger = {n for n in neighbours(code(FILE[module])) if NUMBER[n] >= NUMBER[module]}
    assert not larger


@pytest.mark.parametrize(
    "source",
    [
        "from argo_alpine.domain import Bar",
        "from argo_alpine import domain",
        "import argo_alpine.domain as words",
        "from .domain import Bar",
        "def later():\n    from . import domain",
    ],
)
def test_an_import_is_seen_however_it_is_written(source):
    assert neighbours(source) == {"domain"}


def made(tree: ast.Module) -> set[str]:
    """The names that a module makes, and those it hands on by name, in `_all_`."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            own = {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
            names |= set(ast.literal_eval(node.value)) if node.value and own == {"_all_"} else own
    return names


MADE = {name: made(ast.parse((ROOT / "argo_alpine" / f"{name}.py").read_text())) for name in NUMBER}
READERS = [
    path.relative_to(ROOT)
    for folder in ("nbs", "services", "dashboards", "bench", "tests")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".ipynb") and ".ipynb_checkpoints" not in path.parts
]


def strays(source: str) -> set[str]:
    """The names a program imports from a module of argo_alpine that only imports them itself."""
    parts = (name.split(".") for name in imports(source))
    taken = {(p[1], p[2]) for p in parts if p[0] == "argo_alpine" and len(p) == 3}
    return {f"{m}.{name}" for m, name in taken if m in MADE and name not in MADE[m] | {"*"}}


@pytest.mark.parametrize("path", READERS, ids=str)
def test_a_name_is_imported_from_where_it_is_made(path):
    is_notebook = path.suffix == ".ipynb"
    assert not strays(code(ROOT / path) if is_notebook else (ROOT / path).read_text())


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from argo_alpine.domain import Bar, compiled", "domain.compiled"),
        ("def later():\n    from argo_alpine.risk import Mode", "risk.Mode"),
        ("from .domain import Vote, np", "domain.np"),
    ],
)
def test_a_name_at_second_hand_is_seen(source, name):
    assert strays(source) == {name}


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_vendor_is_known_only_where_its_words_are_translated(path):
    if not any(path.is_relative_to(room) for room in VENDOR_ROOMS):
        assert not vendors((ROOT / path).read_text())


@pytest.mark.parametrize(
    "source", ["import alpaca", "from alpaca.trading.client import TradingClient as Client"]
)
def test_a_vendor_is_seen_however_it_is_imported(source):
    assert vendors(source) == {"alpaca"}


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_nobody_asks_the_clock_or_throws_dice_but_the_clock_module(path):
    if path != CLOCK_ROOM:
        assert not moods((ROOT / path).read_text())


@pytest.mark.parametrize(
    ("source", "mood"),
    [
        ("from datetime import datetime\nat = datetime.now()", "datetime.datetime.now"),
        ("import datetime as dt\nat = dt.datetime.now(dt.UTC)", "datetime.datetime.now"),
        (
            "from datetime import datetime as d\nfield(default_factory=d.now)",
            "datetime.datetime.now",
        ),
        ("import time\nt = time.time()", "time.time"),
        ("from time import time as now\nt = now()", "time.time"),
        ("from uuid import uuid4\nkey = str(uuid4())", "uuid.uuid4"),
        ("import random\nrandom.shuffle([])", "random.shuffle"),
        ("from random import choice\nchoice([1])", "random.choice"),
        ("import numpy as np\nrng = np.random.default_rng()", "numpy.random.default_rng"),
        ("import pandas as pd\nat = pd.Timestamp.now()", "pandas.Timestamp.now"),
    ],
)
def test_a_look_at_the_clock_is_seen_however_it_is_spelt(source, mood):
    assert mood in moods(source)


def test_being_told_the_time_and_a_seed_is_fine():
    told = (
        "import numpy as np\nfrom datetime import datetime\n"
        "def draw(at: datetime, rng: np.random.Generator): return rng.normal()\n"
        "rng = np.random.default_rng(7)\n"
    )
    assert not moods(told)


LIGHT = {
    "a policy": "import argo_alpine.engine",
    "a service": "import services.argo.tape, services.alpine.app",
    "a sweep": """
import numpy as np
from argo_alpine.bars import Bars
from argo_alpine.backtest import backtest
import argo_alpine.optimize
from argo_alpine.walk_forward import outcomes
from argo_alpine.stretches import Candidate, course_of
from argo_alpine.engine import Policy

at = np.arange(300) * 60_000_000 + 1_700_000_000_000_000
ones = np.full((300, 1), 50.0)
bars = Bars(("A",), at, ones, ones + 1, ones - 1, ones, ones, "raw")
pages = [found.summary for found in outcomes(course_of(bars), [Candidate(Policy())] * 3, workers=2)]
assert all(page.n == 299 for page in pages), pages
""",
}


def loads_pandas(code: str) -> bool:
    """Whether a process that ran some code has pandas."""
    told = f"{code}\nimport sys\nprint('pandas' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout == "True\n"


@pytest.mark.parametrize("code", LIGHT.values(), ids=LIGHT)
def test_pandas_is_for_those_who_ask_for_a_table(code):
    """It takes 0.4 s and 90 MB, also of every worker of a cluster and of Alpine."""
    loads_pandas("from argo_alpine.sessions import hours; hours()")  # asked of it once a version
    assert not loads_pandas(code)


def test_who_asks_for_a_table_loads_pandas():
    asked = "from argo_alpine.results import frame\nassert frame({'a': [1]}).a[0] == 1"
    assert loads_pandas(asked)
