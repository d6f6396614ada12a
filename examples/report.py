"""Report an incident, and wait until triage has given it a level."""

import time
import uuid

from amparo_client import INTAKE, ask, post, token

bearer = token()
receipt = post(
    f"{INTAKE}/v1/reports",
    {
        "channel": "api",
        "language": "en",
        "country": "GT",
        "text": f"An invented report for the integrators' page, {uuid.uuid4()}.",
        "category": "CYBERBULLYING",
        "imminent_danger": None,
    },
    bearer=bearer,
    # The same key with the same body is one report, however often it is sent.
    **{"idempotency-key": str(uuid.uuid4())},
)
print(f"report {receipt['report_id']} is durable; tell the reporter the case code {receipt['case_code']}")

document = "query($id: ID!) { incidentByReport(reportId: $id) { id reference level status decision { reasons } } }"
incident = None
while incident is None:
    incident = ask(document, bearer=bearer, id=receipt["report_id"])["incidentByReport"]
    time.sleep(0.1)
print(f"incident {incident['reference']} is {incident['level']}: {' '.join(incident['decision']['reasons'])}")
