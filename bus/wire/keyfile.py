"""The file that holds the keys messages are signed with, read again when it changes.

Decided here: which file is taken for secret (nobody but its owner may read or write it, as ``ssh``
has it), and when to look whether it is another one now. What stands in it, ``protocol.signing``
reads. Keys are changed without stopping anybody: a file that has become wrong is reported, and the
keys read before stay in force.

``keys`` is called by the publisher's and the listener's thread; one assignment hands over.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from protocol.errors import ConfigurationError
from protocol.signing import Keys, parse_keys

logger = logging.getLogger("taskline.bus.wire.keyfile")

LOOK: Final = 2.0  # seconds between two looks at whether the file has changed
_MOST: Final = 64 * 1024  # bytes of a key file

#: By which a file that has changed is known: device, inode, size, time of change, mode.
_Stamp = tuple[int, int, int, int, int]


class KeyFile:
    """A key file and the keys that were last read from it."""

    def __init__(
        self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises ``ConfigurationError`` for one that is not there, not secret, or holds no keys."""
        #: Absolute: other processes of ours are told of it by this name.
        self.path = Path(path).expanduser().absolute()
        self._clock = clock
        self._keys, self._stamp = _read(self.path)
        self._looked = clock()
        #: What was last wrong with it, so that it is said once.
        self._complaint = ""

    def keys(self) -> Keys:
        """The keys of this moment, near enough (``LOOK``). Never raises."""
        now = self._clock()
        if now - self._looked >= LOOK:
            self._looked = now
            self._look_again()
        return self._keys

    def _look_again(self) -> None:
        try:
            if _stamp(os.stat(self.path)) == self._stamp and not self._complaint:  # noqa: PTH116
                return
            keys, self._stamp = _read(self.path)
        except (ConfigurationError, OSError) as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                logger.error("the keys read before stay in force: %s", error)  # noqa: TRY400
            return
        if keys != self._keys or self._complaint:
            accepted = ", ".join(keys.accepted)
            logger.info(
                "signing with key %s from now on; accepted: %s (%s)",
                keys.signs.id,
                accepted,
                self.path,
            )
        self._keys, self._complaint = keys, ""


def _read(path: Path) -> tuple[Keys, _Stamp]:
    try:
        # Not blocking: it may be a pipe that nobody writes to.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            about = os.fstat(file)
            _demand_secret(path, about)
            data = os.read(file, _MOST + 1)
        finally:
            os.close(file)
    except OSError as error:
        raise ConfigurationError(f"the key file {path} cannot be read: {error.strerror}") from error
    if len(data) > _MOST:
        raise ConfigurationError(f"the key file {path} has more than {_MOST} bytes: it is none")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"the key file {path} is no text in UTF-8") from None
    return parse_keys(text, f"the key file {path}"), _stamp(about)


def _demand_secret(path: Path, about: os.stat_result) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise ConfigurationError(f"the key file {path} is no file")
    if about.st_mode & 0o077:
        raise ConfigurationError(
            f"the key file {path} may be read or written by others (mode "
            f"{stat.S_IMODE(about.st_mode):04o}): it is no secret; chmod 600 {path}, and if others "
            "have had a look at it, make new keys"
        )
    if about.st_uid not in (os.geteuid(), 0):
        raise ConfigurationError(
            f"the key file {path} belongs to user {about.st_uid}, who can change it; it has to be "
            f"ours ({os.geteuid()}) or root's"
        )


def _stamp(about: os.stat_result) -> _Stamp:
    return about.st_dev, about.st_ino, about.st_size, about.st_ctime_ns, about.st_mode
