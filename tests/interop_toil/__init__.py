"""Against the real Toil, unmodified: its bus, its file format, its leader.

``instead/sitecustomize.py`` puts our bus in the place of ``toil.bus``, in every process of a
workflow; ``programs`` starts such processes; ``flow.py`` is the workflow. Skipped where Toil is not
installed; ``tox -e toil`` installs it. Recorded with Toil 9.6.0.
"""
