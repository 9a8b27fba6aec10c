"""Write the golden file: `python tests/golden/record.py [--file FILE] [KIND ...]` (default: all kinds).

Adds kinds that have no entry and records those whose version was raised. A changed output at an unchanged version is
refused: that is the rule. Whoever changes the golden inputs themselves deletes the entry by hand, for reviewers to see.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import golden_file

from core.stages.kind import StageKind


def main() -> int:
    """Measure, merge, write; 1 with the reasons when refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=golden_file.GOLDEN)
    parser.add_argument("kinds", nargs="*", type=StageKind, metavar="KIND", help=", ".join(StageKind))
    arguments = parser.parse_args()
    recorded = golden_file.read(arguments.file)
    try:
        entries = golden_file.merged(recorded, golden_file.measure(arguments.kinds or StageKind))
    except golden_file.RefusedError as error:
        print(f"nothing was recorded: {error}", file=sys.stderr)
        return 1
    golden_file.write(entries, arguments.file)
    changed = [kind for kind in entries if entries[kind] != recorded.get(kind)]
    print(f"{arguments.file.name}: {', '.join(changed) or 'nothing'} recorded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
