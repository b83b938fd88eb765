"""How messages and events travel: ``bus.wire`` carries messages between processes, over kombu."""
