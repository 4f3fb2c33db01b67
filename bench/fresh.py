"""One engine does one work in a process of its own: `python -m bench.fresh single100k ours`."""

import json
import resource
import sys
from pathlib import Path


def peak_mb() -> float:
    """The most memory this process ever held.

    Linux keeps `ru_maxrss` across exec, so a child reports its parent's peak; VmHWM starts anew.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    """Print one line of JSON: the outcome and the peaks, or why there is none.

    A work is done twice, tiny first: what the peak grows by is the work's own, without imports
    and compilation. A cold start is done once.
    """
    work, engine, *quick = sys.argv[1:]
    from bench.works import COLD, QUICK, WORKS, Sizes

    asked, tiny = WORKS.get(work, COLD), None
    try:
        if asked is not COLD:
            asked.engines[engine](*asked.alone(QUICK))()
            tiny = peak_mb()
        trips, value = asked.engines[engine](*asked.alone(QUICK if quick else Sizes()))()
        told = {"trips": trips, "value": value, "peak_mb": peak_mb(), "tiny_mb": tiny}
    except ImportError as error:
        told = {"absent": f"not here: {error}"}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
