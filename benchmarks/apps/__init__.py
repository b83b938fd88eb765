"""Each peer in its own words: the tasks, the submitting side, and a worker where it has no command.

Only these modules import what is measured. Play and workers both do, and both find what they stand
on in the environment.
"""
