"""How fast Taskline is, beside its peers and its ceilings, in one run: ``python -m benchmarks``.

Not shipped: it runs from the checkout, in an environment that has the peers (``tox -e bench``).

One *play* is one measurement of one *cell* (what is measured, of which peer, in which setting, on
which broker, how large); it leaves one file of JSON. A *sitting* is the cells of one peer that one
process plays, one after the other: it submits, and its children are the workers. Sittings of peers
that are compared follow each other directly, in an order that changes from round to round, on
brokers that nobody else uses.

The rooms: ``cells`` and ``programme`` (what there is to play), ``schedule`` (in which order, and
what is hopeless), ``runner`` (play by play), ``servers`` (the brokers), ``play`` (one play),
``measures/`` (what is measured, a module each), ``peers/`` (who is measured and how it is started;
imports none of them), ``apps/`` (the same in the peer's own words; imports it), ``client`` (what a
play asks of it), ``tasks`` (what is run), ``ground`` (what a play stands on), ``process`` (CPU and
memory, from ``/proc``), ``machine``, ``sizes``, ``result`` (the files), ``statistics``, ``line``,
``report/``. Apart from all these: ``calls/``, which guards the speed in the ordinary tests, and
``simulation/``, fleets of thousands of workers in a model.
"""
