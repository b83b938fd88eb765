"""Where a local broker may live."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bus.wire.transports.local import place
from protocol.errors import ConfigurationError

_MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:5 / /dev rw - devtmpfs devtmpfs rw
30 22 0:40 / /home rw - nfs4 server:/home rw
31 30 0:41 / /home/me/fast rw - tmpfs tmpfs rw
32 22 0:42 / /with\\040space rw - cifs //server/share rw
33 22 0:43 / /twice rw - ext4 /dev/vdb rw
34 22 0:44 / /twice rw - fuse.sshfs host: rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/x", "ext4"),
        ("/home/me/x", "nfs4"),
        ("/homes/x", "ext4"),
        ("/home/me/fast/x", "tmpfs"),
        ("/with space/x", "cifs"),
        ("/twice", "fuse.sshfs"),
    ],
)
def test_the_file_system_of_a_path_is_read_from_the_mount_table(path: str, kind: str) -> None:
    """The longest mount point wins, and the last one at a point."""
    assert place.file_system(path, _MOUNTS) == kind


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write-ahead log needs memory shared by all participants."""
    table = tmp_path / "mountinfo"
    table.write_text(f"30 22 0:40 / {tmp_path} rw - nfs4 server:/x rw\n")
    monkeypatch.setattr(place, "_MOUNTS", str(table))
    with pytest.raises(ConfigurationError, match="network file system \\(nfs4\\)"):
        place.prepare(str(tmp_path / "broker"))


def test_a_new_folder_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """Its parents are made as usual."""
    before = os.umask(0)
    try:
        place.prepare(str(tmp_path / "state" / "broker"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state" / "broker").stat().st_mode) == 0o700


def test_an_empty_folder_is_made_private_and_a_shared_one_refused(tmp_path: Path) -> None:
    """What holds other things is not ours to change."""
    empty, shared = tmp_path / "empty", tmp_path / "shared"
    for folder in (empty, shared):
        folder.mkdir()
        folder.chmod(0o777)
    (shared / "something").touch()
    place.prepare(str(empty))
    assert stat.S_IMODE(empty.stat().st_mode) == 0o700
    with pytest.raises(ConfigurationError, match="others may write there"):
        place.prepare(str(shared))


def test_a_path_that_will_not_do_is_refused(tmp_path: Path) -> None:
    """Relative, or a file."""
    (tmp_path / "file").touch()
    for path, complaint in (("here", "absolute path"), (str(tmp_path / "file"), "is a file")):
        with pytest.raises(ConfigurationError, match=complaint):
            place.prepare(path)


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A broker serves one user."""
    if os.geteuid() != 0:
        pytest.skip("needs root to give a folder to another user")
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, -1)
    with pytest.raises(ConfigurationError, match="belongs to user 12345"):
        place.prepare(str(folder))
