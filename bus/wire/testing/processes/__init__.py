"""Processes under a test's hands: killed at random, frozen and thawed, and never left behind.

The rooms: ``tree`` (who is whose child), ``guard`` (what ends them when the test itself is killed),
``killer`` (``WorkerKiller``), ``freezer`` (``Freezer``). POSIX only.
"""
