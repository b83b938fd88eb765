"""How fast our bus and Toil's files are, beside ``toil.bus``: ``python -m benchmarks.news``."""
