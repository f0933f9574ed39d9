"""``python -m benchmarks [NAME…]``: one JSON object a line for each figure, as soon as it is known."""

from __future__ import annotations

import importlib
import json
import sys

from benchmarks import NAMES


def main(asked: list[str]) -> int:
    unknown = [name for name in asked if name not in NAMES]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 1
    for name in asked or NAMES:
        for figure in importlib.import_module(f"benchmarks.{name}").run():
            print(json.dumps({"bench": name, **figure._asdict()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
