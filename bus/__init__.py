"""How messages and events travel: ``bus.wire`` between processes, ``bus.news`` to a file."""
