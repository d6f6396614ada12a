"""HTTP for people, through the gateway with their own token: refer, sign, answer, read, keep partners, do tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

import msgspec
from fastapi import FastAPI, Request, Response
from opentelemetry.metrics import Counter

from amparo_common.auth.http import bearer, forbidden
from amparo_common.auth.permissions import Permission, Reach
from amparo_common.auth.principal import Principal
from amparo_common.errors import Problem, Refusal, Refused
from amparo_common.vocabulary.codes import AcknowledgementCode as Code
from amparo_common.web import json_response
from amparo_referral import bodies, partners
from amparo_referral.answers import Answer, Answerer, Classification, take_answer
from amparo_referral.approving import Signature, sign
from amparo_referral.callers import not_found, on_record, reaches
from amparo_referral.changes import subject_of
from amparo_referral.domain.referrals import Referral
from amparo_referral.domain.routes import Route
from amparo_referral.errands import Done, complete
from amparo_referral.reading import read_package
from amparo_referral.referring import Wish, refer
from amparo_referral.repository import directory as entries, referrals, tasks
from amparo_referral.service import Desk

_Told = TypeVar("_Told")
#: What an answer means nothing without.
_NEEDS: Final[dict[Code, str]] = {
    Code.FORWARDED: "forwarded_to",
    Code.PRESERVE_REQUESTED: "until",
    Code.HOLD_EXTENDED: "until",
    Code.CLASSIFIED: "classification",
}


def mount(app: FastAPI, *, desk: Desk, judge: Callable[[str], str | None], taken: Counter) -> None:
    """Add the people's part to the application of referral."""
    pages = _Pages(desk=desk, judge=judge, taken=taken)
    for method, path, endpoint in (
        ("POST", "/v1/incidents/{id}/referrals", pages.refer),
        ("POST", "/v1/referrals/{id}/approval", pages.sign),
        ("POST", "/v1/referrals/{id}/response", pages.respond),
        ("GET", "/v1/referrals/{id}/package", pages.package),
        ("PUT", "/v1/partners", pages.put_partner),
        ("PUT", "/v1/routes", pages.put_route),
        ("POST", "/v1/tasks/{id}/completion", pages.complete),
    ):
        app.add_route(path, endpoint, methods=[method])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pages:
    """Each asks the permission, reads the body, and hands on. A role without the permission is 403, on record."""

    desk: Desk
    judge: Callable[[str], str | None]
    taken: Counter

    async def refer(self, request: Request) -> Response:
        incident_id, action = _id(request), "referral.created"
        by = await self._caller(request, Permission.WORK_QUEUE, action=action, about=incident_id)
        body = bodies.read(await request.body(), bodies.ReferBody)
        wish = Wish(
            destination=body.destination,
            partner_id=body.partner_id,
            lawful_basis=body.lawful_basis,
            note=body.note,
        )
        told = await self._denials(refer(self.desk, incident_id, wish, by=by), by, action, incident_id)
        return json_response({"referral": told})

    async def sign(self, request: Request) -> Response:
        referral_id, action = _id(request), "referral.approved"
        by = await self._caller(request, Permission.SIGN, action=action, about=referral_id)
        body = bodies.read(await request.body(), bodies.SignBody)
        signature = Signature(expected_version=body.expected_version, approve=body.approve, reason=body.reason)
        told = await self._denials(sign(self.desk, referral_id, signature, by=by), by, action, referral_id)
        return json_response({"referral": told})

    async def respond(self, request: Request) -> Response:
        referral_id, action = _id(request), "referral.acknowledged"
        by = await self._caller(request, Permission.RESPOND_TO_REFERRAL, action=action, about=referral_id)
        body = bodies.read(await request.body(), bodies.RespondBody)
        referral = await self._visible(referral_id, by, Permission.RESPOND_TO_REFERRAL)
        if referral is None:
            await self._deny(by, action, referral_id)
            raise not_found()
        answer = _answer(body, referral, self.desk)
        told = await self._denials(take_answer(self.desk, answer, by=_answerer(by)), by, action, referral_id)
        self.taken.add(1, {"code": str(answer.code)})
        return json_response({"referral": told})

    async def package(self, request: Request) -> Response:
        referral_id = _id(request)
        by = await self._caller(request, Permission.READ_PACKAGE, action="referral.package", about=referral_id)
        return json_response(await read_package(self.desk, referral_id, by=by))

    async def put_partner(self, request: Request) -> Response:
        by = await self._caller(request, Permission.MANAGE_PARTNERS, action="partner.set")
        body = bodies.read(await request.body(), bodies.PartnerBody)
        given = partners.PartnerInput(
            id=body.id,
            name=body.name,
            destination=body.destination,
            countries=tuple(body.countries),
            languages=tuple(body.languages),
            adapter=body.adapter,
            address=body.address,
            secret=body.secret,
            organisation=body.organisation,
            accepts_emergency=body.accepts_emergency,
            last_verified_at=body.last_verified_at,
        )
        told = await partners.upsert_partner(self.desk, given, judge=self.judge, by=partners.By(by.name, by.role))
        return json_response({"partner": told})

    async def put_route(self, request: Request) -> Response:
        by = await self._caller(request, Permission.MANAGE_PARTNERS, action="route.set")
        body = bodies.read(await request.body(), bodies.RouteBody)
        route = Route(
            country=body.country,
            destination=body.destination,
            partner_id=body.partner_id,
            priority=body.priority,
            release=body.release,
            categories=tuple(body.categories or ()),
            levels=tuple(body.levels or ()),
            enabled=body.enabled is not False,
        )
        told = await partners.set_route(self.desk, route, by=partners.By(by.name, by.role))
        return json_response({"partner": told})

    async def complete(self, request: Request) -> Response:
        task_id, action = _id(request), "task.completed"
        by = await self._caller(request, Permission.WORK_QUEUE, action=action, about=task_id)
        body = bodies.read(await request.body(), bodies.CompleteBody)
        done = Done(partner_reference=body.partner_reference, note=body.note)
        task, referral = await self._denials(complete(self.desk, task_id, done, by=by), by, action, task_id)
        return json_response({"task": task, "referral": referral})

    async def _caller(
        self, request: Request, permission: Permission, *, action: str, about: UUID | None = None
    ) -> Principal:
        by = await bearer(request)
        if by.may(permission) is Reach.NONE:
            await self._deny(by, action, about)
            raise forbidden(permission)
        return by

    async def _denials(self, command: Awaitable[_Told], by: Principal, action: str, about: UUID) -> _Told:
        """Await `command`; that something is not the caller's to see goes on record before it is said."""
        try:
            return await command
        except Problem as problem:
            if problem.status == _NOT_FOUND:
                await self._deny(by, action, about)
                raise not_found() from None
            raise

    async def _deny(self, by: Principal, action: str, about: UUID | None) -> None:
        """Put on record that `by` was denied; the row names the incident wherever there is one."""

        def find(session: entries.Source) -> UUID | None:
            found = referrals.get(session, about) or tasks.get(session, about) if about else None
            return found.incident_id if found else about

        incident_id = await self.desk.database.read(find)
        subject = subject_of(incident_id) if incident_id else "directory"
        await on_record(self.desk, by, action, subject=subject, allowed=False)

    async def _visible(self, referral_id: UUID, by: Principal, permission: Permission) -> Referral | None:
        def find(session: entries.Source) -> Referral | None:
            referral = referrals.get(session, referral_id)
            partner = entries.partner(session, referral.partner_id) if referral else None
            if referral is None or not reaches(by, permission, referral=referral, partner=partner):
                return None
            return referral

        return await self.desk.database.read(find)


_NOT_FOUND: Final = 404


def _id(request: Request) -> UUID:
    try:
        return UUID(request.path_params["id"])
    except ValueError:
        raise not_found() from None


def _answerer(by: Principal) -> Answerer:
    reach = by.may(Permission.RESPOND_TO_REFERRAL)
    if reach is Reach.ORGANISATION:
        return Answerer(name=by.name, role=by.role, organisation=by.organisation, by_hand=True)
    countries = frozenset("*") if reach is Reach.ALL else by.countries
    return Answerer(name=by.name, role=by.role, countries=countries, by_hand=True)


def _answer(body: bodies.RespondBody, referral: Referral, desk: Desk) -> Answer:
    needed = _NEEDS.get(body.code)
    if needed is not None and getattr(body, needed) is None:
        raise Refused(Refusal("INVALID", f"An answer of {body.code} needs it.", needed))
    classified = body.classification
    return Answer(
        referral_reference=referral.reference,
        code=body.code,
        at=desk.clock.now(),
        partner_reference=body.partner_reference,
        note=body.note,
        until=body.until,
        forwarded_to=body.forwarded_to,
        classification=msgspec.convert(classified.model_dump(), Classification) if classified else None,
    )
