"""The published proof: each fault of a list, on each broker, with seeds, and what came of it.

``python -m tests.faults`` plays them and writes ``docs/reliability.md``; ``--help`` says what else.
Every play is a process of its own (``play``), so that one that hangs, or leaves something behind,
is a result and not the end of the proof. Only what a user has is used: ``python -m worker``,
``executor.Executor`` and ``bus.wire.testing``.

The rooms: ``scenarios`` (one module for each fault), ``scenario`` (what a scenario is, and what it
plays with), ``stage`` (brokers, workers and executors for one play), ``batch`` (requests, and what
became of them), ``marks`` (executions, counted from outside), ``failover`` (what
the journal says of killed workers), ``errands`` (the tasks), ``submitter`` (an executor as a
process of its own, to be killed), ``result`` and ``report`` (what is written).
"""
