"""Reading sources: class folders, manifests, and names of every kind."""

import json
import os
from pathlib import Path, PurePath

import pytest

from labeling.errors import UnknownTaxonomy, WrongUsage
from labeling.importers.folders import read_folder
from labeling.importers.manifests import read_manifest
from labeling.importers.paths import absolute_path, escape, unescape
from labeling.importers.records import Found
from labeling.taxonomies import BUILT_IN, fitting_taxonomy, load_taxonomy
from tests.builders import write_picture


def rows(found: Found) -> list[tuple[str, str, str, str]]:
    return [(record.stored_path, record.label, record.split, record.source) for record in found.records]


def refusals(found: Found) -> dict[str, str]:
    return {refusal.path: refusal.code for refusal in found.refusals}


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def test_class_folders_without_splits(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "neutral/b.jpg", "drawings/a.jpg")
    assert rows(read_folder(root)) == [
        ("drawings/a.jpg", "drawings", "", "set"),
        ("neutral/b.jpg", "neutral", "", "set"),
    ]


def test_label_studios_export_finds_its_images_below_the_folder(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "sub/b c.jpg", "a.jpg")

    def item(image: str, *choices: str) -> dict[str, object]:
        result = [{"type": "choices", "value": {"choices": list(choices)}}]
        return {"data": {"image": image}, "annotations": [{"result": result}]}

    items = [
        item("/data/local-files/?d=where/sub/b%20c.jpg", "neutral"),
        item("https://host.example/data/upload/1/1a2b3c4d-a.jpg", "porn"),
        item("s3://bucket/gone.jpg", "porn"),
        item("both.jpg", "porn", "sexy"),
    ]
    manifest = tmp_path / "export.json"
    manifest.write_text(json.dumps(items))
    found = read_manifest(manifest, root)
    assert [(record.stored_path, record.label) for record in found.records] == [
        ("a.jpg", "porn"),
        ("bucket/gone.jpg", "porn"),
        ("sub/b c.jpg", "neutral"),
    ]
    assert refusals(found) == {"both.jpg": "bad_row"}


@pytest.mark.parametrize(("folder", "split"), [("train", "train"), ("val", "validation"), ("Valid", "validation")])
def test_split_folders_and_their_other_names(tmp_path: Path, folder: str, split: str) -> None:
    root = touch(tmp_path / "set", f"{folder}/neutral/a.jpg")
    assert [row[2] for row in rows(read_folder(root))] == [split]


def test_a_split_in_a_file_or_class_name_means_nothing(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "neutral/test_train.jpg", "neutral/train/x.jpg")
    assert [(row[1], row[2]) for row in rows(read_folder(root))] == [("neutral", ""), ("neutral", "")]


def test_the_scraper_s_folders_name_the_source(tmp_path: Path) -> None:
    root = touch(tmp_path / "raw_data", "neutral/IMAGES/a.jpg", "neutral/host.example/b.jpg")
    assert rows(read_folder(root)) == [
        ("neutral/IMAGES/a.jpg", "neutral", "", "raw_data"),
        ("neutral/host.example/b.jpg", "neutral", "", "host.example"),
    ]


def test_an_unknown_split_is_refused_with_the_nearest_name_and_the_rest_goes_on(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "train/neutral/a.jpg", "tset/neutral/b.jpg")
    found = read_folder(root)
    assert refusals(found) == {"tset": "unknown_split"}
    assert "Did you mean test?" in found.refusals[0].reason
    assert len(found.records) == 1


def test_set_aside_and_hidden_folders_are_passed_over_and_named(tmp_path: Path) -> None:
    root = touch(
        tmp_path / "set", "mistakes/neutral/a.jpg", "neutral/false_positives/b.jpg", "neutral/.c.jpg", ".git/x"
    )
    found = read_folder(root)
    assert not found.records
    assert {refusal.path for refusal in found.passed_over} == {
        ".git",
        "mistakes",
        "neutral/.c.jpg",
        "neutral/false_positives",
    }


def test_a_file_outside_any_class_folder_is_refused(tmp_path: Path) -> None:
    found = read_folder(touch(tmp_path / "set", "stray.jpg", "neutral/a.jpg"))
    assert refusals(found) == {"stray.jpg": "no_class"}


def test_links_that_leave_the_source_are_not_followed(tmp_path: Path) -> None:
    outside = write_picture(tmp_path / "outside" / "secret.png")
    root = touch(tmp_path / "set", "neutral/a.jpg")
    (root / "neutral" / "escape.png").symlink_to(outside)
    (root / "neutral" / "folder").symlink_to(outside.parent)
    (root / "drawings").symlink_to(outside.parent)
    (root / "neutral" / "gone.png").symlink_to(root / "nothing.png")
    (root / "neutral" / "twin.png").symlink_to(root / "neutral" / "a.jpg")
    found = read_folder(root)
    assert refusals(found) == {
        "drawings": "link_leaves",
        "neutral/escape.png": "link_leaves",
        "neutral/folder": "link_leaves",
        "neutral/gone.png": "broken_link",
    }
    assert [row[0] for row in rows(found)] == ["neutral/a.jpg", "neutral/twin.png"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="taking rights away from oneself needs root")
def test_an_unreadable_folder_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "neutral/a.jpg", "drawings/b.jpg")
    for folder in (root, tmp_path, *tmp_path.parents):
        if "pytest" in str(folder):
            folder.chmod(0o755)
    (root / "drawings").chmod(0)
    os.seteuid(65534)
    try:
        found = read_folder(root)
    finally:
        os.seteuid(0)
    assert refusals(found) == {"drawings": "unreadable"}
    assert len(found.records) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_with_newlines_and_bytes_that_are_not_utf8_survive(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "neutral"
    folder.mkdir(parents=True)
    names = [b"two\nlines.jpg", b"latin-\xe9.jpg", b"back\\slash.jpg", "snow-☃.jpg".encode()]
    for name in names:
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).write_bytes(b"x")
    found = read_folder(tmp_path / "set")
    stored = {record.stored_path for record in found.records}
    assert stored == {
        "neutral/two\\x0alines.jpg",
        "neutral/latin-\\xe9.jpg",
        "neutral/back\\x5cslash.jpg",
        "neutral/snow-☃.jpg",
    }
    for path in stored:
        assert absolute_path(str(tmp_path / "set"), path).read_bytes() == b"x"


@pytest.mark.parametrize("name", ["plain.jpg", "a\\x41.jpg", "\\", "tab\tnew\nline", "\udcff\udc80", "é\u2028\x85"])
def test_every_name_comes_back_from_its_stored_form(name: str) -> None:
    stored = escape(PurePath("class", name))
    stored.encode()
    assert "\n" not in stored
    assert unescape(stored) == PurePath("class", name)


def test_a_stored_path_cannot_lead_out_of_its_root(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(ValueError, match="leads out"):
        absolute_path(str(tmp_path / "set"), "../secret.jpg")


def test_a_csv_manifest(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "x/1.jpg", "x/2.jpg")
    manifest = tmp_path / "labels.csv"
    manifest.write_text("\ufeffPath,Label,split,source\nx/2.jpg, porn ,val,host.example\nx/1.jpg,neutral,,\n")
    assert rows(read_manifest(manifest, root)) == [
        ("x/1.jpg", "neutral", "", "set"),
        ("x/2.jpg", "porn", "validation", "host.example"),
    ]


def test_a_jsonl_manifest_with_bad_rows(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "1.jpg")
    manifest = tmp_path / "labels.jsonl"
    lines = [
        json.dumps({"path": "1.jpg", "label": "neutral"}),
        "not json",
        json.dumps({"path": "1.jpg", "label": "porn"}),
        json.dumps({"path": "../../etc/passwd", "label": "neutral"}),
        json.dumps({"path": "2.jpg"}),
        json.dumps({"path": "3.jpg", "label": "neutral", "split": "tran"}),
    ]
    manifest.write_text("\n".join(lines))
    found = read_manifest(manifest, root)
    assert [row[:2] for row in rows(found)] == [("1.jpg", "neutral")]
    assert sorted(refusals(found).values()) == ["bad_row", "bad_row", "link_leaves", "listed_twice", "unknown_split"]
    assert any("line 6" in refusal.reason and "train" in refusal.reason for refusal in found.refusals)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.csv", b"file,class\n", "needs the columns path and label"),
        ("labels.csv", b"", "received an empty file"),
        ("labels.csv", b"path,label\n\xff\xfe\n", "not UTF-8"),
        ("labels.txt", b"path,label\n", "must end in .csv, .tsv, .jsonl or .json"),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WrongUsage, match=message):
        read_manifest(tmp_path / name, tmp_path)


def test_the_built_in_taxonomies_have_the_fields_order() -> None:
    assert BUILT_IN == ("binary", "five", "seven")
    assert load_taxonomy("five").names == ("drawings", "hentai", "neutral", "porn", "sexy")
    assert load_taxonomy("binary").names == ("sfw", "nsfw")
    assert load_taxonomy("seven").names[:2] == ("nsfw_cartoon", "nsfw_nudity")
    assert len(load_taxonomy("seven").classes) == 7


def test_aliases_name_their_class_in_any_letter_case() -> None:
    five = load_taxonomy("five")
    assert five.resolve("Drawing") == five.resolve("DRAWINGS") == "drawings"
    assert five.resolve("cat") is None


def test_a_custom_taxonomy_keeps_the_order_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "Pets 2.json"
    path.write_text(json.dumps({"classes": ["zebra", {"name": "cat", "group": "small", "harm_rank": 0}]}))
    spec = load_taxonomy(str(path))
    assert (spec.slug, spec.names) == ("pets-2", ("zebra", "cat"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("classes = []", "non-empty list"),
        ("classes = [", "not valid TOML"),
        ('classes = ["a", "a"]', "twice: a"),
        ('[[classes]]\nname = "a"\nharm_rank = -1', "harm_rank of a"),
        ('[[classes]]\nname = "a"\ncolour = "red"', "unknown key 'colour'"),
        ('[[classes]]\nname = "a"\naliases = ["x"]\n[[classes]]\nname = "b"\naliases = ["X"]', "stands for both"),
    ],
)
def test_a_taxonomy_file_with_a_fault_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "own.toml").write_text(content)
    with pytest.raises(UnknownTaxonomy, match=message):
        load_taxonomy(str(tmp_path / "own.toml"))


def test_an_unknown_taxonomy_names_the_nearest() -> None:
    with pytest.raises(UnknownTaxonomy, match="Did you mean five"):
        load_taxonomy("fife")


def test_the_taxonomy_that_fits_the_folders_is_found() -> None:
    assert fitting_taxonomy(["Neutral", "porn"]).slug == "five"
    assert fitting_taxonomy(["nsfw", "sfw"]).slug == "binary"
    with pytest.raises(UnknownTaxonomy, match=r'(?s)cat, dog.*name = "cat"'):
        fitting_taxonomy(["dog", "cat"])
