"""The golden programs import each other by name, as they do when run from the command line."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
