"""Submit tasks to workers: ``from executor import Executor``.

The rooms: ``client`` (``Executor``), ``naming`` (what a call becomes before it travels),
``future``, ``engine`` (the threads, put together), ``keeper`` (the thread that owns the ledger);
``ledger``, ``lanes``, ``timers``, ``request``, ``directory``, ``effects`` (pure: what is decided);
``deliverer`` (the thread that runs user code), ``private`` (workers of its own), ``cli`` and
``commands``, ``demo``.
"""

from executor.client import Executor
from executor.engine import WorkerInfo
from executor.future import Future

__all__ = ["Executor", "Future", "WorkerInfo"]
