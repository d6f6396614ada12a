"""The environment of a service. Only the composition roots build these; everything else takes values as arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

#: The port that each part of the platform listens on before the offset is added.
PORTS: Final = {"gateway": 8080, "intake": 8081, "triage": 8082, "referral": 8083, "issuer": 8089, "demo_partner": 8090}
DISCOVERY_PATH: Final = "/.well-known/openid-configuration"
_HIGHEST_PORT: Final = 65_535
#: The clients whose tokens are taken unless `AMPARO_OIDC_CLIENTS` names others.
CLIENTS: Final = ("amparo-console", "amparo-cli", "amparo-service", "amparo-reporter-app", "amparo-integrator")


def _loopback(service: str) -> Any:
    def address(values: dict[str, Any]) -> str:
        return f"http://127.0.0.1:{PORTS[service] + values['port_offset']}"

    return address


def _discovery_url(values: dict[str, Any]) -> str:
    return str(values["oidc_issuer"]).rstrip("/") + DISCOVERY_PATH


def _token_url(values: dict[str, Any]) -> str:
    """Derive the token endpoint from the address that is reached: the built-in issuer's, else Keycloak's."""
    base = str(values["oidc_discovery_url"]).removesuffix(DISCOVERY_PATH)
    built_in = values["oidc_issuer"] == _loopback("issuer")(values)
    return f"{base}/token" if built_in else f"{base}/protocol/openid-connect/token"


class PlatformSettings(BaseSettings):
    """What every service reads from `AMPARO_*` variables. An empty variable counts as unset.

    Without `AMPARO_KAFKA_BOOTSTRAP` the platform is embedded, and `demo` and `environment` default to that.
    Raises pydantic's ValidationError, naming the variable's field, when a value makes no sense.
    """

    model_config = SettingsConfigDict(env_prefix="AMPARO_", env_ignore_empty=True, extra="forbid", frozen=True)

    data_dir: Path = Path(".amparo")
    port_offset: int = Field(default=0, ge=0, le=50_000)
    kafka_bootstrap: str = ""
    database_url: SecretStr = SecretStr("")
    demo: bool = Field(default_factory=lambda values: not values["kafka_bootstrap"])
    environment: Literal["demo", "production"] = Field(
        default_factory=lambda values: "production" if values["kafka_bootstrap"] else "demo"
    )
    partner_allow: Annotated[tuple[tuple[str, int], ...], NoDecode] = ()
    oidc_issuer: str = Field(default_factory=_loopback("issuer"))
    oidc_discovery_url: str = Field(default_factory=_discovery_url)
    oidc_token_url: str = Field(default_factory=_token_url)
    oidc_clients: Annotated[tuple[str, ...], NoDecode] = CLIENTS
    service_client_id: str = "amparo-service"
    service_client_secret: SecretStr = SecretStr("")
    gateway_url: str = Field(default_factory=_loopback("gateway"))
    intake_url: str = Field(default_factory=_loopback("intake"))
    triage_url: str = Field(default_factory=_loopback("triage"))
    referral_url: str = Field(default_factory=_loopback("referral"))
    referral_public_url: str = Field(default_factory=lambda values: values["referral_url"])
    host: str = "127.0.0.1"
    faults: str = ""
    fault_counts: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = True

    @property
    def embedded(self) -> bool:
        """Say whether the event log and the databases are files of this process."""
        return not self.kafka_bootstrap

    def port(self, base: int) -> int:
        """Return `base` moved by the offset of this platform."""
        return base + self.port_offset

    @field_validator("partner_allow", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        return tuple(_pair(entry) for entry in _entries(value)) if isinstance(value, str) else value

    @field_validator("oidc_clients", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return _entries(value) if isinstance(value, str) else value

    @field_validator(
        "oidc_token_url", "gateway_url", "intake_url", "triage_url", "referral_url", "referral_public_url", mode="after"
    )
    @classmethod
    def _address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("is no http or https address")
        return value.rstrip("/")

    @field_validator("oidc_issuer", mode="after")
    @classmethod
    def _issuer(cls, value: str) -> str:
        cls._address(value)
        return value  # compared exactly, a slash at its end included

    @field_validator("oidc_discovery_url", mode="after")
    @classmethod
    def _discovery(cls, value: str) -> str:
        base = cls._address(value)
        return base if base.endswith(DISCOVERY_PATH) else base + DISCOVERY_PATH


def _entries(text: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())


def _pair(entry: str) -> tuple[str, int]:
    host, colon, port = entry.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= _HIGHEST_PORT:
        raise ValueError(f"{entry!r} is no host:port pair")
    return host.strip("[]").lower(), int(port)
