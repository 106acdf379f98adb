"""A YAML file or Serve's `args` in, overridden by `LLMREC_…` variables; the settings tree out.

The only module that reads the environment. Nested names join with two underscores:
`LLMREC_OBJECT_STORE__URL=s3://bucket/prefix`. Credentials come from the environment or from files
alone (`credentials`), never from this tree, so the tree can be logged and passed around.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.types import EventType, IndexKind, Runtime

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Subject = Annotated[str, Field(pattern=r"^[^\s.*>]+(\.[^\s.*>]+)*$")]
Name = Annotated[str, Field(pattern=r"^[^\s.*>/\\]+$")]
Sasl = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
TEXT_TOKENS = 512  # an encoder reads no more of one text


class Section(BaseModel):
    """A part of the tree: unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DeploymentSettings(Section):
    """Where the service runs: on one machine, or on several that share nothing but its stores."""

    kind: Literal["local", "cluster"] = "local"


class ObjectStoreSettings(Section):
    """Where generations live: `file:///folder`, `file://relative/folder` or `s3://bucket/prefix`."""

    url: str = "file://var/objects"
    endpoint: str = "s3.amazonaws.com"
    secure: bool = True
    region: str = "us-east-1"
    timeout_s: Seconds = 10


class EventStoreSettings(Section):
    """Where events live: a SQLAlchemy URL, SQLite on one host or PostgreSQL for a cluster."""

    url: str = "sqlite:///var/events.db"
    timeout_s: Seconds = 5
    recommendations_ttl_s: Seconds = 7 * 86400
    pending_recommendations: Count = 10_000


class EmbeddingSettings(Section):
    """Which encoder makes text vectors: a preset, a hub name, a folder, or `package:path`."""

    model: str = "all-MiniLM-L6-v2"
    runtime: Runtime = "torch"
    query_prefix: str | None = None
    passage_prefix: str | None = None
    cache: Path = Path("var/embedding-cache")
    batch: Count = 32
    batch_tokens: Annotated[int, Field(ge=TEXT_TOKENS)] = 1024
    batch_wait_s: float = Field(default=0.002, ge=0)
    threads: Count = 1
    workers: Count = 1
    deadline_s: Seconds = 2
    query_cache: int = Field(default=10_000, ge=0)


class LearningSettings(Section):
    """How taste, neighbours and the prior are learned and mixed.

    What `tune_…` trials choose for a catalogue is stored in its generation; `recency`, `ridge` and
    `mix_…` are what they start from, and what stays where events are too few to choose.
    """

    event_weights: dict[EventType, float] = {
        "view": 0.2,
        "click": 0.3,
        "like": 1.0,
        "dislike": -1.0,
        "rating": 1.0,
        "review": 0.5,
        "purchase": 1.0,
    }
    rating_scale: tuple[float, float] = (1.0, 5.0)
    low_rating: float = Field(default=0.2, ge=0, le=1)
    review_text: float = Field(default=1.0, ge=0, le=10)
    recency: float = Field(default=0.85, ge=0.6, le=0.98)
    ridge: float = Field(default=3.0, ge=0.3, le=30)
    company: float = Field(default=0.3, ge=0.01, le=10)
    window: Count = 10
    taste_dim: Count = 128
    neighbours: Count = 50
    min_support: Count = 1
    cold_ridge: float = Field(default=3.0, gt=0)
    mix_text: float = Field(default=0.1, ge=0.003, le=3)
    mix_prior: float = Field(default=0.1, ge=0.003, le=3)
    prior_fade: float = Field(default=2.0, ge=0.1, le=30)
    mix_query: float = Field(default=6.0, ge=0)
    tune_maps: int = Field(default=12, ge=0)
    tune_mixes: int = Field(default=40, ge=0)
    tune_asks: Count = 1_000
    seed: int = 13


class SearchSettings(Section):
    """The search group: its size, how long a caller waits, how often replicas look around."""

    shards: Annotated[int, Field(ge=1, le=1024)] = 2
    index: IndexKind = "auto"
    originals: Path | None = None
    deadline_s: Seconds = 1.0
    hedge_after_s: Seconds = 0.1
    poll_s: Seconds = 1.0
    shared_call: Count = 32
    pending: Count = 512


class ItemSettings(Section):
    """Live items: how often shards look for changes, how long a few texts may take to embed."""

    poll_s: Seconds = 0.2
    deadline_s: Seconds = 10


class UserSettings(Section):
    """How much of a user's history counts."""

    history: Annotated[int, Field(ge=1, le=500)] = 500
    cached: Count = 10_000


class ExplainSettings(Section):
    """The language model that writes explanations; a preset name, a hub name or a folder."""

    model: str = "SmolLM2-135M-Instruct"
    deadline_s: Seconds = 6
    max_tokens: Count = 64
    context: Count = 1024
    streams: Count = 16
    threads: Count = 1
    kv_cache_gib: Count = 1
    evidence: Count = 2
    temperature: float = Field(default=0.7, ge=0)


class LimitSettings(Section):
    """What one request may hold, and how many may come."""

    body_bytes: Count = 1_000_000
    text_chars: Count = 2_000
    id_chars: Count = 256
    limit: Count = 100
    ids: Count = 1_000
    events: Count = 1_000
    items: Count = 100
    session: Count = 500
    filter_terms: Count = 50
    explained: Count = 20
    body_s: Seconds = 10
    in_flight: Count = 256
    requests_per_s: Annotated[float, Field(gt=0)] | None = None
    burst: Count = 50


class HttpSettings(Section):
    """Where the admin routes listen; without a port, beside the others."""

    admin_host: str = "127.0.0.1"
    admin_port: Annotated[int, Field(ge=1, le=65535)] | None = None


class StreamSettings(Section):
    """The message broker that `llmrec consume` reads from, and how."""

    url: str = "nats://127.0.0.1:4222"
    stream: Name = "LLMREC"
    events: Subject | None = "llmrec.events"
    items: Subject | None = None
    consumer: Name = "llmrec"
    dead_letters: Subject = "llmrec.dead"
    sasl: Sasl = "PLAIN"
    batch: Count = 500
    wait_s: Seconds = 1
    ack_wait_s: Annotated[float, Field(ge=1)] = 60
    timeout_s: Annotated[float, Field(ge=1)] = 5
    retry_s: Seconds = 30
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subjects that are read."""
        return tuple(one for one in (self.events, self.items) if one is not None)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if "@" in self.url:
            raise InvalidSettings(
                "setting streams.url holds a user or a password. Give them as LLMREC_STREAMS_USER"
                " and LLMREC_STREAMS_PASSWORD, or LLMREC_STREAMS_TOKEN (or …_FILE).",
                field="streams.url",
            )
        if not self.subjects:
            raise InvalidSettings(
                "settings streams.events and streams.items are both null, so there is nothing to"
                " read. Name a subject for one of them.",
                field="streams.events",
            )
        if len({*self.subjects, self.dead_letters}) <= len(self.subjects):
            raise InvalidSettings(
                f"settings streams.events ({self.events}), streams.items ({self.items}) and"
                f" streams.dead_letters ({self.dead_letters}) must differ: what cannot be used"
                " would come again without end. Give each its own.",
                field="streams.dead_letters",
            )
        return self


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="LLMREC_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    deployment: DeploymentSettings = DeploymentSettings()
    object_store: ObjectStoreSettings = ObjectStoreSettings()
    event_store: EventStoreSettings = EventStoreSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    learning: LearningSettings = LearningSettings()
    search: SearchSettings = SearchSettings()
    items: ItemSettings = ItemSettings()
    users: UserSettings = UserSettings()
    explain: ExplainSettings = ExplainSettings()
    limits: LimitSettings = LimitSettings()
    http: HttpSettings = HttpSettings()
    streams: StreamSettings = StreamSettings()

    @model_validator(mode="after")
    def _stores_fit_the_deployment(self) -> Self:
        """A cluster's nodes must all see the same stores, or an event is lost to all but one."""
        if self.deployment.kind == "cluster":
            if self.object_store.url.lower().startswith("file:"):
                raise InvalidSettings(
                    "setting object_store.url names a folder, which other nodes of a cluster do"
                    " not see: name a bucket, such as s3://bucket/prefix, or set deployment.kind"
                    " to local.",
                    field="object_store.url",
                )
            if self.event_store.url.lower().startswith("sqlite"):
                raise InvalidSettings(
                    "setting event_store.url names SQLite, which works on one host alone: name a"
                    " PostgreSQL database, such as postgresql+psycopg://user@host/database, or set"
                    " deployment.kind to local.",
                    field="event_store.url",
                )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings  # the environment wins over the file


def load_settings(path: Path | None = None) -> Settings:
    """Settings from a YAML file (or the one `LLMREC_SETTINGS` names) and the environment."""
    source = path or (Path(named) if (named := os.environ.get("LLMREC_SETTINGS")) else None)
    try:
        values: object = yaml.safe_load(source.read_text("utf-8")) if source else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise InvalidSettings(
            f"cannot read settings from {source}: {cause}. It must be a UTF-8 YAML file."
        ) from cause
    values = values or {}
    if not isinstance(values, dict):
        raise InvalidSettings(
            f"{source} must hold a mapping of sections, such as `search: {{shards: 2}}`."
        )
    return settings_of(cast("dict[str, Any]", values))


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Settings from values as a file or Serve's `args` hold them, and the environment."""
    try:
        return Settings(**values)
    except ValidationError as cause:
        first = cause.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InvalidSettings(
            f"setting {name}: {first['msg']}. See docs/configuration.md.", field=name
        ) from cause


class Credentials(BaseModel):
    """Access to the object store; never printed."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    access_key: str = Field(repr=False)
    secret_key: str = Field(repr=False)


def credentials() -> Credentials:
    """From `LLMREC_S3_ACCESS_KEY` and `LLMREC_S3_SECRET_KEY`, or the files that `…_FILE` names."""
    return Credentials(
        access_key=_secret("LLMREC_S3_ACCESS_KEY"), secret_key=_secret("LLMREC_S3_SECRET_KEY")
    )


@dataclass(frozen=True, slots=True)
class StreamAccess:
    """What a message broker is shown: a user and a password, or a token, or nothing."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


def stream_access() -> StreamAccess:
    """From `LLMREC_STREAMS_USER`, `…_PASSWORD` and `…_TOKEN`, or the files `…_FILE` names."""
    found = StreamAccess(
        user=_given("LLMREC_STREAMS_USER"),
        password=_given("LLMREC_STREAMS_PASSWORD"),
        token=_given("LLMREC_STREAMS_TOKEN"),
    )
    if (found.user is None) != (found.password is None):
        raise InvalidSettings(
            "LLMREC_STREAMS_USER and LLMREC_STREAMS_PASSWORD (or …_FILE) go together: set both,"
            " or none.",
            field="LLMREC_STREAMS_USER",
        )
    return found


def _secret(name: str) -> str:
    if value := _given(name):
        return value
    raise InvalidSettings(
        f"the object store needs credentials: set {name} or {name}_FILE.", field=name
    )


def _given(name: str) -> str | None:
    if value := os.environ.get(name):
        return value
    if path := os.environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as cause:
            raise InvalidSettings(f"{name}_FILE names {path}, which cannot be read.") from cause
    return None


@dataclass(frozen=True, slots=True)
class Source:
    """A text that the environment gave, and what it is called in errors."""

    name: str
    text: str = field(repr=False)


def api_keys_source() -> Source | None:
    """`LLMREC_API_KEYS`, or the file that `LLMREC_API_KEYS_FILE` names; None where neither is set.

    One that is set and empty is still one: a secret that went missing must not open the service.
    """
    name = "LLMREC_API_KEYS"
    text, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if text is not None and path is not None:
        raise InvalidSettings(f"both {name} and {name}_FILE are set; unset one.", field=name)
    if path is None:
        return None if text is None else Source(name, text)
    try:
        return Source(f"{path} ({name}_FILE)", Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as cause:
        raise InvalidSettings(
            f"{name}_FILE names {path!r}, which cannot be read. Name a UTF-8 file that this user"
            " may read, or unset it."
        ) from cause
