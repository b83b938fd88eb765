"""Workflows as users write them, each with one thing in it that goes wrong.

``works.py STORE … NAME FOLDER``, with all of Toil's options. Jobs leave in ``FOLDER/effects`` what
they have done: ``begin JOB PROCESS`` and ``end JOB PROCESS``, a line each. A job that waits for a
file ``FOLDER/SIGNAL`` is let go by whoever makes it. Run by Toil, also in processes of its own.
"""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from toil.common import Toil
from toil.job import Job

SMALL = {"memory": "50M", "disk": "10M", "cores": 0.1}
#: Seconds after which a job that waits gives up.
PATIENCE = 100


@contextmanager
def told(folder, name):
    """Write down that this begins, and that it ends; a line is written as a whole."""

    def say(what):
        with Path(folder, "effects").open("a") as file:
            file.write(f"{what} {name} {os.getpid()}\n")

    say("begin")
    yield
    say("end")


def tries(folder, name):
    """How many times this has begun, this time included."""
    lines = Path(folder, "effects").read_text().splitlines()
    return sum(line.startswith(f"begin {name} ") for line in lines)


def wait_for(folder, signal):
    until = time.monotonic() + PATIENCE
    while not Path(folder, signal).exists():
        if time.monotonic() > until:
            raise TimeoutError(f"nobody has made {signal}")
        time.sleep(0.02)


# fan-out ------------------------------------------------------------------------------------------


def square(job, folder, number):
    with told(folder, f"square-{number}"):
        return number * number


def total(job, folder, numbers):
    with told(folder, "total"):
        return sum(numbers)


def twice(job, folder, number):
    with told(folder, "twice"):
        return 2 * number


def fan_out(job, folder):
    """Six squares, then their sum, then twice that: 110."""
    with told(folder, "fan_out"):
        found = [job.addChildJobFn(square, folder, number, **SMALL).rv() for number in range(6)]
        summed = job.addFollowOnJobFn(total, folder, found, **SMALL)
        return summed.addFollowOnJobFn(twice, folder, summed.rv(), **SMALL).rv()


# failures -----------------------------------------------------------------------------------------


def third_time(job, folder):
    with told(folder, "third_time"):
        if tries(folder, "third_time") < 3:
            raise RuntimeError("the first and the second try of this fail")
        return "lucky"


def held(job, folder, number):
    """The odd ones wait until they are let go."""
    with told(folder, f"held-{number}"):
        if number % 2:
            wait_for(folder, "go")
        return number


def held_up(job, folder):
    """Four, two of which wait for ``go``, and their sum: 6."""
    with told(folder, "held_up"):
        found = [job.addChildJobFn(held, folder, number, **SMALL).rv() for number in range(4)]
        return job.addFollowOnJobFn(total, folder, found, **SMALL).rv()


# jobs that do not behave --------------------------------------------------------------------------

#: Leaves its group, its session and its parents, holds no file of theirs, and says who it is.
HIDING = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
for number in range(3):
    os.dup2(os.open(os.devnull, os.O_RDWR), number)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def hide(job, folder):
    with told(folder, "hide"):
        subprocess.run([sys.executable, "-c", HIDING, f"{folder}/hidden"], check=True)
        wait_for(folder, "hidden")
        pid = int(Path(folder, "hidden").read_text())
        return pid, is_alive(pid)


def seek(job, folder, found):
    """Whether the hidden one was there, and is."""
    with told(folder, "seek"):
        pid, was_alive = found
        return was_alive, is_alive(pid)


def hiding(job, folder):
    child = job.addChildJobFn(hide, folder, **SMALL)
    return job.addFollowOnJobFn(seek, folder, child.rv(), **SMALL).rv()


def hog(job, folder):
    """Takes 400 MiB beside what Toil itself takes."""
    with told(folder, "hog"):
        taken = bytearray(b"x") * (400 << 20)
        time.sleep(2.0)  # seconds: memory is looked at five times in one
        return len(taken) >> 20


def greedy(job, folder):
    return job.addChildJobFn(hog, folder, cores=0.1, disk="10M", memory="380M").rv()


def slow(job, folder):
    """Takes longer than anybody waits, the first time."""
    with told(folder, "slow"):
        if tries(folder, "slow") == 1:
            wait_for(folder, "never")
        return "quick"


def late(job, folder):
    return job.addChildJobFn(slow, folder, walltime=5, **SMALL).rv()


def giant(job, folder):
    return job.addChildJobFn(square, folder, 3, cores=0.1, disk="10M", memory="900P").rv()


def crowd(job, folder):
    return job.addChildJobFn(square, folder, 3, cores=5000, disk="10M", memory="50M").rv()


def fill(job, folder):
    """Fill the disk it is given, the first time."""
    with told(folder, "fill"):
        if tries(folder, "fill") == 1:
            with Path(job.tempDir, "endless").open("wb") as file:
                while True:
                    file.write(bytes(1 << 20))
        return os.statvfs(job.tempDir).f_bavail > 0


def filling(job, folder):
    return job.addChildJobFn(fill, folder, **SMALL).rv()


ROOTS = {
    each.__name__: each
    for each in (fan_out, third_time, held_up, hiding, greedy, late, giant, crowd, filling)
}

if __name__ == "__main__":
    parser = Job.Runner.getDefaultArgumentParser()
    parser.add_argument("name", choices=ROOTS)
    parser.add_argument("folder")
    options = parser.parse_args()
    with Toil(options) as toil:
        if options.restart:
            result = toil.restart()
        else:
            result = toil.start(Job.wrapJobFn(ROOTS[options.name], options.folder, **SMALL))
        print("result:", result)
