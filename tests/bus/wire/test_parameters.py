"""What may stand after the ``?`` of a server's URL, and that nothing there weakens TLS."""

from __future__ import annotations

import pytest

from bus.wire import parse_url
from protocol.errors import ConfigurationError

SECRET = "hunter2"


@pytest.mark.parametrize("scheme", ["redis", "rediss", "amqp", "amqps", "pyamqp"])
@pytest.mark.parametrize(
    "parameter",
    [
        *("ssl_cert_reqs=none", "ssl_cert_reqs=CERT_NONE", "ssl_check_hostname=false", "ssl=true"),
        *("verify=verify_none", "verify=false", "insecure=1", "tls_insecure=1", "cert_reqs=0"),
        *("check_hostname=0", "server_hostname=other", "SSL_CERT_REQS=optional"),
    ],
)
def test_a_url_that_would_not_verify_is_refused_with_the_way_out(
    scheme: str, parameter: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_url(f"{scheme}://host/?{parameter}")
    assert "always verified" in str(caught.value)
    assert "?ca=FILE" in str(caught.value)


@pytest.mark.parametrize(
    "option", ["ssl", "ssl_cert_reqs", "tls", "ssl_check_hostname", "ssl_ca_certs"]
)
@pytest.mark.parametrize("scheme", ["redis", "rediss", "amqp", "amqps"])
def test_a_transport_option_cannot_do_what_a_url_may_not(scheme: str, option: str) -> None:
    """kombu would hand it to the connection, over whatever the URL says."""
    with pytest.raises(ConfigurationError, match="always verified"):
        parse_url(f"{scheme}://host/", {option: None})


@pytest.mark.parametrize(
    ("theirs", "ours"), [("ssl_ca_certs", "ca"), ("certfile", "cert"), ("ssl_keyfile", "key")]
)
def test_other_spellings_are_told_ours(theirs: str, ours: str) -> None:
    with pytest.raises(ConfigurationError, match=f"it is called '{ours}'"):
        parse_url(f"rediss://host/0?{theirs}=file.pem")


@pytest.mark.parametrize(("scheme", "instead"), [("redis", "rediss"), ("amqp", "amqps")])
def test_a_ca_for_a_connection_that_is_not_encrypted_is_refused(scheme: str, instead: str) -> None:
    """Who names one believes that it is used."""
    with pytest.raises(ConfigurationError, match=f"write {instead}://"):
        parse_url(f"{scheme}://host/?ca=ca.pem")


@pytest.mark.parametrize("query", ["ca=", "ca", "ca=a.pem&ca=b.pem"])
def test_a_parameter_without_a_value_or_twice_is_refused(query: str) -> None:
    """An empty ``ca=``, from an unset variable perhaps, must not mean the system's authorities."""
    with pytest.raises(ConfigurationError, match="twice, or without a value"):
        parse_url(f"rediss://host/0?{query}")


def test_an_unknown_parameter_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError, match="not known") as caught:
        parse_url(f"redis://host/0?{SECRET}={SECRET}")
    assert SECRET not in str(caught.value)


def test_kombus_own_parameters_go_through_to_it() -> None:
    broker = parse_url("amqp://user:pw@host//?heartbeat=5&login_method=PLAIN")
    assert broker.address == broker.url
    encrypted = parse_url("amqps://user:pw@host//?login_method=EXTERNAL")
    assert encrypted.address == "amqp://user:pw@host:5671//?login_method=EXTERNAL"
