"""``docs/performance.md`` and its plots, from the files of results alone.

The rooms: ``book`` (results by cell and round), ``tables`` (its tables), ``page`` (the words, from
a template), ``plots`` (pictures; the only one that needs a library of others).
"""
