"""A small catalogue that every suite ingests: forty films, twelve users."""

from pathlib import Path

WORDS = ("space", "love", "war", "music", "crime", "family", "robot", "ocean")
SLASHED = "films/a b"


def catalogue(folder: Path, items: int = 40) -> Path:
    """Films about two words each, one with a slash in its id, and users with likes."""
    films = ["id,title,genres,year,plot"]
    for n in range(items):
        first, second = WORDS[n % 8], WORDS[(n // 8) % 8]
        item_id = SLASHED if n == items - 1 else f"f{n:02}"
        films.append(f"{item_id},Film {n},{first}|{second},{1980 + n},Of {first} and {second}.")
    (folder / "films.csv").write_text("\n".join(films) + "\n")
    likes = ["user,item,time"]
    for user in range(12):
        likes += [f"u{user},f{user % 7 + 8 * k:02},{1_000_000 + 100 * user + k}" for k in range(4)]
    (folder / "likes.csv").write_text("\n".join(likes) + "\n")
    description = folder / "films.yaml"
    description.write_text(
        """
files: films.csv
columns: {id: id, title: title, text: [plot], tags: [genres], numbers: [year]}
events:
  files: likes.csv
  columns: {user: user, item: item, time: time}
  type: like
"""
    )
    return description
