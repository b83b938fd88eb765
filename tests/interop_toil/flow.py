"""A workflow: four leaves, one of which fails once, and their sum; and if asked, one that fails.

``flow.py STORE MESSAGES FOLDER (well|badly)``. Run by Toil, also in processes of its own.
"""

import sys
from pathlib import Path

from toil.common import Toil
from toil.job import Job

SMALL = {"memory": "10M", "disk": "10M", "cores": 0.1}


def leaf(job, number, folder):
    marker = Path(folder, f"tried-{number}")
    if number == 2 and not marker.exists():
        marker.touch()
        raise RuntimeError("the first try of this one fails")
    return number * number


def doomed(job):
    raise RuntimeError("this always fails")


def total(job, numbers):
    return sum(numbers)


def root(job, folder, how):
    found = [job.addChildJobFn(leaf, number, folder, **SMALL).rv() for number in range(4)]
    if how == "badly":
        job.addChildJobFn(doomed, **SMALL)
    return job.addFollowOnJobFn(total, found, **SMALL).rv()


if __name__ == "__main__":
    store, messages, folder, how = sys.argv[1:5]
    options = Job.Runner.getDefaultOptions(store)
    options.retryCount = 1
    options.clean = "always"
    options.write_messages = messages
    with Toil(options) as toil:
        import toil.bus as used

        print("bus:", used.MessageBus.__module__)
        print("result:", toil.start(Job.wrapJobFn(root, folder, how, **SMALL)))
