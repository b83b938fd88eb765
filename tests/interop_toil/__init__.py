"""Against the real Toil, unmodified: its bus, its file format, its leader, its batch systems.

``instead/sitecustomize.py`` puts our bus in the place of ``toil.bus``, in every process of a
workflow; ``programs`` starts such processes; ``flow.py`` is the workflow. ``works.py`` are the
workflows of our batch system, ``cwl/`` those in CWL, and ``site`` is where they run. Skipped where
Toil is not installed; ``tox -e toil`` installs it. Recorded with Toil 9.6.0.
"""
