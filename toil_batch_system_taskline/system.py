"""``TasklineBatchSystem``: Toil's interface, on a batch system of ours.

With ``--tasklineUrl`` jobs run on workers that were started with ``python -m worker
worker.command`` on that broker, wherever these are; without it, on this machine, with a worker of
its own and no server. Jobs that Toil keeps on the leader's machine (``local``) go to its own queue,
as with every other batch system. Toil's names are Toil's; what they mean is documented in
``toil.batchSystems.abstractBatchSystem``.

The leader's thread only, as Toil calls it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
import time
from argparse import ArgumentParser, _ArgumentGroup
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import toil
from toil.batchSystems.abstractBatchSystem import (
    AbstractScalableBatchSystem,
    BatchJobExitReason,
    InsufficientSystemResources,
    NodeInfo,
    UpdatedBatchJobInfo,
)
from toil.batchSystems.local_support import BatchSystemLocalSupport
from toil.batchSystems.options import OptionSetter
from toil.bus import ExternalBatchIdMessage
from toil.common import Config, Toil
from toil.job import JobDescription, Requirer
from toil.lib.conversions import strtobool
from toil.lib.threading import cpu_count

from executor.batch import ExitReason, Job, JobUpdate, LocalBatchSystem, RemoteBatchSystem
from protocol import errors
from protocol.resources import MAX_BYTES, MAX_CORES, Requirements, Resources
from protocol.topology import DEFAULT_EXCHANGE, DEFAULT_TOPIC
from toil_batch_system_taskline import cleanup
from toil_batch_system_taskline.earlier import EarlierLife

logger = logging.getLogger("taskline.toil")

#: Seconds between looks at Toil's own queue while jobs are in it: it cannot be waited for together
#: with ours. And for which is waited while no job is issued: a leader asks once more after the last
#: has ended, and would wait two seconds for nothing.
_LOOK = 0.05

#: What every job imports: its worker, and what that imports while it runs; cwltool even if nothing
#: of the job is written in CWL. And what ours runs at the end.
_EVERY_JOB = (
    "toil.worker",
    "toil.jobStores.fileJobStore",
    "toil.fileStores.cachingFileStore",
    "toil.fileStores.nonCachingFileStore",
    "coloredlogs",
    "cwltool.main",
    cleanup.__name__,
)
#: What jobs of a workflow in one of these languages import, and its leader has.
_LANGUAGES = ("toil.cwl.cwltoil", "toil.wdl.wdltoil")

_MEMBERS = set(BatchJobExitReason.__members__)


class TasklineBatchSystem(BatchSystemLocalSupport, AbstractScalableBatchSystem):
    """See the module."""

    @classmethod
    def supportsAutoDeployment(cls) -> bool:
        """No: the workflow's code is where the workers are, or on a file system they share."""
        return False

    @classmethod
    def supportsWorkerCleanup(cls) -> bool:
        """Yes: once on each machine, after the last job."""
        return True

    def __init__(self, config: Config, maxCores: float, maxMemory: float, maxDisk: int) -> None:
        super().__init__(config, maxCores, maxMemory, maxDisk)
        # Toil silences all packages that are none of its own; what we warn of is for its user.
        logging.getLogger("taskline").setLevel(logging.NOTSET)
        url = getattr(config, "taskline_url", None)
        #: Of this life of the leader, in the names of files.
        self._token = secrets.token_hex(4)
        self._limits_memory = bool(getattr(config, "taskline_enforce_memory", False))
        #: Toil's ids by ours, and the other way round.
        self._toils: dict[int, int] = {}
        self._ours: dict[int, int] = {}
        python = sys.executable if url is None else "python3"
        last = Job([python, *cleanup.words(self.workerCleanupInfo)], name="cleanup")
        self._jobs: RemoteBatchSystem
        self._earlier: EarlierLife | None = None
        if url is None:
            self._jobs = LocalBatchSystem(
                maximum=_of_this_machine(config, maxCores, maxMemory, maxDisk),
                slots=_slots(config),
                logs=False,
                cleanup=last,
                preload=_preloaded(),
            )
        else:
            topic = getattr(config, "taskline_topic", None)
            exchange = getattr(config, "taskline_exchange", None)
            self._earlier = EarlierLife(config)
            self._jobs = RemoteBatchSystem(
                url,
                logs=False,
                cleanup=last,
                signing_keys=getattr(config, "taskline_signing_keys", None),
                topics=[topic or DEFAULT_TOPIC],
                exchange=exchange or DEFAULT_EXCHANGE,
                name="toil",
                journal=self._earlier.journal,
            )
            self._earlier.end(self._jobs)

    # issuing ----------------------------------------------------------------------------------

    def issueBatchJob(
        self,
        command: str,
        job_desc: JobDescription,
        job_environment: dict[str, str] | None = None,
    ) -> int:
        """Toil's."""
        local = self.handleLocalJob(command, job_desc)
        if local is not None:
            return int(local)
        self.check_resource_request(job_desc)
        job_id = int(self.getNextJobID())
        job = Job(
            command,
            name=str(job_desc),
            needs=self._needs(job_desc),
            environment={**self.environment, **(job_environment or {})},
            stdout=self.format_std_out_err_path(job_id, self._token, "out"),
            stderr=self.format_std_out_err_path(job_id, self._token, "err"),
        )
        ours = self._jobs.issue(job)
        self._toils[ours], self._ours[job_id] = job_id, ours
        external = self._jobs.external_id(ours)
        if self._outbox is not None and external is not None:
            name = type(self).__name__
            self._outbox.publish(ExternalBatchIdMessage(job_id, external, name))
        return job_id

    def check_resource_request(self, requirer: Requirer) -> None:
        """Toil's: also of what a machine has here that is less than ``--max…``."""
        super().check_resource_request(requirer)
        try:
            self._jobs.check(Requirements(**_amounts(requirer)))
        except errors.InsufficientSystemResources as short:
            error = InsufficientSystemResources(requirer, short.resource, short.available)
            error.batch_system = type(self).__name__
            raise error from short

    def _needs(self, wanted: Requirer) -> Requirements:
        walltime = getattr(wanted, "walltime", 0) or None
        return Requirements(
            **_amounts(wanted),
            accelerators=[(each["kind"], each["count"]) for each in wanted.accelerators],
            preemptible=bool(wanted.preemptible),
            wall_time=walltime,
            limits_memory=self._limits_memory,
        )

    def _check_accelerator_request(self, requirer: Requirer) -> None:
        """Toil's: only kinds that a worker has said it has, and nothing more exact than a kind."""
        there: dict[str, int] = {}
        for node in self._jobs.nodes().values():
            for kind, count in node.total.accelerators:
                there[kind] = max(count, there.get(kind, 0))
        for wanted in requirer.accelerators:
            exact = sorted({"brand", "model", "api"} & set(wanted))
            if exact or wanted["count"] > there.get(wanted["kind"], 0):
                shown = ", ".join(f"{kind}={count}" for kind, count in there.items()) or "none"
                details = [f"The workers have: {shown} (python -m worker --accelerators KIND=N)."]
                if exact:
                    details.append(f"They tell kinds and numbers, and no {', '.join(exact)}.")
                raise InsufficientSystemResources(
                    requirer,
                    "accelerators",
                    [{"kind": k, "count": n} for k, n in there.items()],
                    details=details,
                )

    # what becomes of jobs ---------------------------------------------------------------------

    def killBatchJobs(self, jobIDs: list[int]) -> None:
        """Toil's."""
        mine = [self._ours[job_id] for job_id in dict.fromkeys(jobIDs) if job_id in self._ours]
        self.killLocalJobs([job_id for job_id in jobIDs if job_id not in self._ours])
        self._jobs.kill(mine)
        for ours in mine:
            self._forget(ours)

    def getIssuedBatchJobIDs(self) -> list[int]:
        """Toil's."""
        mine = [self._toils[ours] for ours in self._jobs.issued() if ours in self._toils]
        return [*self.getIssuedLocalJobIDs(), *mine]

    def getRunningBatchJobIDs(self) -> dict[int, float]:
        """Toil's."""
        mine = {
            self._toils[ours]: seconds
            for ours, seconds in self._jobs.running().items()
            if ours in self._toils
        }
        return {**self.getRunningLocalJobIDs(), **mine}

    def getUpdatedBatchJob(self, maxWait: int) -> UpdatedBatchJobInfo | None:
        """Toil's."""
        nothing_runs = not (self._jobs.issued() or self._has_local)
        until = time.monotonic() + (min(maxWait, _LOOK) if nothing_runs else maxWait)
        while True:
            local = self.getUpdatedLocalJob(0)
            if local is not None:
                return local
            left = max(0.0, until - time.monotonic())
            update = self._jobs.next_update(min(left, _LOOK) if self._has_local else left)
            if update is not None:
                return self._told(update)
            if time.monotonic() >= until:
                return None

    @property
    def _has_local(self) -> bool:
        return bool(self.getIssuedLocalJobIDs())

    def _told(self, update: JobUpdate) -> UpdatedBatchJobInfo:
        job_id = self._forget(update.job_id)
        if update.reason == ExitReason.FINISHED:
            self._remove_files(job_id)
        if update.message:
            logger.warning("job %s: %s", job_id, update.message)
        name = update.reason.name if update.reason is not None else ""
        fields: dict[str, Any] = {
            "jobID": job_id,
            "exitStatus": update.exit_status,
            "exitReason": BatchJobExitReason[name] if name in _MEMBERS else None,
            "wallTime": update.wall_time,
            "backing_id": update.external_id,
        }
        known = UpdatedBatchJobInfo.__annotations__
        return UpdatedBatchJobInfo(**{name: fields[name] for name in fields if name in known})

    def _remove_files(self, job_id: int) -> None:
        """Of a job that went well: Toil has its log, and nobody asks for these."""
        for stream in ("out", "err"):
            path = Path(self.format_std_out_err_path(job_id, self._token, stream))
            with contextlib.suppress(OSError):
                if path.is_file():  # and no device, as with --noStdOutErr
                    path.unlink()

    def _forget(self, ours: int) -> int:
        job_id = self._toils.pop(ours)
        self._ours.pop(job_id, None)
        return job_id

    def getSchedulingStatusMessage(self) -> str | None:
        """Toil's."""
        return self._jobs.scheduling_status()

    def shutdown(self) -> None:
        """Toil's."""
        self._jobs.shutdown()
        if self._earlier is not None:
            self._earlier.forget()
        self.shutdownLocal()

    # machines ---------------------------------------------------------------------------------

    def getNodes(self, preemptible: bool | None = None, timeout: int = 600) -> dict[str, NodeInfo]:
        """Toil's."""
        return {
            name: NodeInfo(
                coresUsed=node.cores_used or 0.0,
                memoryUsed=node.memory_used or 0.0,
                coresTotal=node.total.cores,
                memoryTotal=node.total.memory,
                requestedCores=node.requested.cores,
                requestedMemory=node.requested.memory,
                workers=node.workers,
            )
            for name, node in self._jobs.nodes(preemptible).items()
        }

    def nodeInUse(self, nodeIP: str) -> bool:
        """Toil's."""
        return self._jobs.node_in_use(nodeIP)

    def ignoreNode(self, nodeAddress: str) -> None:
        """Toil's."""
        self._jobs.ignore_node(nodeAddress)

    def unignoreNode(self, nodeAddress: str) -> None:
        """Toil's."""
        self._jobs.unignore_node(nodeAddress)

    # options ----------------------------------------------------------------------------------

    @classmethod
    def add_options(cls, parser: ArgumentParser | _ArgumentGroup) -> None:
        """Toil's."""
        for name, settings in _OPTIONS.items():
            parser.add_argument(f"--{name}", **settings)

    @classmethod
    def setOptions(cls, setOption: OptionSetter) -> None:
        """Toil's."""
        for settings in _OPTIONS.values():
            setOption(settings["dest"])


_OPTIONS: dict[str, dict[str, Any]] = {
    "tasklineUrl": {
        "dest": "taskline_url",
        "default": None,
        "env_var": "TOIL_TASKLINE_URL",
        "help": "The broker of the workers that run jobs (redis://…, amqp://…, local:///path), "
        "started with: python -m worker worker.command. Default: jobs run on this machine.",
    },
    "tasklineExchange": {
        "dest": "taskline_exchange",
        "default": None,
        "env_var": "TOIL_TASKLINE_EXCHANGE",
        "help": "The exchange of these workers.",
    },
    "tasklineTopic": {
        "dest": "taskline_topic",
        "default": None,
        "env_var": "TOIL_TASKLINE_TOPIC",
        "help": "The topic of these workers.",
    },
    "tasklineSigningKeys": {
        "dest": "taskline_signing_keys",
        "default": None,
        "env_var": "TOIL_TASKLINE_SIGNING_KEYS",
        "help": "The file of keys with which leader and workers sign what they say.",
    },
    "tasklineEnforceMemory": {
        "dest": "taskline_enforce_memory",
        "type": strtobool,
        "default": False,
        "env_var": "TOIL_TASKLINE_ENFORCE_MEMORY",
        "help": "If True, a job whose processes take more memory than it has asked for is ended, "
        "and told as such (see --doubleMem). Default = False: Toil's own worker takes some, too.",
    },
}


def _preloaded() -> list[str]:
    """What Toil's jobs import, as far as it is here; of its languages those this leader uses."""
    found = [name for name in _EVERY_JOB if find_spec(name.partition(".")[0]) is not None]
    return found + [name for name in _LANGUAGES if name in sys.modules]


def _slots(config: Config) -> int | None:
    """How many jobs run at once on this machine: Toil asks for tenths of cores."""
    most = getattr(config, "max_jobs", None)
    usual = 4 * (os.cpu_count() or 1)
    return usual if not most else max(1, min(int(most), usual))


def _amounts(wanted: Requirer) -> dict[str, Any]:
    """What it takes of what every machine has; what is more than can be said is as much as can."""
    return {
        "cores": min(wanted.cores, MAX_CORES),
        "memory": min(wanted.memory, MAX_BYTES),
        "disk": min(wanted.disk, MAX_BYTES),
    }


def _of_this_machine(config: Config, cores: float, memory: float, disk: float) -> Resources:
    """What there is, and no more than the user allows; all as Toil's own single_machine has it."""
    folder = Toil.getLocalWorkflowDir(config.workflowID, config.workDir)
    return Resources(
        cores=min(cores, cpu_count()),
        memory=int(min(memory, toil.physicalMemory(), MAX_BYTES)),
        disk=int(min(disk, toil.physicalDisk(folder), MAX_BYTES)),
    )
