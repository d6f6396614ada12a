"""The operations that change something, a file a noun."""

from __future__ import annotations

import strawberry

from amparo_gateway.schema.mutations.casework import CaseworkMutations
from amparo_gateway.schema.mutations.linking import LinkingMutations
from amparo_gateway.schema.mutations.partners import PartnerMutations
from amparo_gateway.schema.mutations.preserving import PreservingMutations
from amparo_gateway.schema.mutations.referring import ReferringMutations
from amparo_gateway.schema.mutations.reporting import ReportingMutations
from amparo_gateway.schema.mutations.tasks import TaskMutations
from amparo_gateway.schema.mutations.writing import WritingMutations

__all__ = ["Mutation"]


@strawberry.type(description="The operations that change something. What a rule refuses is in `errors`.")
class Mutation(
    ReportingMutations,
    CaseworkMutations,
    LinkingMutations,
    ReferringMutations,
    PreservingMutations,
    WritingMutations,
    PartnerMutations,
    TaskMutations,
):
    pass
