"""What executors and workers agree on: states, messages, schemas, names, failures, errors.

Everything in this package decides and does nothing: no I/O (but reading its own schema files at
import), no thread, no clock, no logger. Time is a float handed in, in seconds.

The rooms: ``errors`` (the tree), ``timing`` (every period, with its source), ``states`` (the frozen
automaton), ``values`` (what may travel), ``failure`` (a remote exception as data), ``schemas`` (the
JSON Schemas), ``messages`` (the kinds), ``envelope`` (what travels beside a body), ``parcel`` (both
together, on their way), ``tickets`` (dense numbers of dispatches), ``topology`` (names of exchanges
and queues), ``task`` (what ``@task`` records), ``resources`` (what work needs and machines have),
``commands`` (what a worker runs as a process of its own), ``events`` (what happened), ``history``
(what that comes to).
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
