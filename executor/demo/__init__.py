"""``python -m executor demo``: real work on real files, on two worker processes, without a server.

``job`` is the part to copy: submit, take what is ready, catch what failed. The other rooms are what
it is about: ``library`` (which files), ``survey`` (the task), ``report`` (what is printed).
"""
