"""``RemoteBatchSystem``: jobs are requests to workers, wherever these are.

Each job is one request for the built-in task that runs a command, started at most once: whether a
job whose worker was lost is issued again is its leader's decision. Placing by what a job needs, its
limits, its end as a whole tree, and what becomes of it when worker, broker or leader die is what
holds for any request. What is added here is a leader's view: ids, updates handed out once, files.

Callers may be any threads; ends come on the executor's own (``taskline-deliverer``), and so does
what jobs say when they start. One condition guards what is known of jobs; nobody is called while it
is held.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import math
import os
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from bus.news import Bus
from executor.batch.job import Job, JobUpdate
from executor.batch.outcome import update_of
from executor.batch.outputs import Outputs
from executor.batch.register import Register
from executor.batch.system import BatchSystem
from executor.client import Executor
from executor.future import Future
from executor.nodes import NodeInfo
from executor.private import Staff
from protocol.commands import MAX_READ, MODULE, READ, RUN, STARTED, Command, end_from_json
from protocol.errors import (
    ConfigurationError,
    ExecutorClosed,
    InsufficientSystemResources,
    ResultLost,
    TasklineError,
    UnknownRequest,
)
from protocol.jobs import JobKilled, JobPlaced, JobStarted
from protocol.resources import Requirements, Resources
from protocol.task import MAX_LIMIT
from protocol.topology import DEFAULT_EXCHANGE, DEFAULT_TOPIC
from protocol.values import Json

logger = logging.getLogger("taskline.executor.batch.remote")

KILL_TIMEOUT: Final = 75.0  # seconds until workers that do not answer are not waited for any more
READ_TIMEOUT: Final = 10.0  # seconds for a worker to read a file
CLEANUP_TIMEOUT: Final = 60.0  # seconds for the clean-up of all machines together
#: Jobs whose updates were handed out, and of which is remembered where they wrote.
MAX_REMEMBERED: Final = 10_000
HOW_TO_START: Final = f"python -m worker {MODULE}"
_FOR_EVER: Final = MAX_LIMIT  # seconds: longer than anybody waits for a machine
#: Seconds between looks at what is not settled: the first, the longest.
_LOOKS: Final = (0.005, 0.25)


class _Issued:
    """One job that is issued."""

    __slots__ = ("future", "job_id", "name", "needs", "started")

    def __init__(self, job_id: int, name: str, needs: Requirements) -> None:
        self.job_id = job_id
        self.name = name
        self.needs = needs
        self.future: Future[Any] | None = None
        #: When it said that it runs, on the monotonic clock.
        self.started: float | None = None

    @property
    def has_ended(self) -> bool:
        """Whether its request has."""
        return self.future is not None and self.future.done()

    @property
    def is_running(self) -> bool:
        """Whether its worker has said that it runs, and no more."""
        return self.future is not None and self.future.running()


class RemoteBatchSystem(BatchSystem):
    """Runs jobs on workers that offer ``worker.command``.

    ``url``, ``exchange``, ``topics``, ``signing_keys``: where these are, as for an ``Executor``.
    ``workflow``: the name of what the jobs are of, in the names of their files. ``logs``: the
    folder for these, on the workers' machines; a shared one is best; False: nobody keeps them.
    ``maximum``: no job may need more; with it a job waits until a machine is there that can hold
    it, without it one that no machine can hold ends as an ERROR that says what is short.
    ``cleanup``: a job that ``shutdown`` runs once on each machine where jobs ran. ``contexts``:
    context managers in which each command runs, ``MODULE:NAME``, as the workers can import them.
    ``journal``: a file with which a leader that was killed and is started again has its jobs as
    before; ``name`` goes with it, and is how the executor is called.

    Raises as ``Executor`` does.
    """

    name = "taskline"

    def __init__(
        self,
        url: str | None = None,
        *,
        workflow: str = "workflow",
        logs: str | os.PathLike[str] | bool | None = None,
        maximum: Resources | None = None,
        cleanup: Job | None = None,
        contexts: Sequence[str] = (),
        exchange: str = DEFAULT_EXCHANGE,
        topics: Sequence[str] = (DEFAULT_TOPIC,),
        name: str | None = None,
        journal: str | os.PathLike[str] | None = None,
        transport_options: Mapping[str, Any] | None = None,
        signing_keys: str | os.PathLike[str] | None = None,
        require_signature: bool | None = None,
        staff: Staff | None = None,
    ) -> None:
        """``staff``: workers of its own, which live as long as it does."""
        #: Drawn for this life of the leader.
        self._life = secrets.token_hex(4)
        self._outputs = None
        if logs is not False:
            folder = None if logs is None or logs is True else logs
            self._outputs = Outputs(folder, workflow, self._life)
        self._maximum = maximum
        self._cleanup = cleanup
        self._contexts = tuple(contexts)
        self._environment: dict[str, str] = {}
        self._bus: Bus | None = None
        #: Guards all below; notified of each update.
        self._changed = threading.Condition()
        self._issued: dict[int, _Issued] = {}
        self._updates: deque[JobUpdate] = deque()
        #: Where jobs wrote, and the ends of that; the newest.
        self._wrote: OrderedDict[int, dict[str, tuple[str, str]]] = OrderedDict()
        #: The worker that a job ran on, of those that are remembered.
        self._ran_on: OrderedDict[int, str | None] = OrderedDict()
        self._machines: dict[str, str] = {}
        self._last_id = 0
        self._is_shut = False
        self._handed: JobUpdate | None = None
        self._names: dict[int, str] = {}
        self._register: Register | None = None
        if journal is not None:
            self._register = Register(f"{os.fspath(journal)}.jobs", name or "batch")
        try:
            self._executor = Executor(
                url,
                exchange=exchange,
                topics=topics,
                name=name or ("batch" if journal is not None else None),
                journal=journal,
                workers=0 if staff is None else staff,
                transport_options=transport_options,
                signing_keys=signing_keys,
                require_signature=require_signature,
                patience=math.inf,
            )
        except BaseException:
            if self._register is not None:
                self._register.close()
            raise
        if self._register is not None:
            self._take_up(self._register)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._executor!r}, {len(self._issued)} jobs>"

    # issuing ----------------------------------------------------------------------------------

    def issue(self, job: Job) -> int:
        """Take this one over; see the interface."""
        self.check(job.needs)
        with self._changed:
            if self._is_shut:
                raise ExecutorClosed(f"cannot issue {job.name} after shutdown(): make a new one")
            self._last_id += 1
            issued = _Issued(self._last_id, job.name, job.needs)
            self._issued[issued.job_id] = issued
            environment = {**self._environment, **job.environment}
        job_id = issued.job_id
        files = self._files(job_id, job)
        command = Command(job.command, environment, job.folder, **files, contexts=self._contexts)
        waits = None if self._maximum is None else _FOR_EVER
        future: Future[Any] | None = None
        try:
            future = self._executor.options(
                delivery="at_most_once",
                resources=job.needs,
                priority=job.priority,
                timeout=waits,
                # Of this life: what an earlier one submitted, and nobody knows, is another's.
                key=None if self._register is None else f"{self._life} job {job_id}",
                on_event=partial(self._said, job_id),
            ).submit(RUN, **command.to_json())
            if self._register is not None:
                self._register.placed(job_id, job.name, future.uuid)
        except BaseException:
            with self._changed:
                self._issued.pop(job_id, None)
            if future is not None:  # it could not be written that it is a job
                with contextlib.suppress(TasklineError):
                    future.cancel(force=True)
            raise
        self._track(issued, future, files)
        self._publish(JobPlaced(job_id, future.uuid, type(self).__name__))
        return job_id

    def check(self, needs: Requirements) -> None:
        """Raise ``InsufficientSystemResources`` for more than ``maximum``."""
        if self._maximum is not None:
            demand(self._maximum, needs, "maximum", "ask for less, or raise its maximum")

    def set_env(self, name: str, value: str | None = None) -> None:
        """Set a variable for all jobs issued from now on; see the interface."""
        found = os.environ.get(name) if value is None else value
        if found is None:
            raise ConfigurationError(
                f"set_env({name!r}): it is not set in this process either; give a value"
            )
        checked = Job("true", environment={name: found}).environment
        with self._changed:
            self._environment = {**self._environment, **checked}

    # what becomes of jobs -----------------------------------------------------------------------

    def issued(self) -> set[int]:
        """All whose update was not handed out; see the interface."""
        with self._changed:
            return set(self._issued)

    def running(self) -> dict[int, float]:
        """Those that run, with the seconds they have; see the interface."""
        now, wall = time.monotonic(), time.time()
        with self._changed:
            jobs = list(self._issued.values())
        found: dict[int, float] = {}
        for one in jobs:
            future = one.future
            if future is None or not one.is_running:
                continue
            if one.started is not None:
                found[one.job_id] = now - one.started
            else:
                began = [a.began for a in future.attempts if a.began is not None]
                found[one.job_id] = max(0.0, wall - began[-1]) if began else 0.0
        return found

    def next_update(self, timeout: float) -> JobUpdate | None:
        """The next that has ended; see the interface."""
        until = time.monotonic() + timeout
        with self._changed:
            taken, self._handed = self._handed, None
        self._note_taken(taken)
        with self._changed:
            while not self._updates:
                left = until - time.monotonic()
                if left <= 0 or self._is_shut:
                    return None
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            update = self._handed = self._updates.popleft()
            issued = self._issued.pop(update.job_id)
            self._names[update.job_id] = issued.name
        return update

    def kill(self, job_ids: Iterable[int]) -> None:
        """End these; see the interface."""
        with self._changed:
            found = [self._issued.pop(n) for n in dict.fromkeys(job_ids) if n in self._issued]
            gone = {one.job_id for one in found}
            self._updates = deque(u for u in self._updates if u.job_id not in gone)
        if not found:
            return
        futures = [one.future for one in found if one.future is not None]
        for future in futures:
            with contextlib.suppress(TasklineError):  # told below if it does not come to an end
                future.cancel(force=True)
        self._wait_until_settled([future.uuid for future in futures])
        for one in found:
            self._publish(JobKilled(one.job_id))
        if self._register is not None:
            # A leader that is killed before this is told that they were ended.
            self._register.killed([one.job_id for one in found])

    def scheduling_status(self) -> str | None:
        """What keeps jobs from running; see the interface."""
        with self._changed:
            jobs = [one for one in self._issued.values() if one.future is not None]
        waiting = [one for one in jobs if not (one.is_running or one.has_ended)]
        if not waiting:
            return None
        first = waiting[0]
        many = "1 job waits: it" if len(waiting) == 1 else f"{len(waiting)} jobs wait, the first"
        text = f"{many} is {first.job_id} ({first.name}), which needs {first.needs.amount}: "
        nodes = {
            name: node
            for name, node in self._executor.nodes().items()
            if not node.is_ignored and (first.needs.preemptible or not node.preemptible)
        }
        if not nodes:
            return f"{text}no machine is there for it; start one with: {HOW_TO_START}"
        free = {name: node.total.minus(node.requested) for name, node in nodes.items()}
        short = {name: free[name].shortage(first.needs.amount) for name in nodes}
        if any(each is None for each in short.values()):
            return f"{text}there is room for it, and every place for a process is taken"
        name, least = max(
            ((n, each) for n, each in short.items() if each is not None),
            key=lambda pair: pair[1].available / pair[1].requested,
        )
        could = nodes[name].total.holds(first.needs.amount)
        return (
            f"{text}on {name} {least.requested_words} are wanted and {least.available_words} is "
            f"free{'' if could else ', and it will never have as much'}"
        )

    def output(self, job_id: int, stream: str = "stdout") -> str:
        """What it has written; see the interface.

        Read from its file if that is here, else where it ran, as long as that worker is there.
        """
        with self._changed:
            wrote = self._wrote.get(job_id)
            worker = self._ran_on.get(job_id)
            issued = self._issued.get(job_id)
        if wrote is None:
            raise UnknownRequest(f"no job {job_id} is known here whose output could be read")
        if stream not in wrote:
            raise ConfigurationError(f"stream={stream!r}: choose from {sorted(wrote) or 'none'}")
        path, tail = wrote[stream]
        try:
            with Path(path).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - MAX_READ))
                return file.read().decode("utf-8", "replace")
        except OSError:  # on another machine, or removed
            pass
        if issued is not None and issued.future is not None:
            worker = issued.future.worker
        if tail or worker is None:
            return tail
        there = self._executor.options(worker=worker, timeout=READ_TIMEOUT)
        try:
            text, _, size = there.submit(READ, path).result(READ_TIMEOUT)
            if size > MAX_READ:
                text, _, _ = there.submit(READ, path, size - MAX_READ).result(READ_TIMEOUT)
        except (TasklineError, OSError, TimeoutError) as error:
            logger.debug("%s of job %d cannot be read on %s: %s", stream, job_id, worker, error)
            return ""
        return str(text)

    def external_id(self, job_id: int) -> str | None:
        """The uuid of the request that an issued job is; None for others."""
        with self._changed:
            issued = self._issued.get(job_id)
        return None if issued is None or issued.future is None else issued.future.uuid

    def connect(self, bus: Bus) -> None:
        """Say on this bus what becomes of jobs; see the interface."""
        self._bus = bus

    # machines ---------------------------------------------------------------------------------

    def nodes(self, preemptible: bool | None = None) -> dict[str, NodeInfo]:
        """The machines by name; see the interface."""
        found = self._executor.nodes()
        if preemptible is None:
            return found
        return {name: node for name, node in found.items() if node.preemptible == preemptible}

    def node_in_use(self, name: str) -> bool:
        """Whether something runs or waits there."""
        return self._executor.node_in_use(name)

    def ignore_node(self, name: str) -> None:
        """Send no more jobs there."""
        self._executor.ignore_node(name)

    def unignore_node(self, name: str) -> None:
        """Send jobs there again."""
        self._executor.unignore_node(name)

    def wait_for_workers(self, count: int = 1, timeout: float = 60.0) -> None:
        """Until so many worker processes are there. Raises ``WaitTimeout``."""
        self._executor.wait_for_workers(count, timeout)

    # ending -----------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """End all that runs, clean up where jobs ran; see the interface."""
        with self._changed:
            if self._is_shut:
                return
            self._is_shut = True
            left = list(self._issued)
            taken, self._handed = self._handed, None
            self._changed.notify_all()
        self._note_taken(taken)
        try:
            self.kill(left)
            self._clean_up()
        finally:
            self._executor.shutdown(cancel_futures=True)
            if self._register is not None:
                self._register.close()

    def leave(self) -> None:
        """End as a leader does that goes on later with its journal: what runs is left to run.

        Raises ``ConfigurationError`` without one, and goes on.
        """
        if self._register is None:
            raise ConfigurationError("without a journal nobody could go on: shutdown() instead")
        with self._changed:
            self._is_shut = True
            taken, self._handed = self._handed, None
            self._changed.notify_all()
        self._note_taken(taken)
        self._executor.leave()
        self._register.close()

    # ---------------------------------------------------------------------------------------------

    def _files(self, job_id: int, job: Job) -> dict[str, str]:
        files = {}
        for stream, path in (("stdout", job.stdout), ("stderr", job.stderr)):
            if path is not None:
                files[stream] = path
            elif self._outputs is not None:
                files[stream] = self._outputs.path(job_id, stream)
        return files

    def _track(self, issued: _Issued, future: Future[Any], files: Mapping[str, str]) -> None:
        with self._changed:
            issued.future = future
            self._wrote[issued.job_id] = {stream: (path, "") for stream, path in files.items()}
            self._ran_on[issued.job_id] = None
            while len(self._wrote) > MAX_REMEMBERED + len(self._issued):
                oldest, _ = self._wrote.popitem(last=False)
                self._ran_on.pop(oldest, None)
            is_killed = issued.job_id not in self._issued  # by a shutdown on another thread
        if is_killed:
            future.cancel(force=True)
        future.add_done_callback(partial(self._ended, issued.job_id))

    def _said(self, job_id: int, event_type: str, details: dict[str, Json]) -> None:
        """It says that it runs. The deliverer's thread."""
        if event_type != STARTED:
            return
        with self._changed:
            issued = self._issued.get(job_id)
            if issued is None or issued.started is not None:
                return
            issued.started = time.monotonic()
        self._publish(JobStarted(job_id))

    def _ended(self, job_id: int, future: concurrent.futures.Future[Any]) -> None:
        """Its request has come to its end. The deliverer's thread, or a killer's."""
        assert isinstance(future, Future)
        try:
            result: Json | BaseException = future.result()
        except BaseException as error:
            result = error
        ran = [(a.began, a.ended) for a in future.attempts if a.began is not None]
        seconds = None
        if ran and ran[-1][0] is not None:
            seconds = max((ran[-1][1] or time.time()) - ran[-1][0], 1e-6)
        update = update_of(job_id, future.uuid, result, seconds)
        worker = future.worker
        end = None if isinstance(result, BaseException) else end_from_json(result)
        with self._changed:
            wrote = self._wrote.get(job_id)
            if wrote and end is not None:
                tails = {"stdout": end.stdout_tail, "stderr": end.stderr_tail}
                self._wrote[job_id] = {s: (path, tails[s]) for s, (path, _) in wrote.items()}
            self._ran_on[job_id] = worker
            if job_id in self._issued:  # else it was killed
                self._updates.append(update)
                self._changed.notify_all()
            if worker is not None and ran:
                self._machines.setdefault(worker, worker)

    def _note_taken(self, taken: JobUpdate | None) -> None:
        if taken is not None:
            name = self._names.pop(taken.job_id, "")
            if self._register is not None:
                self._register.taken(taken.job_id, name, taken.exit_status)

    def _take_up(self, register: Register) -> None:
        """What an earlier life of this leader had issued, and not taken."""
        self._last_id = register.last_id
        known = {kept.uuid for kept in register.kept.values()}
        for kept in register.kept.values():
            issued = self._issued[kept.job_id] = _Issued(kept.job_id, kept.name, Requirements())
            try:
                future = self._executor.get(kept.uuid)
            except UnknownRequest:
                logger.warning("job %d is not in the journal any more: it is lost", kept.job_id)
                lost = ResultLost(f"request {kept.uuid} is not in the journal any more")
                self._updates.append(update_of(kept.job_id, kept.uuid, lost, None))
                continue
            self._track(issued, future, {})
        ended = []
        for future in self._executor.open_requests():
            if future.task == RUN and future.uuid not in known:
                logger.info("request %s is a job that nobody knows: it is ended", future.uuid)
                with contextlib.suppress(TasklineError):
                    future.cancel(force=True)
                ended.append(future.uuid)
        self._wait_until_settled(ended)  # it is issued again, and must not run twice at once

    def _wait_until_settled(self, uuids: Sequence[str]) -> None:
        """Until no worker runs any of these, or may still start one."""
        until = time.monotonic() + KILL_TIMEOUT
        left, pause = list(uuids), _LOOKS[0]
        while left := self._executor.unsettled(left):
            if time.monotonic() >= until:
                logger.warning("%d killed jobs may still run: their workers are silent", len(left))
                return
            time.sleep(pause)
            pause = min(2 * pause, _LOOKS[1])

    def _clean_up(self) -> None:
        """Run the clean-up once on each machine where jobs ran, as far as its workers are there."""
        if self._cleanup is None:
            return
        job = self._cleanup
        environment = {**self._environment, **job.environment}
        command = Command(job.command, environment, job.folder).to_json()
        with self._changed:
            ran = set(self._machines)
        chosen: dict[str, str] = {}
        for worker in self._executor.workers():
            if worker.name in ran:
                chosen.setdefault(worker.node or worker.name, worker.name)
        futures = {
            name: self._executor.options(
                worker=worker, timeout=CLEANUP_TIMEOUT, time_limit=CLEANUP_TIMEOUT
            ).submit(RUN, **command)
            for name, worker in chosen.items()
        }
        until = time.monotonic() + CLEANUP_TIMEOUT
        for name, future in futures.items():
            try:
                end = end_from_json(future.result(max(0.0, until - time.monotonic())))
            except (TasklineError, OSError, TimeoutError) as error:
                logger.warning("the clean-up of %s did not come to its end: %s", name, error)
                continue
            if end is None or end.exit_status:
                logger.warning("the clean-up of %s failed: %s", name, end)

    def _publish(self, event: object) -> None:
        bus = self._bus
        if bus is not None:
            bus.publish(event)


def demand(there: Resources, needs: Requirements, source: str, hint: str) -> None:
    """Raise ``InsufficientSystemResources`` unless this is enough of everything.

    ``source``: whose that is. ``hint``: what to do where it is not.
    """
    short = there.shortage(needs.amount)
    if short is not None:
        raise InsufficientSystemResources(
            f"a job needs {short.requested_words}, and there is {short.available_words} at most "
            f"({source}): {hint}",
            resource=short.resource,
            requested=short.requested,
            available=short.available,
            source=source,
            hint=hint,
        )
