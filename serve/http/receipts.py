"""A receipt of the library in, the JSON that HTTP answers an erasure with out."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from llmrec_ray.online.forgetting import Receipt


class ReceiptAnswer(BaseModel):
    """What an erasure removed.

    `exports` counts rewritten objects. `trained_with` names the published generations that may have
    learned from what was removed: none of them holds an id, and the next training ends that.
    """

    erased_at: datetime
    events: int
    recommendations: int
    exports: int
    user_version: int
    trained_with: list[str]


class ErasureAnswer(ReceiptAnswer):
    """The receipt of a forgotten user."""

    user_id: str


class EventErasureAnswer(ReceiptAnswer):
    """The receipt of a forgotten event."""

    event_id: str


def receipt_fields(receipt: Receipt) -> dict[str, Any]:
    """What both receipts say."""
    return asdict(receipt) | {"trained_with": list(receipt.trained_with)}
