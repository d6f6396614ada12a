"""HTTP out: the guarded client for partners, a plain one between Amparo's services."""

from amparo_common.http.addresses import AddressJudge, AddressRefusedError
from amparo_common.http.guarded import GuardedClient, GuardedReply, PartnerUnreachableError
from amparo_common.http.service import ServiceClient, TransportError, service_client

__all__ = [
    "AddressJudge",
    "AddressRefusedError",
    "GuardedClient",
    "GuardedReply",
    "PartnerUnreachableError",
    "ServiceClient",
    "TransportError",
    "service_client",
]
