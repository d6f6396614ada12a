"""The environment, read as the contract says."""

from __future__ import annotations

import os

import pytest
from pydantic import ValidationError

from amparo_common.settings import PlatformSettings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AMPARO_")]:
        monkeypatch.delenv(name)


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> PlatformSettings:
    for name, value in variables.items():
        monkeypatch.setenv(f"AMPARO_{name}", value)
    return PlatformSettings()


def test_without_variables_the_platform_is_an_embedded_demonstration(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch)
    assert (found.embedded, found.demo, found.environment) == (True, True, "demo")
    assert str(found.data_dir) == ".amparo"
    assert found.oidc_issuer == "http://127.0.0.1:8089"
    assert found.oidc_token_url == "http://127.0.0.1:8089/token"
    assert found.intake_url == "http://127.0.0.1:8081"


def test_with_kafka_it_is_distributed_and_productive(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, KAFKA_BOOTSTRAP="kafka:9092")
    assert (found.embedded, found.demo, found.environment) == (False, False, "production")


def test_what_is_set_wins_over_what_is_derived(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, DEMO="0", ENVIRONMENT="production")
    assert (found.embedded, found.demo, found.environment) == (True, False, "production")


def test_the_offset_moves_every_port_and_address(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, PORT_OFFSET="300")
    assert found.port(8080) == 8380
    assert found.oidc_discovery_url == "http://127.0.0.1:8389/.well-known/openid-configuration"
    assert found.referral_public_url == "http://127.0.0.1:8383"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, KAFKA_BOOTSTRAP="", OIDC_ISSUER="", PARTNER_ALLOW="").embedded


def test_partner_pairs_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, PARTNER_ALLOW="127.0.0.1:18990, Hotline.example.org:8443,[::1]:9")
    assert found.partner_allow == (("127.0.0.1", 18990), ("hotline.example.org", 8443), ("::1", 9))


def test_an_issuer_of_another_name_is_reached_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(
        monkeypatch,
        OIDC_ISSUER="https://id.example.org/realms/amparo",
        OIDC_DISCOVERY_URL="http://idp:8080/realms/amparo/",
    )
    assert found.oidc_issuer == "https://id.example.org/realms/amparo"
    assert found.oidc_discovery_url == "http://idp:8080/realms/amparo/.well-known/openid-configuration"
    assert found.oidc_token_url == "http://idp:8080/realms/amparo/protocol/openid-connect/token"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT_OFFSET", "many"),
        ("PORT_OFFSET", "-1"),
        ("PARTNER_ALLOW", "127.0.0.1"),
        ("PARTNER_ALLOW", "127.0.0.1:99999"),
        ("PARTNER_ALLOW", ":80"),
        ("ENVIRONMENT", "staging"),
        ("INTAKE_URL", "intake:8081"),
        ("OIDC_ISSUER", "ftp://id.example.org"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_senseless_value_is_refused_by_name(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(monkeypatch, **{name: value})
    assert refused.value.errors()[0]["loc"] == (name.lower(),)


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, SERVICE_CLIENT_SECRET="s3cret", DATABASE_URL="postgresql://u:s3cret@db/")
    assert "s3cret" not in repr(found)
