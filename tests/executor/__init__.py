"""Tests of the package ``executor``."""
