"""Fleets that nobody has at home: 10,000 workers, 10,000,000 requests: ``python -m
benchmarks.simulation``.

The real ledger is too slow for that many, so a model stands for it, made of costs that are measured
when it runs: how long the rooms that decide take for a request, a turn, a beat, and for each worker
that is known (``calibration``); from then on only arithmetic (``costs``) and events (``model``).
``check`` runs real fleets of 1, 2, 4 and 8 workers and tells what was predicted beside what was
measured: that is how far the rest can be believed.

The rooms: ``costs``, ``calibration``, ``fleet`` (what is asked), ``model``, ``outcome`` (what came
of it), ``scenarios`` (which fleets), ``check``, ``files``.

The events are run by simpy: 4.1.2 of May 2026 does 800,000 of them a second here, a bare loop
around ``heapq`` 1,800,000. A process for each request would make 75,000; so a request is one event,
its end, and only executors and what befalls all workers are processes.
"""
