"""How many functions are called for one task, and where: ``python -m benchmarks.calls``.

Seconds differ from one machine and minute to the next; calls do not. So this is what guards the
speed in the ordinary tests: more than a quarter more than the ``baseline`` is a failure, which
names the functions; and so is a quarter more broker messages, where their number is certain. It
says nothing of how long a call takes.

The rooms: ``counter`` (what is counted, and whose it is), ``joined`` (both sides in one thread,
with time by hand: the same to a call each time), ``living`` (a real executor and a real worker in
one process, over ``memory://``), ``paths`` (what is guarded), ``baseline`` (the file), ``verdict``
(what has grown, in words), ``table`` (for who wants to make it faster).
"""
