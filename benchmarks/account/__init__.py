"""``python -m benchmarks.account``: in which room the CPU of a task goes, by looking many times.

A sampling profiler (py-spy, from outside, some hundred looks a second at all processes of a play)
says which line each thread was at; the share of the looks that a room has is its share of the CPU
that was measured. The submitter, the worker and its hosts are told apart.
"""
