"""Every error that this package raises on purpose, as one tree.

    LLMRecError                    internal
    ├── InvalidInput               invalid_input          the caller sent something unusable
    │   ├── InvalidFilter          invalid_filter
    │   ├── InvalidCatalog         invalid_catalog        names file, row and remedy
    │   ├── InvalidSettings        invalid_settings
    │   └── TooLarge               too_large              a body, text or list over its limit
    ├── NotFound                   not_found
    │   ├── ItemNotFound           item_not_found
    │   ├── GenerationNotFound     generation_not_found
    │   └── Erased                 erased                 it was there, and was forgotten
    ├── Conflict                   conflict
    │   ├── EventConflict          event_conflict         the same event id with another body
    │   ├── VersionConflict        version_conflict       the item has another version
    │   ├── NotReplayable          not_replayable         what it was computed from is not at hand
    │   └── WorseGeneration        worse_generation       training made a worse one
    ├── EncoderMismatch            encoder_mismatch       a generation of another embedding model
    ├── Corrupt                    corrupt                an object does not match its checksum
    ├── GenerationMissing          generation_missing     a shard does not hold the generation
    └── Unavailable                unavailable            a needed part does not answer
        ├── Overloaded             overloaded             a bounded queue is full
        ├── StoreUnavailable       store_unavailable      not reachable, no bucket, no access
        ├── EventStoreUnavailable  event_store_unavailable
        ├── StreamUnavailable      stream_unavailable     the message broker does not answer
        ├── EmbedderUnavailable    embedder_unavailable
        ├── GeneratorUnavailable   generator_unavailable
        ├── SearchUnavailable      search_unavailable     no shard answered
        └── NotReady               not_ready              no generation is loaded yet

A message says what is wrong, which thing it is about, and what to do next. `code` is stable;
`serve/http/problems.py` alone maps codes to HTTP. `details` hold what a program may want: a field's
name, a limit, a key.
"""


class LLMRecError(Exception):
    """Root of every error this package raises on purpose."""

    code = "internal"

    def __init__(self, message: str, **details: str | int) -> None:
        super().__init__(message)
        self.details = details

    def __reduce__(
        self,
    ) -> tuple[object, ...]:  # errors cross replicas, and Ray moves them by pickle
        return _rebuild, (type(self), str(self), self.details)


def _rebuild(kind: type[LLMRecError], message: str, details: dict[str, str | int]) -> LLMRecError:
    return kind(message, **details)


class InvalidInput(LLMRecError):
    """The caller sent something that cannot be used."""

    code = "invalid_input"


class InvalidFilter(InvalidInput):
    """A filter names an unknown field or compares it with a value of the wrong kind."""

    code = "invalid_filter"


class InvalidCatalog(InvalidInput):
    """A catalogue or event file cannot be used."""

    code = "invalid_catalog"


class InvalidSettings(InvalidInput):
    """The settings cannot be read or do not fit together."""

    code = "invalid_settings"


class TooLarge(InvalidInput):
    """A body, a text or a list is over its limit."""

    code = "too_large"


class NotFound(LLMRecError):
    """The thing asked for does not exist."""

    code = "not_found"


class ItemNotFound(NotFound):
    """The current generation has no such item."""

    code = "item_not_found"


class GenerationNotFound(NotFound):
    """No generation of that name was published."""

    code = "generation_not_found"


class Erased(NotFound):
    """It was stored, and an erasure took it away."""

    code = "erased"


class Conflict(LLMRecError):
    """The request contradicts what is stored."""

    code = "conflict"


class EventConflict(Conflict):
    """An event id was used before with another body."""

    code = "event_conflict"


class VersionConflict(Conflict):
    """An item has another version than the one that a change was made for."""

    code = "version_conflict"


class NotReplayable(Conflict):
    """A stored recommendation cannot be computed again: its generation or its question is away."""

    code = "not_replayable"


class WorseGeneration(Conflict):
    """A candidate ranks later events worse than the live generation."""

    code = "worse_generation"


class EncoderMismatch(LLMRecError):
    """A generation was made with another embedding model than the one configured."""

    code = "encoder_mismatch"


class Corrupt(LLMRecError):
    """A stored object does not match its checksum."""

    code = "corrupt"


class GenerationMissing(LLMRecError):
    """A shard does not hold the generation it was asked for."""

    code = "generation_missing"


class Unavailable(LLMRecError):
    """A part that is needed does not answer; trying again later may help."""

    code = "unavailable"


class Overloaded(Unavailable):
    """A bounded queue is full."""

    code = "overloaded"


class StoreUnavailable(Unavailable):
    """The object store cannot be reached or used."""

    code = "store_unavailable"


class EventStoreUnavailable(Unavailable):
    """The event store cannot be reached or used."""

    code = "event_store_unavailable"


class StreamUnavailable(Unavailable):
    """The message broker cannot be reached or used."""

    code = "stream_unavailable"


class EmbedderUnavailable(Unavailable):
    """No embedding replica answers."""

    code = "embedder_unavailable"


class GeneratorUnavailable(Unavailable):
    """The text generator does not answer in time."""

    code = "generator_unavailable"


class SearchUnavailable(Unavailable):
    """No shard answered."""

    code = "search_unavailable"


class NotReady(Unavailable):
    """The service has no generation loaded yet."""

    code = "not_ready"
