"""Servers of a test's own, that may be killed, wiped and started again.

The rooms: ``server`` (the life of one), ``redis`` (``PrivateRedis``), ``rabbitmq``
(``PrivateRabbitMQ``), ``tls`` (``ServerTls``: what they speak TLS with).
"""
