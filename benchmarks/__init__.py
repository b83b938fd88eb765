"""How fast Taskline is, beside its peers and its ceilings, in one run: ``python -m benchmarks``.

Not shipped: it runs from the checkout, in an environment that has the peers (``tox -e bench``).

One *play* is one measurement of one *cell* (what is measured, of which peer, in which setting, on
which broker, how large). Each play is a process of its own, which submits, and whose children are
the workers; it leaves one file of JSON. Plays of peers that are compared follow each other
directly, in an order that changes from round to round, on brokers that nobody else uses.

The rooms: ``cells`` and ``programme`` (what there is to play), ``schedule`` (in which order, and
what is hopeless), ``runner`` (play by play), ``servers`` (the brokers), ``play`` (one play),
``measures/`` (what is measured, a module each), ``peers/`` (who is measured and how it is started;
imports none of them), ``apps/`` (the same in the peer's own words; imports it), ``client`` (what a
play asks of it), ``tasks`` (what is run), ``ground`` (what a play stands on), ``process`` (CPU and
memory, from ``/proc``), ``machine``, ``sizes``, ``result`` (the files), ``statistics``, ``line``,
``report/``. Apart from all these, and in the ordinary tests: ``calls/``.
"""
