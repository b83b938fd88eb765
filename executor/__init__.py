"""Submit tasks to workers: ``from executor import Executor``.

The rooms, from the user's side down: ``client`` (``Executor``), ``options`` (what is said beside a
call), ``naming`` (what a call becomes before it travels), ``future``, ``trail`` (what became of
it), ``workers`` and ``nodes`` (who is there, and on what), ``recall`` and ``memory`` (a request
found again, by uuid and by key); ``engine`` (the threads, put together), ``door`` (what is let in),
``unique`` (keys claimed at the broker), ``places`` (its topics and queues), ``recovery`` (its
beginning, with a journal), ``leaving`` (its end, with the interpreter's, and forks), ``private``
(workers of its own); ``keeper`` (the thread that owns the ledger), ``turn`` (what it does at once),
``outcomes`` (an end, written and told), ``pen`` (how the journal is used), ``moments`` (two clocks,
told apart), ``deliverer`` (the thread that runs user code).

Pure, and the keeper's: ``ledger``, ``book``, ``rounds``, ``withdrawals``, ``answers``,
``attendance``, ``succession``, ``verdicts``, ``settling``, ``dispatching``, ``candidates``,
``directory``, ``peer``, ``digest``, ``request``, ``lanes``, ``later``, ``throttle``, ``timers``,
``receipts``, ``letters``, ``restoring``, ``words``, ``effects``.

The command line: ``cli``, ``commands`` and ``demo``.
"""

from executor.client import Executor
from executor.future import Future
from executor.nodes import NodeInfo
from executor.trail import AttemptInfo, Happened
from executor.workers import WorkerInfo
from protocol.resources import Requirements
from protocol.retry import Retry

__all__ = [
    "AttemptInfo",
    "Executor",
    "Future",
    "Happened",
    "NodeInfo",
    "Requirements",
    "Retry",
    "WorkerInfo",
]
