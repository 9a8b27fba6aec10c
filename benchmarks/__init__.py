"""Programs that measure, each started as `python -m benchmarks.NAME`; nothing here is part of the tests."""
