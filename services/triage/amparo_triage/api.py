"""HTTP of triage: probes, the policy in force for those who may read it, and the work of people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Response

from amparo_common.auth.http import require
from amparo_common.auth.permissions import Permission
from amparo_common.auth.principal import Principal
from amparo_common.auth.verifier import Verifier
from amparo_common.telemetry import Telemetry
from amparo_common.web import json_response, service_app
from amparo_triage.api_casework import CaseworkPages
from amparo_triage.domain.policy import RulePack
from amparo_triage.settings import SERVICE


def create_app(
    *,
    pack: RulePack,
    people: CaseworkPages,
    verifier: Verifier,
    telemetry: Telemetry,
    readiness: Callable[[], Sequence[str]],
) -> FastAPI:
    """Make triage's application."""
    app = service_app(name=SERVICE, readiness=readiness, telemetry=telemetry)
    app.state.verifier = verifier
    body = _described(pack)

    @app.get("/v1/packs/current")
    async def current_pack(_: Annotated[Principal, Depends(require(Permission.READ_POLICY))]) -> Response:
        return json_response(body)

    for method, path, endpoint in people.routes:
        app.add_route(path, endpoint, methods=[method])
    return app


def _described(pack: RulePack) -> dict[str, Any]:
    table = pack.table
    return {
        "pack": pack.label,
        "digest": pack.digest,
        "sets": {name: list(members) for name, members in table.sets.items()},
        "rules": [
            {"id": rule.id, "when": rule.when, "floor": rule.floor, "guidelines": list(rule.guidelines)}
            for rule in table.rule
        ],
        "categories": {
            category: {
                "base": policy.base,
                "destinations": list(policy.destinations),
                "guidelines": list(policy.guidelines),
            }
            for category, policy in table.category.items()
        },
    }
