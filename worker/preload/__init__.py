"""Commands run in copies of a process that has imported modules, where that comes to the same.

Most of a short command in Python is the start of an interpreter and its imports. A host that is
told to preload modules keeps a *template* (``template``, a program): a process that has imported
them, and nothing else of ours, and from which a *copy* is forked for each command. ``recognised``
decides which commands can run in one, ``templates`` starts the template and asks it for copies. A
copy becomes the host's own child, as any command is; so limits, kills and what is left over are no
matter of this room (docs/decisions/019).
"""
