"""A YAML file comes in; a checked `CatalogDescription` with resolved files goes out."""

import codecs
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from llmrec_ray.catalog.passage import placeholders
from llmrec_ray.errors import InvalidCatalog
from llmrec_ray.types import EventType, FieldKind

Format = Literal["csv", "jsonl", "parquet", "arrow"]
TimeUnit = Literal["seconds", "milliseconds", "iso"]

FORMAT_OF_ENDING: Mapping[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
_FIELD_NAME = re.compile(r"\w[\w-]*")
_RESERVED = frozenset({"id", "item_id", "title"})
_FILE_HELP = "It must be UTF-8 YAML with `files:` and `columns:` (id and title at least)."


def _resolved(files: Sequence[str], info: ValidationInfo) -> tuple[Path, ...]:
    """Paths from the description's folder; a name with `*` or `?` stands for its matches."""
    context: dict[str, Path] = info.context or {}
    folder = context.get("folder", Path())
    found: list[Path] = []
    for name in files:
        matches = sorted(folder.glob(name)) if {"*", "?"} & set(name) else [folder / name]
        if not matches:
            raise ValueError(f"no file matches {name!r} in {folder.resolve()}")
        found += matches
    return tuple(found)


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _named(value: object) -> object:
    """`[year, plot]`: fields named like their columns; a mapping gives each field its column."""
    if isinstance(value, str):
        return {value: value}
    if isinstance(value, list):
        return {str(name): str(name) for name in value}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return value


def _known_encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError as cause:
        raise ValueError(
            f"unknown encoding {name!r}; known ones are utf-8, cp1252, gb18030 …"
        ) from cause


Files = Annotated[
    Sequence[str], BeforeValidator(_one_or_more), Field(min_length=1), AfterValidator(_resolved)
]
Fields = Annotated[dict[str, str], BeforeValidator(_named)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the description: unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CsvOptions(Section):
    """How a CSV file is written; the delimiter of a `.tsv` file is a tab unless it is named."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    quote: Annotated[str, Field(max_length=1)] = '"'
    """An empty quote says that quotes are ordinary characters."""
    header: tuple[str, ...] | None = None
    """The column names, for a file that has no header line."""


class Source(Section):
    """Files of one kind; the format follows from the ending where it is not named."""

    files: Files
    format: Format | None = None
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8"
    csv: CsvOptions = CsvOptions()
    tag_separator: Annotated[str, Field(min_length=1)] = "|"

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(Path(file) for file in self.files)

    @model_validator(mode="after")
    def _every_format_is_known(self) -> "Source":
        for path in self.paths:
            self.format_of(path)
        return self

    def format_of(self, path: Path) -> Format:
        ending = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
        known = self.format or FORMAT_OF_ENDING.get(ending.lower())
        if known is None:
            raise ValueError(
                f"the ending of {path.name} names no format; add `format: csv|jsonl|parquet|arrow`"
            )
        return known


class ItemColumns(Section):
    """Which column holds what; lists keep the columns' names, mappings say `field: column`."""

    id: str
    title: str
    text: Fields = {}
    tags: Fields = {}
    numbers: Fields = {}
    images: Fields = {}

    @property
    def kinds(self) -> dict[str, FieldKind]:
        """Every field but id and title, in the order text, tags, number, image."""
        groups: list[tuple[FieldKind, dict[str, str]]] = [
            ("text", self.text),
            ("tags", self.tags),
            ("number", self.numbers),
            ("image", self.images),
        ]
        return {name: kind for kind, group in groups for name in group}

    @property
    def sources(self) -> dict[str, str]:
        """Every field's column."""
        return {**self.text, **self.tags, **self.numbers, **self.images}

    @model_validator(mode="after")
    def _names_are_usable(self) -> "ItemColumns":
        names = [*self.text, *self.tags, *self.numbers, *self.images]
        for name in names:
            if not _FIELD_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no field name; give it one as `name: column`")
            if name in _RESERVED:
                raise ValueError(
                    f"the field name {name!r} is taken; give it another as `name: column`"
                )
            if names.count(name) > 1:
                raise ValueError(f"the field {name!r} is named twice; a field has one kind")
        return self


class CatalogLimits(Section):
    """What an item may hold: a longer id rejects the row, everything else is cut."""

    id_chars: Count = 256
    title_chars: Count = 500
    text_chars: Count = 20_000
    tag_chars: Count = 200
    tags: Count = 200
    image_chars: Count = 2_048


class EventColumns(Section):
    """Which column holds what of an event."""

    user: str
    item: str
    event_id: str | None = None
    type: str | None = None
    value: str | None = None
    text: str | None = None
    time: str | None = None
    order: str | None = None
    """A whole number that orders a user's events, where there is no time."""


class ItemMap(Source):
    """A table that turns the event files' item ids into the catalogue's."""

    source: str
    target: str


class EventsDescription(Source):
    """The event files: `type` for all of them or a type column, whose values `types` may rename."""

    columns: EventColumns
    type: EventType | None = None
    types: dict[str, EventType] = {}
    time_unit: TimeUnit = "seconds"
    item_map: ItemMap | None = None

    @model_validator(mode="after")
    def _a_type_is_given(self) -> "EventsDescription":
        if (self.type is None) == (self.columns.type is None):
            raise ValueError("give either `type: rating` for all events or `columns: {type: …}`")
        if self.type == "rating" and self.columns.value is None:
            raise ValueError("ratings need `columns: {value: …}`")
        if self.columns.time and self.columns.order:
            raise ValueError("give `time` or `order`, not both")
        return self


class CatalogDescription(Source):
    """A catalogue: its files and columns, how the passage text is built, and past events."""

    domain: str | None = None
    columns: ItemColumns
    passage: str | None = None
    limits: CatalogLimits = CatalogLimits()
    events: EventsDescription | None = None

    @model_validator(mode="after")
    def _the_passage_names_known_fields(self) -> "CatalogDescription":
        known = {"title", *self.columns.kinds}
        for name in placeholders(self.passage or ""):
            if name not in known:
                raise ValueError(
                    f"{{{name}}} in the passage is no field; there are {', '.join(sorted(known))}"
                )
        return self


def load_description(path: Path, folder: Path | None = None) -> CatalogDescription:
    """The description in a YAML file; its paths start in `folder`, or else in the file's own.

    Raises `InvalidCatalog` with file, field and remedy.
    """
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise InvalidCatalog(
            f"cannot read the catalogue description {path}: {cause}. {_FILE_HELP}", file=str(path)
        ) from cause
    if not isinstance(document, dict):
        raise InvalidCatalog(f"{path} holds no catalogue description. {_FILE_HELP}", file=str(path))
    try:
        return CatalogDescription.model_validate(
            document, context={"folder": folder or path.parent}
        )
    except ValidationError as cause:
        raise _named_error(path, cause) from cause


def _named_error(path: Path, cause: ValidationError) -> InvalidCatalog:
    first = cause.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "description"
    remedy = {
        "missing": "Add it.",
        "extra_forbidden": "Remove it, or correct its name.",
    }.get(first["type"], "Correct it.")
    problem = first["msg"].removeprefix("Value error, ")
    return InvalidCatalog(f"{path}, {field}: {problem}. {remedy}", file=str(path), field=field)
