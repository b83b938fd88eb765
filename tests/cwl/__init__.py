"""The conformance tests of CWL v1.2 that are required, through Toil, on our batch system.

``tox -e cwl`` runs them: ``python -m tests.cwl``. They are another project's, and are not copied:
``CWL_V1_2`` names a checkout of them. ``verdict`` says what came of a run.
"""
