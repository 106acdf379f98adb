"""The kinds of values that request bodies are made of, each with its bounds."""

from typing import Annotated

from pydantic import Field

from llmrec_ray.bodies import AtMost, Id, Message, Number, Text

__all__ = ["Id", "Ids", "Limit", "Message", "Number", "Text"]

Limit = Annotated[int, Field(ge=1), AtMost("limit")]
Ids = Annotated[list[Id], AtMost("ids")]
