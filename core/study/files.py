"""The files that a study leaves."""

from __future__ import annotations

REPORT = "report.html"  # everything on one page that needs nothing else
DOCUMENT = "study.json"  # every number
PAGE = "study.md"  # the tables as text
FIGURES = "figures"  # a folder of SVG files
