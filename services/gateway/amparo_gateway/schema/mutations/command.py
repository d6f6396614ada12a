"""What every mutation does: permit, read ids, ask the owning service, take over its answer, read the result back."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

from amparo_common.auth.permissions import Permission
from amparo_common.errors import Refused
from amparo_common.events.types import Event, IncidentTriaged, ReferralChanged
from amparo_common.ids import reference
from amparo_gateway import domain
from amparo_gateway.commands.answers import as_received, not_understood, states_in
from amparo_gateway.domain import Kind
from amparo_gateway.schema.context import Context, Info
from amparo_gateway.schema.incident import Incident, incident_or_none
from amparo_gateway.schema.loaders import One
from amparo_gateway.schema.mutations.outcome import unknown
from amparo_gateway.schema.referral import Referral, referral_or_none

State = TypeVar("State", bound=Event)


def permitted(info: Info, name: str, *, on: str | None = None) -> Context:
    """Return the context of the mutation `name`; raises ForbiddenError when the role may not use it.

    `on` is the global id of what it is to change, for the record.
    """
    info.context.scope(f"Mutation.{name}", of=_reference(on) if on is not None else None)
    return info.context


def _reference(text: str) -> str | None:
    match domain.from_global_id(text):
        case (Kind.INCIDENT, key):
            return reference("AM", of=key)
        case (Kind.REFERRAL, key):
            return reference("RF", of=key)
        case _:
            return None


def key_in(kind: Kind, text: str, *, field: str) -> UUID:
    """Return the key behind a global id of `kind`; raises Refused NOT_FOUND about `field` for anything else."""
    key = domain.key_of(kind, text)
    if key is None:
        raise Refused(unknown(field))
    return key


async def ask(context: Context, service: str, path: str, body: Any, *, method: str = "POST") -> dict[str, Event]:
    """Send a command as the caller, take the answered states into the projection and return them by member."""
    answer = await context.owners.call(service, method, path, principal=context.principal, body=body)
    states = states_in(answer)
    await context.apply([as_received(state, now=context.now) for state in states.values()])
    return states


def state_of(states: dict[str, Event], name: str, kind: type[State]) -> State:
    """Return a state that the answer must have; raises TransientError when it does not."""
    state = states.get(name)
    if not isinstance(state, kind):
        raise not_understood()
    return state


async def incident_of(context: Context, key: UUID) -> Incident | None:
    """Read an incident as any query does, as it stands now; None when the caller may not see it."""
    context.forget_what_was_read()
    scope = context.reach(Permission.READ_INCIDENTS)
    return incident_or_none(await context.loaders.incident.load(One(scope, key)))


async def changed_incident(context: Context, path: str, body: Any) -> Incident | None:
    """Let triage change an incident and return it as it stands then, or as somebody changed it since."""
    states = await ask(context, "triage", path, body)
    return await incident_of(context, state_of(states, "incident", IncidentTriaged).incident_id)


async def changed_referral(context: Context, path: str, body: Any) -> Referral | None:
    """Let referral change or make a referral and return it."""
    states = await ask(context, "referral", path, body)
    key = state_of(states, "referral", ReferralChanged).referral_id
    context.forget_what_was_read()
    scope = context.reach(Permission.READ_REFERRALS)
    return referral_or_none(await context.loaders.referral.load(One(scope, key)))
