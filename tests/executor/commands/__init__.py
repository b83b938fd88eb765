"""Tests of the package ``executor.commands``."""
