"""Tests of the package ``executor.demo``."""
