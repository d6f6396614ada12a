"""What a partner's answer does to a referral (behaviour, section 5.3)."""

from __future__ import annotations

from typing import Final

from amparo_common.vocabulary.codes import AcknowledgementCode as Answer, ReferralStatus as Status

#: Where an answer moves a referral; answers that are not here leave the status.
_MOVES: Final[dict[Answer, Status]] = {
    Answer.RECEIVED: Status.ACKNOWLEDGED,
    Answer.NEED_INFO: Status.ACKNOWLEDGED,
    Answer.IN_PROGRESS: Status.ACKNOWLEDGED,
    Answer.ACCEPTED: Status.ACCEPTED,
    Answer.CASE_OPENED: Status.ACCEPTED,
    Answer.REJECTED_JURISDICTION: Status.REJECTED,
    Answer.REJECTED_INSUFFICIENT: Status.REJECTED,
    Answer.REJECTED_DUPLICATE: Status.REJECTED,
    Answer.REJECTED_NOT_COMPETENT: Status.REJECTED,
    Answer.FORWARDED: Status.CLOSED,
    Answer.CLOSED_ACTION_TAKEN: Status.CLOSED,
    Answer.CLOSED_NO_ACTION: Status.CLOSED,
    Answer.NOT_ILLEGAL: Status.CLOSED,
    Answer.CHILD_SAFE: Status.CLOSED,
}
#: After these only the proof of destruction is taken.
ENDED: Final = frozenset({Status.REJECTED, Status.CLOSED, Status.REVOKED})
#: The partner has not been sent anything yet, so it has nothing to answer.
NOT_SENT: Final = frozenset({Status.AWAITING_REVIEW, Status.AWAITING_APPROVAL})


def after(status: Status, answer: Answer) -> Status | None:
    """Return the status after `answer`; None when the answer is not allowed in `status`.

    An exact repeat of an earlier answer is the caller's to recognise; it is always taken and changes nothing.
    """
    if status in NOT_SENT:
        return None
    if status in ENDED:
        return status if answer is Answer.DESTROY_CONFIRMED else None
    moved = _MOVES.get(answer, status)
    if status is Status.ACCEPTED and moved is Status.ACKNOWLEDGED:
        return status
    return moved
