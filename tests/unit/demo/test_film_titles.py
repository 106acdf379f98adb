import pytest

from demo.films import Index


def index() -> Index:
    films = Index()
    for film, title, year in [
        ("Q1", "The Matrix", 1999),
        ("Q2", "Amélie", 2001),
        ("Q3", "Star Wars: Episode IV – A New Hope", 1977),
        ("Q4", "Star Trek II: The Wrath of Khan", 1982),
        ("Q5", "Rage", 2009),
        ("Q6", "Rage", 2009),
        ("Q7", "Twice", 1990),
        ("Q8", "Twice", 1992),
        ("Q9", "Dr. Strangelove", 1964),
        ("Q10", "The Kid: The Movie", 1995),
        ("Q11", "千と千尋の神隠し", 2001),
    ]:
        films.add(film, title, year)
    return films


@pytest.mark.parametrize(
    ("title", "year", "film"),
    [
        ("Matrix, The", "1999", "Q1"),
        ("MATRIX", "1999", "Q1"),
        ("Matrix, The", "2000", "Q1"),
        ("Matrix, The", "2001", None),
        ("Fabuleux destin d'Amélie Poulain, Le (Amelie)", "2001", "Q2"),
        ("Star Wars", "1977", "Q3"),
        ("New Hope, A", "1977", "Q3"),
        ("Star Trek: The Wrath of Khan", "1982", "Q4"),
        ("Rage", "2009", None),
        ("Twice", "1991", None),
        ("Twice", "1990", "Q7"),
        ("Dr. Strangelove or: How I Learned to Stop Worrying", "1963", "Q9"),
        ("Other: The Movie", "1995", None),
        ("千と千尋の神隠し", "2001", "Q11"),
        ("unknown", "", None),
    ],
)
def test_a_film_is_found_by_title_and_year_or_not_at_all(
    title: str, year: str, film: str | None
) -> None:
    assert index().find(title, year) == film
