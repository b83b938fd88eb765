"""Whom an encrypted connection trusts, and what is said of files that will not do.

Against live servers: ``tests/stories/test_an_encrypted_broker.py``.
"""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from bus.wire.tls import Tls, read
from protocol.errors import ConfigurationError
from tests.certificates import Certificates, make


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of this module's own."""
    return make(tmp_path_factory.mktemp("certificates"))


def test_chain_and_host_name_are_verified_whatever_is_said(files: Certificates) -> None:
    """With the system's authorities, and with one's own alone."""
    for tls in (Tls("localhost"), Tls("localhost", str(files.ca))):
        context = tls.context()
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert len(Tls("localhost", str(files.ca)).context().get_ca_certs()) == 1


def test_paths_are_made_absolute_because_another_process_may_be_given_them(
    files: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files.folder)
    tls = read("localhost", {"ca": "ca.pem", "cert": "alien.pem"})
    assert tls.files == {"ca": str(files.ca), "cert": str(files.alien)}


def test_where_our_key_lives_is_not_in_any_repr(files: Certificates) -> None:
    tls = read("localhost", {"cert": str(files.client), "key": str(files.client_key)})
    assert tls.key == str(files.client_key)
    assert files.client_key.name not in repr(tls)
    assert files.client.name not in repr(tls)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"ca": "nowhere.pem"}, "No such file"),
        ({"ca": "."}, "cannot be used"),
        ({"ca": "empty.pem"}, "no certificate"),
        ({"ca": "secret-place-of-the-key.pem"}, "no certificate"),
        ({"key": "secret-place-of-the-key.pem"}, "cert= is not"),
        ({"cert": "nowhere.pem"}, "No such file"),
        ({"cert": "client.pem"}, "our own certificate and key cannot be used"),
        ({"cert": "client.pem", "key": "nowhere.pem"}, "No such file"),
        ({"cert": "client.pem", "key": "server-key.pem"}, "key values mismatch"),
    ],
)
def test_a_file_that_will_not_do_is_told_before_anything_is_connected(
    files: Certificates, monkeypatch: pytest.MonkeyPatch, query: dict[str, str], says: str
) -> None:
    monkeypatch.chdir(files.folder)
    Path("empty.pem").touch()
    with pytest.raises(ConfigurationError, match=says) as caught:
        read("localhost", query)
    if "ca" not in query:
        assert str(files.folder) not in str(caught.value)


def test_a_key_with_a_pass_phrase_is_refused_and_nobody_is_asked_for_it(
    files: Certificates, tmp_path: Path
) -> None:
    """OpenSSL would ask whoever sits at the terminal, and wait for ever."""
    locked = tmp_path / "locked.pem"
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:hunter2", "-out", str(locked)]
    try:
        subprocess.run([*command, "-in", str(files.client_key)], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("the command openssl is not there to lock a key with")
    with pytest.raises(ConfigurationError, match="pass phrase"):
        read("localhost", {"cert": str(files.client), "key": str(locked)})


def test_without_a_host_there_is_nobody_to_verify() -> None:
    with pytest.raises(ConfigurationError, match="names no host"):
        read(None, {})
