"""What the environment says: Kubernetes, not a file in the image, configures a container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Address:
    """Where a dependency listens, and whether the platform only pretends that it exists."""

    host: str
    port: int
    simulated: bool = False


@dataclass(frozen=True)
class Settings:
    """Everything HiChat can be told."""

    host: str
    """Address to listen on; empty for all of them, as a container should."""
    port: int
    commit: str
    """The commit this image was built from; the Dockerfile writes it into the image."""
    drain: float
    """Seconds to keep serving after SIGTERM: the cluster takes a moment to stop sending requests here."""
    redis: Address
    mysql: Address


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings; raises ValueError naming the variable that is no number."""
    return Settings(
        host=environment.get("HOST", ""),
        port=_number(environment, "PORT", 8080),
        commit=environment.get("COMMIT_SHA") or "unknown",
        drain=_number(environment, "DRAIN_MILLISECONDS", 500) / 1000,
        redis=_address(environment, "REDIS", "redis", 6379),
        mysql=_address(environment, "MYSQL", "mysql", 3306),
    )


def _address(environment: Mapping[str, str], name: str, host: str, port: int) -> Address:
    # Kubernetes gives every pod <SERVICE>_SERVICE_HOST and _PORT for the Services of its namespace. A Service that is
    # younger than the pod is missing there; then the name in the cluster's DNS serves.
    return Address(
        host=environment.get(f"{name}_SERVICE_HOST") or host,
        port=_number(environment, f"{name}_SERVICE_PORT", port),
        simulated=environment.get(f"{name}_SIMULATED") == "true",
    )


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal():
        raise ValueError(f"{name} is no number: {text!r}")
    return int(text)
