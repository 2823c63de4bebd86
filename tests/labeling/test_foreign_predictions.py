"""What other programs said about images: each form in use, and what becomes of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command

from labeling.errors import NothingToDo, WrongUsage
from labeling.importers.predictions import AnswerClasses, read_predictions
from labeling.models import Dataset, ModelVersion, Prediction, RunRefusal
from labeling.pipeline.cutting import cut_release
from labeling.pipeline.evaluating import evaluate
from labeling.pipeline.foreign_predictions import import_predictions
from labeling.pipeline.scoring import score
from labeling.taxonomies import load_taxonomy
from tests.builders import add_images, make_dataset, rank_images

pytestmark = pytest.mark.django_db

FIVE = {"drawings": 0.1, "hentai": 0.2, "neutral": 0.4, "porn": 0.2, "sexy": 0.1}


def read(
    folder: Path, content: Any, taxonomy: str = "five", *, positive: str | None = None
) -> list[tuple[str, list[float]]]:
    path = folder / "said.json"
    path.write_text(json.dumps(content))
    spec = load_taxonomy(taxonomy)
    found = read_predictions(path, AnswerClasses(spec.names, spec.resolve, positive))
    assert not found.refusals, found.refusals
    return [(one.name, [round(p, 3) for p in one.probabilities]) for one in found.named]


IN_ORDER = [("a.jpg", [0.1, 0.2, 0.4, 0.2, 0.1])]


@pytest.mark.parametrize(
    "content",
    [
        {"a.jpg": FIVE},
        {"a.jpg": [{"className": name.capitalize(), "probability": p} for name, p in FIVE.items()]},
        {"a.jpg": [{"label": name, "score": str(p)} for name, p in reversed(FIVE.items())]},
        [{"path": "a.jpg", **FIVE}],
        {"path": "a.jpg", **FIVE},
        [{"image": "a.jpg", "predictions": FIVE}],
        [{"file": "a.jpg", "predictions": [{"label": name, "score": p} for name, p in FIVE.items()]}],
    ],
    ids=["nsfw-predict", "nsfwjs", "label-score", "flat", "one", "inside", "list-inside"],
)
def test_every_form_in_use_gives_the_same_probabilities_in_the_order_of_the_taxonomy(
    content: Any, tmp_path: Path
) -> None:
    assert read(tmp_path, content) == IN_ORDER


def test_numbers_as_text_at_two_levels_are_read_at_the_level_of_the_taxonomy(tmp_path: Path) -> None:
    seven = load_taxonomy("seven").names
    scores = {name: ("0.94" if name == "safe_person" else "0.01") for name in seven}
    answer = {
        "prediction_category": "safe",
        "scores_dict_cat": {"nsfw": "0.04", "sfw": "0.96"},
        "scores_dict_sub_cat": scores,
    }
    [(_, found)] = read(tmp_path, {"a.jpg": answer}, "seven")
    assert found[seven.index("safe_person")] == 0.94
    assert read(tmp_path, {"a.jpg": answer}, "binary") == [("a.jpg", [0.96, 0.04])]


def test_a_single_number_needs_the_class_that_it_is_the_probability_of(tmp_path: Path) -> None:
    assert read(tmp_path, {"a.jpg": 0.83}, "binary", positive="nsfw") == [("a.jpg", [0.17, 0.83])]
    assert read(tmp_path, {"a.jpg": "0.83"}, "binary", positive="sfw") == [("a.jpg", [0.83, 0.17])]
    with pytest.raises(WrongUsage, match="--positive-class sfw or nsfw"):
        read(tmp_path, {"a.jpg": 0.83}, "binary")


def test_a_csv_has_a_column_a_class(tmp_path: Path) -> None:
    path = tmp_path / "said.csv"
    path.write_text("path,drawings,hentai,neutral,porn,sexy\na.jpg,.1,.2,.4,.2,.1\n")
    spec = load_taxonomy("five")
    [one] = read_predictions(path, AnswerClasses(spec.names, spec.resolve)).named
    assert [round(p, 3) for p in one.probabilities] == IN_ORDER[0][1]


def test_what_are_no_probabilities_of_these_classes_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    path = tmp_path / "said.json"
    bad = {
        "sum.jpg": {**FIVE, "neutral": 0.9},
        "class.jpg": {"cats": 1},
        "range.jpg": {**FIVE, "neutral": "many"},
        "list.jpg": [0.1, 0.2],
    }
    path.write_text(json.dumps(bad))
    spec = load_taxonomy("five")
    found = read_predictions(path, AnswerClasses(spec.names, spec.resolve))
    assert [one.path for one in found.refusals] == list(bad)
    reasons = " ".join(one.reason for one in found.refusals)
    for words in ("a sum of 1.500", "received 'cats'", "received 'many'", "expected entries such as"):
        assert words in reasons


@pytest.mark.parametrize(("name", "text"), [("x.txt", "{}"), ("x.json", "{"), ("x.jsonl", "nonsense")])
def test_a_file_that_cannot_be_read_is_refused(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    spec = load_taxonomy("five")
    with pytest.raises(WrongUsage):
        read_predictions(tmp_path / name, AnswerClasses(spec.names, spec.resolve))


@pytest.fixture
def looks(db: None) -> Dataset:
    dataset = make_dataset()
    rank_images(dataset, add_images(dataset, 10, splits=("test",)))
    return dataset


def answers(dataset: Dataset, folder: Path, *, leave_out: int = 0) -> Path:
    """A file that has every given label right but that of the last image, by longer paths than the dataset's."""
    rows = list(dataset.images.order_by("pk").values_list("path", "given_class__name"))
    said = {f"/data/{path}": {**dict.fromkeys(FIVE, 0.05), label: 0.8} for path, label in rows}
    said[f"/data/{rows[-1][0]}"] = {**dict.fromkeys(FIVE, 0.05), "neutral": 0.8}
    path = folder / "theirs.json"
    path.write_text(json.dumps(dict(list(said.items())[leave_out:])))
    return path


def test_the_answers_become_a_model_version_that_is_evaluated_like_any_other(looks: Dataset, tmp_path: Path) -> None:
    summary = import_predictions(looks, answers(looks, tmp_path), name="theirs", taxonomy="five")
    assert (summary.added, summary.already, summary.refused, summary.model) == (10, 0, 0, "theirs v1")
    model = ModelVersion.objects.get(name="theirs")
    found = evaluate(model, cut_release(looks))
    assert found.figures["class"]["accuracy"]["point"] == pytest.approx(0.9)
    vector = np.frombuffer(Prediction.objects.filter(model_version=model)[0].probabilities, dtype="<f4")
    assert vector.sum() == pytest.approx(1)


def test_the_same_file_adds_nothing_and_another_is_another_version(looks: Dataset, tmp_path: Path) -> None:
    path = answers(looks, tmp_path)
    import_predictions(looks, path, name="theirs", taxonomy="five")
    again = import_predictions(looks, path, name="theirs", taxonomy="five")
    assert (again.added, again.already, again.model) == (0, 10, "theirs v1")
    other = import_predictions(looks, answers(looks, tmp_path, leave_out=3), name="theirs", taxonomy="five")
    assert (other.added, other.model) == (7, "theirs v2")


def test_images_without_an_answer_are_counted_and_cannot_be_scored(looks: Dataset, tmp_path: Path) -> None:
    import_predictions(looks, answers(looks, tmp_path, leave_out=4), name="theirs", taxonomy="five")
    found = evaluate(ModelVersion.objects.get(name="theirs"), cut_release(looks))
    assert (found.images, found.unscored) == (6, 4)
    with pytest.raises(WrongUsage, match="has no network to score with"):
        score(looks, model="theirs")


def test_paths_that_the_dataset_does_not_have_are_listed(
    looks: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "said.jsonl"
    path.write_text("".join(json.dumps({"path": name, **FIVE}) + "\n" for name in ("img_0000.jpg", "nowhere.jpg")))
    with pytest.raises(SystemExit) as ended:
        call_command("import_predictions", "looks", str(path), model="theirs", taxonomy="five")
    assert ended.value.code == 1
    assert "refused: nowhere.jpg: said.jsonl, line 2: looks has no image" in capsys.readouterr().out
    assert RunRefusal.objects.get().code == "unknown_path"


def test_a_name_or_a_positive_class_that_does_not_fit_is_refused(looks: Dataset, tmp_path: Path) -> None:
    path = answers(looks, tmp_path)
    with pytest.raises(WrongUsage, match="lower-case letters"):
        import_predictions(looks, path, name="Their Model", taxonomy="five")
    with pytest.raises(WrongUsage, match="belongs to two classes"):
        import_predictions(looks, path, name="theirs", taxonomy="five", positive="porn")
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(NothingToDo):
        import_predictions(looks, tmp_path / "empty.json", name="theirs", taxonomy="five")
