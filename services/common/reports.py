"""Run a report template and leave a page, its numbers and where they came from."""

import ast
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

import argo_alpine
from argo_alpine import domain
from argo_alpine.domain import ArgoAlpineError, Invalid, InvalidPolicy, Unavailable, UnavailableData
from argo_alpine.fields import Grid, Knob, as_typed, asked_for, with_fields
from argo_alpine.samples import checksums, data_folder, place_of, symbols_in
from argo_alpine.sessions import date_of, day_number
from argo_alpine.stretches import Candidate, farthest
from services.common import folders, printer
from services.common.comparison import write_index
from services.common.page import Json, page, text_of

Setting: TypeAlias = str | float | int | bool
Tick: TypeAlias = Callable[[int, int, str], None]  # cell, of cells, under which heading

ROOT = Path(argo_alpine.__file__).parents[1]
TEMPLATES = ROOT / "nbs" / "reports"
REPORTS = ROOT / "data" / "reports"
FILES = ("report.ipynb", "report.html", "metrics.json", "manifest.json")
PDF = "report.pdf"
TYPES: dict[str, type[Setting]] = {"str": str, "float": float, "int": int, "bool": bool}
PLAIN = re.compile(r"[A-Za-z0-9][\w. -]*")
UNSAID = ("symbols", "first", "last")  # all there is in a folder of one's own
AXES = (("field_across", "values_across"), ("field_up", "values_up"))  # of a grid
LIBRARIES = ("argo-alpine", "exchange-calendars", "numba", "numpy", "pandas", "papermill", "plotly")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A knob of a template."""

    name: str
    type: str  # str, float, int or bool
    default: Setting

    def __str__(self) -> str:
        return f"{self.name}: {self.type} = {self.default!r}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a rendering left behind."""

    folder: Path
    metrics: Mapping[str, Any]
    manifest: Mapping[str, Any]

    @property
    def page(self) -> Path:
        """The page to open."""
        return self.folder / "report.html"


def names(templates: Path = TEMPLATES) -> list[str]:
    """The reports there are."""
    return sorted(path.stem for path in templates.glob("*.ipynb"))


def template(name: str, templates: Path = TEMPLATES) -> Path:
    """Where a template is. *Raises* `UnavailableData` for one that is not there."""
    if name not in (there := names(templates)):
        raise UnavailableData(f"no report {name!r}: there are {', '.join(there) or 'none at all'}")
    return templates / f"{name}.ipynb"


def tagged(cells: Sequence[Json], tag: str) -> Json | None:
    """The first cell with a tag."""
    return next((c for c in cells if tag in c["metadata"].get("tags", [])), None)


def one_parameter(path: Path, node: ast.stmt) -> Parameter:
    """A line such as `cash: float = 100_000.0`. *Raises* `Invalid` for any other."""
    if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value):
        raise Invalid(
            f"{path.name}: a parameter is `name: type = value`, was {ast.unparse(node)!r}"
        )
    kind = ast.unparse(node.annotation)
    if kind not in TYPES:
        raise Invalid(f"{path.name}: {node.target.id} must be one of {[*TYPES]}, was {kind}")
    default = Parameter(node.target.id, kind, ast.literal_eval(node.value))
    return Parameter(default.name, kind, fitting(default, default.default))


def declared(path: Path) -> dict[str, Parameter]:
    """The parameters of a template. *Raises* `Invalid` for a cell that is missing or odd."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for tag in ("parameters", "metrics"):
        if tagged(cells, tag) is None:
            raise Invalid(f"{path.name} has no cell tagged {tag}: give it one")
    source = text_of((tagged(cells, "parameters") or {})["source"])
    found = [one_parameter(path, node) for node in ast.parse(source).body]
    return {parameter.name: parameter for parameter in found}


def fitting(parameter: Parameter, value: object) -> Setting:
    """A value of a parameter's type. *Raises* `InvalidPolicy` for another."""
    if parameter.type == "float" and type(value) is int:
        value = float(value)
    # a bool is an int to isinstance, and True shares are not one share
    wrong = type(value) is not TYPES[parameter.type]
    if wrong or (isinstance(value, float) and not math.isfinite(value)):
        raise InvalidPolicy(f"{parameter.name} must be a {parameter.type}, was {value!r}")
    return value  # type: ignore[return-value]  # its type was compared above


def parsed(parameter: Parameter, text: str) -> Setting:
    """A value typed by a person. *Raises* `InvalidPolicy` for one of another type."""
    words = {"true": True, "yes": True, "false": False, "no": False}
    try:
        if parameter.type == "bool":
            return words[text.lower()]
        return fitting(parameter, TYPES[parameter.type](text))
    except (KeyError, ValueError):
        raise InvalidPolicy(f"{parameter.name} must be a {parameter.type}, was {text!r}") from None


def fitted(
    name: str, known: Mapping[str, Parameter], given: Mapping[str, object]
) -> dict[str, Setting]:
    """The values to run with. *Raises* `InvalidPolicy` for an unknown name or a wrong type."""
    # papermill writes names into the notebook as they are, and so executes them
    if unknown := [key for key in given if key not in known]:
        raise InvalidPolicy(
            f"report {name} has no parameter {', '.join(map(repr, unknown))}: "
            f"there are {', '.join(map(str, known.values()))}"
        )
    return {key: fitting(known[key], value) for key, value in given.items()}


def ends_in(known: Mapping[str, Parameter], given: Mapping[str, Setting]) -> dict[str, Knob]:
    """The largest values of a grid, where a template walks over one. *Raises* `InvalidPolicy`."""
    values = {name: str(given.get(name, known[name].default)) for name in known}
    axes = {
        values[field]: tuple(map(as_typed, values[of].split(",")))
        for field, of in AXES
        if field in values
    }
    return Grid(axes).ends if axes else {}


def meant(known: Mapping[str, Parameter], given: Mapping[str, Setting]) -> dict[str, Setting]:
    """The values to run with: defaults are of the samples, and of no other folder."""
    data = str(given.get("data", ""))
    unsaid = [name for name in UNSAID if name in known and name not in given]
    is_own = folders.is_own(data)
    said = dict(given) if is_own else {n: p.default for n, p in known.items()} | dict(given)
    named = said.get("first"), said.get("last") or said.get("day")
    first, last = (date_of(day_number(str(day))) if day else None for day in named)
    folders.check_turn(first, last)
    if not unsaid or not is_own:
        return dict(given)
    symbols = symbols_in(str(given["symbols"])) if "symbols" in given else None
    base = with_fields(Candidate(), asked_for(str(given.get("knobs", ""))))
    longest = farthest(base, ends_in(known, given)).policy.indicators
    found = folders.asked(data, symbols, first, last, longest)
    everything = (",".join(found.bars.symbols), str(found.first), str(found.last))
    return dict(given) | {k: v for k, v in zip(UNSAID, everything, strict=True) if k in unsaid}


def ledger_of(name: str, out: Path) -> Path:
    """Where a ledger is. *Raises* `InvalidPolicy` for what a report would take away with it."""
    place, attempted = place_of(name), failed(out)
    real = place.resolve()
    is_taken = real.is_relative_to(out.resolve()) or real == attempted.resolve()
    if is_taken or (place.exists() and not place.is_file()):
        raise InvalidPolicy(
            "the ledger must be a file, and outside of the report and of "
            f"{attempted.name}, was {name}"
        )
    return place


def beside(
    given: Mapping[str, Setting], work: Path, out: Path
) -> tuple[dict[str, Setting], list[Path]]:
    """The values, folder of bars and ledger by name alone, and where these are for a while.

    A report is shared: it must not tell where on this machine its data were. And its ledger
    stays where it is, whatever becomes of `work`.
    """
    places: dict[str, Path] = {}
    if given.get("data"):
        places["data"] = data_folder(str(given["data"]))
    if given.get("ledger"):
        places["ledger"] = ledger_of(str(given["ledger"]), out)
        places["ledger"].parent.mkdir(parents=True, exist_ok=True)
    links: list[Path] = []
    for place in places.values():
        check_name(place.name, [*FILES, *(link.name for link in links)])
        links.append(work / place.name)
        links[-1].symlink_to(place)
    return dict(given) | {name: place.name for name, place in places.items()}, links


def check_name(name: str, taken: Sequence[str]) -> None:
    """*Raises* `InvalidPolicy` for a file or folder that a report cannot show by its name."""
    if not PLAIN.fullmatch(name) or name in taken:
        raise InvalidPolicy(
            "a report shows the names of its folder and its ledger, so they must be of letters, "
            "digits, blanks and _ . - only, begin with a letter or digit, and be unlike each other "
            f"and its own files, was {name!r}: rename it"
        )


def headings(cells: Sequence[Json]) -> list[str]:
    """For each cell, the heading it stands under."""
    found, under = [], ""
    for cell in cells:
        lines = text_of(cell["source"]).splitlines() if cell["cell_type"] == "markdown" else []
        under = next((line.lstrip("# ") for line in lines if line.startswith("#")), under)
        found.append(under)
    return found


def execute(path: Path, parameters: Mapping[str, Setting], folder: Path, tick: Tick) -> Json:
    """Run a template in a kernel of this environment, inside `folder`."""
    import papermill
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    # The one kernel that is surely this environment's: the user's own list may name another.
    # A figure is kept as data; the page brings the library that draws it.
    spec = KernelSpec(
        argv=[
            sys.executable,
            "-P",  # beside it lies a folder of bars, which must not be taken for code
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
            "--log-level=50",
            "--InteractiveShellApp.ignore_cwd=True",
        ],
        env={"PLOTLY_RENDERER": "plotly_mimetype"},
        metadata={"supported_encryption": "curve"},
        language="python",
    )

    class ThisPython(AsyncKernelManager):
        kernel_spec = spec
        transport_encryption = "required"  # others on this machine share its loopback

    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    added = int(bool(parameters))  # papermill adds a cell after the tagged one
    under = headings(cells)

    def started(cell: Json, cell_index: int) -> None:
        if "injected-parameters" not in cell["metadata"].get("tags", []):
            place = cell_index - added if cell_index > under_parameters else cell_index
            tick(place + 1, len(cells), under[place])

    under_parameters = cells.index(tagged(cells, "parameters"))
    return papermill.execute_notebook(
        path,
        folder / FILES[0],
        parameters=dict(parameters),
        kernel_name="python3",
        language="python",
        progress_bar=False,
        cwd=folder,
        kernel_manager_class=ThisPython,
        on_cell_execute=started,
    )


def forget_the_place(path: Path) -> None:
    """Take out of a notebook where and when it was run: whoever gets it needs neither."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for place in (notebook, *notebook["cells"]):
        place["metadata"].pop("papermill", None)
        place["metadata"].pop("execution", None)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def failed(out: Path) -> Path:
    """Where the notebook of a failed run is kept."""
    return out.with_name(f"{out.name}.failed.ipynb")


def failure(name: str, kind: str, text: str, kept: Path) -> ArgoAlpineError:
    """What a failing cell said, as an error with the same remedy where there is one."""
    known = getattr(domain, kind, None)
    same = isinstance(known, type) and issubclass(known, ArgoAlpineError)
    remedy: type[ArgoAlpineError] = known if same and known else Invalid
    said = " ".join(text.split()) if same else f"{kind}: {' '.join(text.split())}"
    return remedy(f"report {name} stopped: {said} (the notebook so far: {kept})")


def attempt(
    name: str, path: Path, parameters: Mapping[str, Setting], work: Path, out: Path, tick: Tick
) -> Json:
    """Run a template; if it fails, keep the notebook beside `out` and raise a domain error."""
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    try:
        return execute(path, parameters, work, tick)
    except (PapermillExecutionError, DeadKernelError) as error:
        kept = failed(out)
        if (work / FILES[0]).exists():
            (work / FILES[0]).replace(kept)
        if isinstance(error, DeadKernelError):
            raise Unavailable(
                f"report {name} stopped: its kernel died, perhaps of too little "
                f"memory (the notebook so far: {kept})"
            ) from error
        raise failure(name, error.ename, error.evalue, kept) from error


def metrics_of(name: str, notebook: Json) -> dict[str, Any]:
    """What the cell tagged `metrics` shows. *Raises* `Invalid` for nothing, NaN or infinity."""
    cell = tagged(notebook["cells"], "metrics") or {}
    for output in cell.get("outputs", []):
        found = output.get("data", {}).get("application/json")
        if isinstance(found, Mapping):
            # the kernel sends what JSON lacks as text
            if odd := [key for key, value in found.items() if value in ("nan", "inf", "-inf")]:
                raise Invalid(
                    f"report {name}: metric {odd[0]} is {found[odd[0]]}, show null instead"
                )
            return dict(found)
    raise Invalid(f"report {name}: the cell tagged metrics shows no application/json object")


def text(name: str, value: Mapping[str, Any]) -> str:
    """JSON that is the same bytes for the same content. *Raises* `Invalid` for NaN."""
    try:
        return json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n"
    except ValueError:
        raise Invalid(f"report {name}: metrics hold NaN or infinity, which JSON lacks") from None


def git(*words: str) -> str | None:
    """What git says of this folder; None when it says nothing."""
    # inside a hook these name another repository
    names = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
    env = {key: value for key, value in os.environ.items() if key not in names}
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, env=env, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def code() -> dict[str, str | bool | None]:
    """The commit this folder is at, and whether anything differs from it."""
    top = git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != ROOT.resolve():
        return {"commit": None, "dirty": None}
    return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}


def installed(library: str) -> str | None:
    """The version of a library; None when it is not here."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def data_of(
    metrics: Mapping[str, Any], parameters: Mapping[str, Setting], folder: str = ""
) -> dict[str, str]:
    """Digests of the data a report read: as it says itself, else of its symbols."""
    if isinstance(said := metrics.get("checksums"), Mapping):
        return {str(k): str(v) for k, v in said.items()}
    symbols = symbols_in(str(parameters.get("symbols", "")))
    return checksums(symbols, folder) if symbols else {}


def check_unchanged(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """*Raises* `Unavailable` when the files of a report were written to while it ran."""
    if moved := sorted(k for k in {**before, **after} if before.get(k) != after.get(k)):
        raise Unavailable(f"report {name}: {', '.join(moved)} changed while it ran: run it again")


def manifest_of(
    name: str,
    path: Path,
    parameters: Mapping[str, Setting],
    metrics: Mapping[str, Any],
    folder: str = "",  # of bars; empty: the samples
) -> dict[str, Any]:
    """All that a report follows from."""
    return {
        "template": name,
        "template_sha256": sha256(path.read_bytes()).hexdigest(),
        "parameters": dict(parameters),
        "data": data_of(metrics, parameters, folder),
        "code": code(),
        "python": sys.version.split()[0],
        "libraries": {library: installed(library) for library in LIBRARIES},
        "metrics_sha256": sha256(text(name, metrics).encode()).hexdigest(),
    }


def origin(manifest: Mapping[str, Any]) -> dict[str, object]:
    """A manifest in a few lines, for the foot of a page."""
    at = manifest["code"]
    commit = (
        f"{at['commit'][:12]}{', changed since' if at['dirty'] else ''}"
        if at["commit"]
        else "unknown"
    )
    libraries = ", ".join(f"{k} {v}" for k, v in manifest["libraries"].items() if v)
    return {
        "Template": manifest["template"],
        **{str(key): value for key, value in manifest["parameters"].items()},
        "Code": f"argo-alpine {argo_alpine.__version__}, commit {commit}",
        "Environment": f"Python {manifest['python']}, {libraries}",
        "Data": ", ".join(f"{k} {v[:12]}" for k, v in manifest["data"].items()) or "none",
        "Numbers": f"metrics.json {manifest['metrics_sha256'][:12]}",
    }


def check_place(out: Path) -> None:
    """Refuse to overwrite what is not a report. *Raises* `Invalid`."""
    if not out.exists():
        return
    there = {path.name for path in out.iterdir()} if out.is_dir() else {out.name}
    manifest = out / "manifest.json"
    ours = {*FILES, PDF, *(json.loads(manifest.read_text())["files"] if manifest.is_file() else ())}
    if strange := sorted(there - ours):
        raise Invalid(f"{out} holds {strange[0]!r}, which no report wrote: name another folder")


def put(made: Path, out: Path) -> None:
    """Put a finished folder where it belongs, in place of the one before."""
    before = made.with_name("before")
    if out.exists():
        out.rename(before)
    try:
        made.rename(out)
    except OSError:
        if before.exists():
            before.rename(out)
        raise


def render(
    name: str,  # of a template: backtest
    parameters: Mapping[str, object],  # those that differ from the template's own
    out: Path | None = None,  # None: data/reports/<name>; replaced as a whole when all went well
    tick: Tick = lambda cell, cells, heading: None,  # told when a cell begins
    templates: Path = TEMPLATES,
    pdf: bool = False,  # print the page as well; needs a browser
) -> Report:
    """Run a report. *Raises* `InvalidPolicy`, `Unavailable`, or what a cell raised."""
    program = printer.browser() if pdf else ""  # asked before the work, not after it
    path = template(name, templates)
    known = declared(path)
    asked = meant(known, fitted(name, known, parameters))
    out = Path(out or REPORTS / name).absolute()
    check_place(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        work = Path(scratch) / "report"
        work.mkdir()
        values, links = beside(asked, work, out)
        defaults = {key: parameter.default for key, parameter in known.items()}
        folder = str(asked.get("data", ""))
        before = data_of({}, defaults | values, folder) if folder else {}
        notebook = attempt(name, path, values, work, out, tick)
        for link in links:
            link.unlink()
        if folder:
            check_unchanged(name, before, data_of({}, defaults | values, folder))
        forget_the_place(work / FILES[0])
        metrics = metrics_of(name, notebook)
        manifest = manifest_of(name, path, defaults | values, metrics, folder)
        (work / "metrics.json").write_text(text(name, metrics))
        (work / "report.html").write_text(page(notebook, origin(manifest)), encoding="utf-8")
        if pdf:
            printer.printed(work / "report.html", work / PDF, program)
        manifest["files"] = sorted({*FILES, *(entry.name for entry in work.iterdir())})
        (work / "manifest.json").write_text(text(name, manifest))
        put(work, out)
    failed(out).unlink(missing_ok=True)
    if out.parent == REPORTS:
        write_index(REPORTS)
    return Report(out, metrics, manifest)
