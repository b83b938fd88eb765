"""Against the real OpenStack taskflow, unmodified: its engine on our worker, its worker under ours.

``ground`` is where they meet, ``peers`` starts the worker under test, ``engines`` runs a flow
so that a hang is a failure, ``strangers`` asks a worker what no engine would ask, and
``flow_tasks`` is what the flows are made of. ``INTEROP_PEER=taskflow`` puts taskflow's own worker
in the place of ours: what then fails is wrong with a test, not with us.
"""
