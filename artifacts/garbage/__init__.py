"""Garbage collection: what one listing shows, what reaches what, tombstones with an undo window, and deletion.

Knows nothing of recipes: who calls it says which artifacts are roots.
"""
