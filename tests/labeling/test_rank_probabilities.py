"""`rank_probabilities`: arrays in a file → a ranked CSV, without a database."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from inference.label_quality import label_quality

LABELS = np.random.default_rng(0).integers(4, size=200).astype(np.int16)
NAMES = np.array(["axe, long", "bow", "cow", "dog"])


def probabilities(seed: int, noise: float = 1.0) -> np.ndarray:
    """Of a model that calls every tenth label wrong."""
    rng = np.random.default_rng(seed)
    truth = np.where(np.arange(200) % 10 == 3, (LABELS + 1) % 4, LABELS)
    logits = 3 * np.eye(4)[truth] + noise * rng.normal(size=(200, 4))
    shares = np.exp(logits)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(tmp_path / "one.npz")


def saved(path: Path, **arrays: Any) -> Path:
    held = {"given_labels": LABELS, "pred_probs": probabilities(1)} | arrays
    np.savez(path, **{key: value for key, value in held.items() if value is not None})
    return path


def rank(*arguments: Any) -> str:
    out = io.StringIO()
    call_command("rank_probabilities", *map(str, arguments), stdout=out)
    return out.getvalue()


def refusal(*arguments: Any) -> str:
    """The one line of a refused call; nothing may have been written."""
    with pytest.raises(CommandError) as caught:
        rank(*arguments)
    assert caught.value.returncode == 2
    message = str(caught.value)
    assert "\n" not in message
    return message


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_it_writes_every_image_once_and_the_worst_first(model: Path, tmp_path: Path) -> None:
    said = rank(model, "--out", tmp_path / "ranked.csv")
    ranked = rows(tmp_path / "ranked.csv")
    assert list(ranked[0]) == ["index", "label_quality", "suggested_label"]
    assert sorted(int(row["index"]) for row in ranked) == list(range(200))
    scores = np.array([float(row["label_quality"]) for row in ranked])
    assert (np.diff(scores) >= 0).all()
    order = np.array([int(row["index"]) for row in ranked])
    np.testing.assert_array_equal(scores, label_quality(LABELS, probabilities(1))[order])
    assert np.mean([int(row["index"]) % 10 == 3 for row in ranked[:20]]) >= 0.8
    assert [int(row["suggested_label"]) for row in ranked] == probabilities(1).argmax(axis=1)[order].tolist()
    assert said.startswith(f"{tmp_path / 'ranked.csv'}: 200 labels ranked, worst first; another class beats ")
    assert not list(tmp_path.glob(".*"))


def test_labels_are_named_where_the_file_has_names(tmp_path: Path) -> None:
    out = tmp_path / "ranked.csv"
    for names in (NAMES, NAMES.astype("S")):
        rank(saved(tmp_path / "named.npz", class_names=names), "--out", out)
        named = {int(row["index"]): row["suggested_label"] for row in rows(out)}
        assert [named[index] for index in range(200)] == NAMES[probabilities(1).argmax(axis=1)].tolist()


def test_several_models_are_joined_and_the_useless_one_has_no_say(model: Path, tmp_path: Path) -> None:
    other = saved(tmp_path / "other.npz", pred_probs=probabilities(2), class_names=NAMES)
    useless = saved(tmp_path / "useless.npz", pred_probs=np.random.default_rng(3).dirichlet(np.ones(4), 200))
    out = tmp_path / "ranked.csv"
    said = rank(model, other, useless, "--out", out, "--json")
    facts = json.loads(said.strip().splitlines()[-1])
    assert facts["images"] == 200
    assert facts["out"] == str(out)
    assert facts["method"] == "calibrated_odds"
    assert [one["file"] for one in facts["models"]] == [str(model), str(other), str(useless)]
    assert [one["weight"] > 0 for one in facts["models"]] == [True, True, False]
    assert sum(int(row["index"]) % 10 == 3 for row in rows(out)[:20]) >= 19
    assert rows(out)[0]["suggested_label"] in NAMES.tolist()
    assert "useless.npz: weight 0.00" in rank(model, other, useless, "--out", out)


@pytest.mark.parametrize(
    ("options", "method", "adjusted"),
    [
        (["--method", "self_confidence"], "self_confidence", False),
        (["--method", "normalized_margin", "--adjusted"], "normalized_margin", True),
    ],
)
def test_the_score_is_chosen_by_name(
    options: list[str], method: str, adjusted: bool, model: Path, tmp_path: Path
) -> None:
    rank(model, "--out", tmp_path / "ranked.csv", *options)
    scores = sorted(float(row["label_quality"]) for row in rows(tmp_path / "ranked.csv"))
    wanted = np.sort(label_quality(LABELS, probabilities(1), method=method, adjusted=adjusted))
    np.testing.assert_array_equal(scores, wanted)


def test_an_adjusted_score_that_does_not_exist_is_refused(model: Path, tmp_path: Path) -> None:
    assert "class-adjusted" in refusal(model, "--out", tmp_path / "x.csv", "--adjusted")


def changed(row: int, value: Any) -> np.ndarray:
    other = probabilities(1)
    other[row] = value
    return other


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"given_labels": None}, "has no given_labels; it holds pred_probs"),
        ({"given_labels": None, "pred_probs": None, "x": [1]}, "has no given_labels and no pred_probs; it holds x"),
        ({"pred_probs": probabilities(1)[:, 0]}, r"expected (N, K) float probabilities"),
        ({"pred_probs": probabilities(1)[:100]}, "expected (100,) whole numbers as labels, received (200,)"),
        ({"pred_probs": np.eye(4, dtype=int)[LABELS]}, "float probabilities of two classes or more"),
        ({"pred_probs": changed(7, np.nan)}, "the first is row 7"),
        ({"pred_probs": changed(8, np.inf)}, "the first is row 8"),
        ({"pred_probs": changed(9, 0.5)}, "the first is row 9"),
        ({"pred_probs": changed(9, [-0.5, 0.5, 0.5, 0.5])}, "the first is row 9"),
        ({"given_labels": LABELS + 1}, "expected labels 0 to 3, received 1 to 4"),
        ({"given_labels": LABELS - 1}, "expected labels 0 to 3, received -1 to 2"),
        ({"given_labels": LABELS.astype(float)}, "whole numbers as labels, received (200,) float64"),
        ({"given_labels": LABELS.astype(object)}, "no pickled objects"),
        ({"class_names": NAMES.astype(object)}, "no pickled objects"),
        ({"class_names": NAMES[:3]}, "expected 4 class_names as text, received (3,)"),
        ({"class_names": np.arange(4)}, "expected 4 class_names as text"),
        ({"given_labels": LABELS[:0], "pred_probs": probabilities(1)[:0]}, "holds no images"),
    ],
)
def test_a_file_that_does_not_hold_what_it_should_is_refused(
    arrays: dict[str, Any], message: str, tmp_path: Path
) -> None:
    bad = saved(tmp_path / "bad.npz", **arrays)
    said = refusal(bad, "--out", tmp_path / "ranked.csv")
    assert message in said
    assert str(bad) in said
    assert not (tmp_path / "ranked.csv").exists()


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def rotten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[1500:1600] = bytes(100)
    path.write_bytes(content)


def a_single_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, LABELS)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (torn, "cannot be read"),
        (rotten, "cannot be read"),
        (a_single_array, "is a single array"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.write_text("index,label\n"), "cannot be read"),
        (lambda path: path.unlink(), "There is no file"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    ],
    ids=["torn", "rotten", "one array", "empty", "text", "missing", "folder"],
)
def test_a_file_that_cannot_be_read_is_refused_and_an_older_answer_stays(
    spoil: Callable[[Path], Any], message: str, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "ranked.csv"
    out.write_text("older\n")
    spoil(model)
    said = refusal(model, "--out", out)
    assert message in said
    assert str(model) in said
    assert out.read_text() == "older\n"
    assert not list(tmp_path.glob(".*"))


def test_an_older_answer_is_replaced(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "ranked.csv"
    out.write_text("older\n" * 5000)
    rank(model, "--out", out)
    assert len(rows(out)) == 200


def test_files_that_do_not_belong_together_are_refused(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "ranked.csv"
    labels = LABELS.copy()
    labels[[5, 9]] = (labels[[5, 9]] + 1) % 4
    differs = refusal(model, saved(tmp_path / "b.npz", given_labels=labels), "--out", out)
    assert "differ at 2 images, first at index 5" in differs
    fewer = saved(tmp_path / "c.npz", given_labels=LABELS[:99], pred_probs=probabilities(1)[:99])
    assert "(200, 4)" in refusal(model, fewer, "--out", out)
    named, renamed = (saved(tmp_path / f"{n}.npz", class_names=NAMES[::n]) for n in (1, -1))
    assert "the same class_names" in refusal(named, renamed, "--out", out)
    assert "named twice" in refusal(model, tmp_path / "." / model.name, "--out", out)
    assert not out.exists()


def test_a_place_that_cannot_be_written_is_refused(model: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    assert "while it is read" in refusal(model, "--out", model)
    assert model.read_bytes() == before
    assert "is a folder" in refusal(model, "--out", tmp_path)
    assert "does not exist" in refusal(model, "--out", tmp_path / "nowhere" / "ranked.csv")
    if Path("/dev/full").exists():
        assert "no plain file" in refusal(model, "--out", "/dev/full")
    assert "cannot be written" in refusal(model, "--out", tmp_path / ("x" * 250 + ".csv"))


def test_it_needs_no_database(model: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    ended = subprocess.run(
        [sys.executable, "manage.py", "rank_probabilities", str(model), "--out", str(tmp_path / "r.csv"), "--json"],
        cwd=settings.BASE_DIR,
        env=os.environ | {"WINNOW_HOME": str(home), "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.strip().splitlines()[-1])["images"] == 200
    assert len(rows(tmp_path / "r.csv")) == 200
    assert not list(home.glob("*.sqlite3"))
