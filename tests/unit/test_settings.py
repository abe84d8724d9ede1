"""Settings come from the environment as the nats tool names them, and say what is wrong."""

import pytest

from nalar.errors import UsageError
from nalar.settings import Settings, from_environment, without_secrets


def test_the_names_of_the_nats_tool_are_understood() -> None:
    environ = {"NATS_URL": "nats://db:1", "NATS_CREDS": "/c", "NATS_USER": "u", "HOME": "/root"}
    settings = from_environment(environ)
    assert (settings.url, settings.creds, settings.user) == ("nats://db:1", "/c", "u")


def test_an_override_wins_and_none_does_not() -> None:
    settings = from_environment({"NATS_URL": "nats://env:1"}, url="nats://flag:1", user=None)
    assert settings.url == "nats://flag:1"
    assert settings.user == ""


def test_any_setting_can_be_set_by_its_name() -> None:
    settings = from_environment({"NALAR_SET_LEASE_S": "2.5", "NALAR_SET_SLOTS": "4"})
    assert (settings.lease_s, settings.slots) == (2.5, 4)


def test_a_name_that_is_no_setting_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"NALAR_SET_LEESE_S.*'lease_s'"):
        from_environment({"NALAR_SET_LEESE_S": "2"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LEASE_S", "soon"),
        ("SLOTS", "1.5"),
        ("SLOTS", "0"),
        ("LEASE_S", "-1"),
        ("GRACE_S", "nan"),
        ("LEASE_S", "inf"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"(?i){name}"):
        from_environment({f"NALAR_SET_{name}": text})


def test_no_setting_may_be_zero() -> None:
    with pytest.raises(UsageError, match="concurrency"):
        Settings(concurrency=0)


@pytest.mark.parametrize(
    "url",
    ["", "http://db:4222", "nats://", "nats://db:99999", "nats://[::1", "nats://a b:1", "db:port"],
)
def test_an_address_that_no_server_can_have_is_refused_with_the_way_to_write_one(url: str) -> None:
    with pytest.raises(UsageError, match=r"no address of a NATS server: write nats://HOST:PORT"):
        Settings(url=url)


@pytest.mark.parametrize("url", ["db", "db:4222", "tls://db", "nats://u:p@[::1]:4222, wss://b:1"])
def test_an_address_may_be_written_as_the_nats_tool_has_it(url: str) -> None:
    assert Settings(url=url).url == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://ann:pass@db:1", "nats://***@db:1"),
        ("nats://p@ss@db:1,tls://token@b", "nats://***@db:1,tls://***@b"),
        ("ann:pass@db", "***@db"),
        ("nats://db:1", "nats://db:1"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    with pytest.raises(UsageError) as refused:
        Settings(url=url.replace("://", "://x:pass@") + ":port")
    assert "pass" not in str(refused.value)
    assert "secret" not in repr(Settings(password="secret", token="secret"))
