"""Looking after a store: artifacts are read again in turn, a small one is made again, garbage is told."""
