"""Kombu transports of ours: ``local`` (the embedded broker), ``memory`` (threads), ``redis``."""
