"""The ledger and several shifts joined by the worst channel there is, and what must hold then.

``channel`` carries, ``executor`` and ``worker`` are the keepers around the two rooms under test,
``world`` is their time, their faults and the steps that can be taken, ``promises`` is what is
checked after each of them. ``walker`` takes such steps at random (``python -m tests.joint``),
``test_machine`` by Hypothesis, ``test_traces`` as told in the native dialect, section 9, and
``mutations`` shows that each rule is needed: with it taken out, the walks find a broken promise.
"""
