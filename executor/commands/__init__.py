"""The commands of ``python -m executor``, one room each: ``submit``, ``workers``, ``journal``,
``demo``.

Below them: ``options`` (what can be said to all of them), ``words`` (a call as typed in a shell),
``sentences`` (what happened, in words) and ``exits`` (what exit codes say). Each ``run`` takes the
words after the command, prints, and returns the exit code; it raises what it cannot go on from, for
``executor.cli`` to tell.
"""
