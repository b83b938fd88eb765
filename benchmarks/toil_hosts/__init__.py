"""Workflows of Toil's on our batch system, beside its own ``single_machine``.

``__main__`` measures, ``flow`` is the workflow.
"""
