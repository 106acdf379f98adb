"""Which keys an object store accepts: the same everywhere, so a folder can move to S3 and back."""

from llmrec_ray.errors import InvalidInput

MAX_KEY_BYTES = 800  # S3 allows 1,024 with the prefix
MAX_NAME_BYTES = 255  # what file systems allow between two slashes


def check_key(key: str) -> None:
    """Raise `InvalidInput` unless the key is relative, `/`-separated, and safe as a file's path.

    No name may be empty or start with a dot: that rules out `.` and `..`, and keeps dot names for a
    store's own use.
    """
    if problem := _problem(key) or _problem_of_names(key.split("/")):
        raise InvalidInput(
            f"object key {key!r}: {problem}. Use names joined by `/`, such as `objects/ab/abcd`.",
            key=ascii(key),
        )


def check_prefix(prefix: str) -> None:
    """Raise `InvalidInput` unless a key could start with the prefix; it may end inside a name."""
    *whole, cut = prefix.split("/")
    if problem := _problem(prefix) or _problem_of_names([*whole, cut] if cut else whole):
        raise InvalidInput(f"prefix {prefix!r} of object keys: {problem}.", key=ascii(prefix))


def _problem(text: str) -> str | None:
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        return "it holds a control character"
    if "\\" in text:
        return "it holds a backslash"
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    return f"it is longer than {MAX_KEY_BYTES} bytes" if size > MAX_KEY_BYTES else None


def _problem_of_names(names: list[str]) -> str | None:
    for name in names:
        if not name:
            return "it holds an empty name"
        if name.startswith("."):
            return "a name in it starts with a dot"
        if len(name.encode()) > MAX_NAME_BYTES:
            return f"a name in it is longer than {MAX_NAME_BYTES} bytes"
    return None
