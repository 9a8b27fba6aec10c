"""The real command line, without the micro families: to it, what they made is of recipes that nobody knows."""

from __future__ import annotations

from flows.command_line import main

if __name__ == "__main__":
    main()
