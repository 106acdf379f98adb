"""The kinds of values that request bodies are made of, each with its bounds."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from serve.http.limits import AtMost, no_control_characters, no_nul, not_blank

Id = Annotated[str, Field(min_length=1), AtMost("id_chars"), AfterValidator(no_control_characters)]
Text = Annotated[
    str,
    Field(min_length=1),
    AtMost("text_chars"),
    AfterValidator(not_blank),
    AfterValidator(no_nul),
]
Limit = Annotated[int, Field(ge=1), AtMost("limit")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Ids = Annotated[list[Id], AtMost("ids")]


class Message(BaseModel):
    """A request body: unknown names and values of another JSON type are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
