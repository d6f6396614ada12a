"""The operations that listen. Every change is judged for every listener when it happens, not when they began."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar
from uuid import UUID

import strawberry
from strawberry.types.field import StrawberryField

from amparo_common.events.types import IncidentTriaged, ReferralChanged
from amparo_common.vocabulary.codes import Lane, ReferralStatus
from amparo_gateway import domain
from amparo_gateway.domain import Kind, Scope
from amparo_gateway.errors import NoSuchError
from amparo_gateway.live.changes import AnyChange
from amparo_gateway.live.hub import Ends, Sighting
from amparo_gateway.schema.arguments import given_once
from amparo_gateway.schema.context import Info
from amparo_gateway.schema.incident import Incident
from amparo_gateway.schema.loaders import One
from amparo_gateway.schema.referral import Referral

Value = TypeVar("Value")


def _listening(words: str) -> Callable[[Callable[..., Any]], StrawberryField]:
    """Make a resolver a subscription with a description: `strawberry.subscription(description=...)`, typed."""

    def field(resolver: Callable[..., Any]) -> StrawberryField:
        made: StrawberryField = strawberry.subscription(resolver, description=words)
        return made

    return field


@strawberry.type(description="An incident that came into the caller's queue, changed in it, or left it.")
class QueueChange:
    incident: Incident = strawberry.field(description="As it is now; when the caller may no longer see it, as it was.")
    removed: bool


@strawberry.type(description="What a socket can listen to.")
class Subscription:
    @_listening("What waits for a person, as far as `incidents` shows it to the caller.")
    async def queue_changed(
        self, info: Info, lanes: list[Lane] | None = strawberry.UNSET
    ) -> AsyncIterator[QueueChange]:
        scope = info.context.scope("Subscription.queueChanged")
        wanted = given_once(lanes, name="lanes") or frozenset(Lane)
        return info.context.hub.listen(lambda change: _in_queue(change, scope=scope, lanes=wanted))

    @_listening("Every change of an incident; ends when the caller may no longer see it.")
    async def incident_changed(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the contract's name
    ) -> AsyncIterator[Incident]:
        scope = info.context.scope("Subscription.incidentChanged")
        key = domain.key_of(Kind.INCIDENT, id)
        if key is None or await info.context.loaders.incident.load(One(scope, key)) is None:
            raise NoSuchError("incident")
        return info.context.hub.listen(lambda change: _of_incident(change, key=key, scope=scope))

    @_listening("A referral that the caller may see from now on, or whose package is new.")
    async def referral_received(self, info: Info) -> AsyncIterator[Referral]:
        scope = info.context.scope("Subscription.referralReceived")
        return info.context.hub.listen(lambda change: _received(change, scope=scope))


def _in_queue(change: AnyChange, *, scope: Scope, lanes: frozenset[Lane]) -> Sighting[QueueChange] | None:
    before, after = change.before, change.after

    def waits(event: IncidentTriaged | ReferralChanged) -> bool:
        if not isinstance(event, IncidentTriaged) or event.lane not in lanes:
            return False
        return domain.in_queue(event) and domain.sees_incident(scope, event)

    if waits(after.event):
        return _seen(change, "waits", lambda: QueueChange(incident=Incident.of(after.state), removed=False))
    if before is None or not waits(before.event):
        return None
    if isinstance(after.event, IncidentTriaged) and domain.sees_incident(scope, after.event):
        return _seen(change, "done", lambda: QueueChange(incident=Incident.of(after.state), removed=True))
    return _seen(change, "gone", lambda: QueueChange(incident=Incident.of(before.state), removed=True))


def _of_incident(change: AnyChange, *, key: UUID, scope: Scope) -> Sighting[Incident] | Ends | None:
    event = change.after.event
    if change.key != key or not isinstance(event, IncidentTriaged):
        return None
    if not domain.sees_incident(scope, event):
        return Ends.HERE
    return _seen(change, "incident", lambda: Incident.of(change.after.state))


def _received(change: AnyChange, *, scope: Scope) -> Sighting[Referral] | None:
    before, event = change.before.event if change.before else None, change.after.event
    if not isinstance(event, ReferralChanged) or not domain.sees_referral(scope, event):
        return None
    if event.status is ReferralStatus.REVOKED:
        return None
    if isinstance(before, ReferralChanged) and not _is_new(event, before=before, scope=scope):
        return None
    return _seen(change, "referral", lambda: Referral.of(change.after.state))


def _is_new(referral: ReferralChanged, *, before: ReferralChanged, scope: Scope) -> bool:
    return referral.package_version > before.package_version or not domain.sees_referral(scope, before)


def _seen(change: AnyChange, aspect: str, make: Callable[[], Value]) -> Sighting[Value]:
    return change.once(aspect, lambda: Sighting(change, aspect, make()))
