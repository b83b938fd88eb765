"""Modules of tasks that the tests offer: real modules, because a worker imports what it runs."""
