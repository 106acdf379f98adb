"""Model references: what each kind becomes, and what a wrong one says."""

import threading
from pathlib import Path

import pytest

from llmrec_ray import models
from llmrec_ray.errors import InvalidSettings
from llmrec_ray.models import Preset, local_model


def test_a_folder_is_itself(tmp_path: Path):
    assert local_model(str(tmp_path)) == str(tmp_path)


def test_a_hub_name_comes_back_where_the_hub_may_be_used():
    assert local_model("BAAI/bge-m3") == "BAAI/bge-m3"


@pytest.mark.parametrize("reference", ["BAAI/bge-m3", "./models/mine", "/nowhere/at/all", ""])
def test_a_reference_to_nothing_lists_what_there_is(reference: str):
    with pytest.raises(InvalidSettings, match=r"all-MiniLM-L6-v2.*an existing folder"):
        local_model(reference, hub=False)


def test_a_path_that_does_not_exist_is_no_hub_name():
    with pytest.raises(InvalidSettings, match="names nothing here"):
        local_model("./models/mine")


def test_a_package_reference_finds_files_without_importing_the_package():
    assert Path(local_model("package:llmrec_ray/conversions")).is_dir()


def test_a_package_that_is_missing_says_how_to_install_it():
    with pytest.raises(InvalidSettings, match=r"no_such_package is not installed.*make setup"):
        local_model("package:no_such_package/model")


def test_a_package_without_the_file_says_so():
    with pytest.raises(InvalidSettings, match="package llmrec_ray has no weights"):
        local_model("package:llmrec_ray/weights")


class Converter:
    """Writes one file, and counts its calls; the first `failures` of them end halfway."""

    def __init__(self, failures: int = 0) -> None:
        self.calls = 0
        self._failures = failures

    def __call__(self, source: Path, target: Path) -> None:
        self.calls += 1
        (target / "half").touch()
        if self.calls <= self._failures:
            raise OSError("disk full")
        (target / "model").write_text(source.name)


def preset(monkeypatch: pytest.MonkeyPatch, converter: Converter) -> None:
    packaged = Preset("package:llmrec_ray/models.py", converter)
    monkeypatch.setattr(models, "PRESETS", {"packaged": packaged})


def test_a_conversion_happens_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    preset(monkeypatch, converter := Converter())
    found = {local_model("packaged", folder=tmp_path / "models") for _ in range(3)}
    assert found == {str(tmp_path / "models" / "packaged")}
    assert (tmp_path / "models" / "packaged" / "model").read_text() == "models.py"
    assert converter.calls == 1


def test_racing_conversions_share_one_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    preset(monkeypatch, converter := Converter())
    start = threading.Barrier(4)

    def race() -> None:
        start.wait()
        local_model("packaged", folder=tmp_path)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert converter.calls == 1


def test_an_unfinished_conversion_is_never_taken_for_a_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    preset(monkeypatch, converter := Converter(failures=1))
    with pytest.raises(OSError, match="disk full"):
        local_model("packaged", folder=tmp_path)
    assert not (tmp_path / "packaged").exists()
    assert (Path(local_model("packaged", folder=tmp_path)) / "model").exists()
    assert converter.calls == 2
