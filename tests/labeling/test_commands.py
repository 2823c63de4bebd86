"""The command line that other tools depend on: exit codes, `--json`, and that everything is documented."""

import ast
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command, get_commands

from labeling.models import Dataset, Membership, Person, Role
from tests.builders import write_class_folders

README = (Path(settings.BASE_DIR) / "README.md").read_text(encoding="utf-8")


def run(*arguments: str) -> tuple[int, str]:
    """The exit code and stdout of a command in this process."""
    out = io.StringIO()
    try:
        call_command(*arguments, stdout=out)
    except CommandError as error:
        return error.returncode, str(error)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def facts(*arguments: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(run(*arguments, "--json")[1].strip().splitlines()[-1])
    return parsed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_class_folders(tmp_path / "set", {"train/drawings": 4, "test/neutral": 3})


@pytest.mark.django_db
def test_import_exits_0_when_all_is_well_and_1_when_files_were_refused(folder: Path) -> None:
    arguments = ("import_images", str(folder), "--dataset", "set", "--taxonomy", "five")
    assert run(*arguments) == (0, "set: 7 added, 0 already there, 0 refused.\n")
    (folder / "test" / "neutral" / "broken.jpg").write_bytes(b"broken")
    code, said = run(*arguments)
    assert code == 1
    assert "refused: test/neutral/broken.jpg: " in said


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("score", "nothing"), "There is no dataset 'nothing'"),
        (("import_images", "/nowhere", "--dataset", "a", "--taxonomy", "five"), "is not a folder"),
        (("import_images", "/", "--dataset", "a", "--taxonomy", "six"), "There is no taxonomy 'six'"),
        (("cut_release", "nothing", "--ratios", "1/2/3"), "There is no dataset"),
        (("sign_in_link", "nobody"), "There is no person 'nobody'"),
        (("fetch_model", "nothing"), "nsfwjs-mobilenet-v2"),
        (("add_person", "anna", "--remove"), "needs --dataset"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_was_expected(arguments: tuple[str, ...], message: str) -> None:
    code, said = run(*arguments)
    assert code == 2
    assert message in said


@pytest.mark.django_db
def test_json_is_one_object_on_the_last_line(folder: Path) -> None:
    imported = facts("import_images", str(folder), "--dataset", "set", "--taxonomy", "five")
    assert (imported["dataset"], imported["added"]) == ("set", 7)
    assert facts("import_images", str(folder), "--dataset", "set", "--taxonomy", "five")["unchanged"] == 7
    cut = facts("cut_release", "set")
    assert (cut["version"], cut["splits"]) == ("1.0", {"train": 4, "test": 3})
    assert facts("check_integrity") == {"differences": 0}


@pytest.mark.django_db
def test_a_manifest_gives_labels_splits_and_sources(folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "labels.csv"
    manifest.write_text(
        "path,label,split,source\n"
        "train/drawings/img_000.png,hentai,val,host.example\n"
        "train/drawings/img_001.png,neutral,,\n"
        "train/drawings/gone.png,neutral,,\n"
    )
    summary = facts("import_images", str(folder), "--dataset", "set", "--taxonomy", "five", "--labels", str(manifest))
    assert (summary["added"], summary["refused"]) == (2, 1)
    image = Dataset.objects.get(slug="set").images.select_related("given_class", "source").get(path__endswith="000.png")
    assert image.source is not None
    assert (image.given_class.name, image.split, image.source.name) == ("hentai", "validation", "host.example")


@pytest.mark.django_db
def test_a_dry_run_says_what_would_happen_and_writes_nothing(folder: Path) -> None:
    (folder / "train" / "drawins").mkdir()
    (folder / "train" / "drawins" / "x.jpg").write_bytes(b"x")
    arguments = ("import_images", str(folder), "--dataset", "set", "--taxonomy", "five", "--dry-run")
    summary = facts(*arguments)
    assert summary["files"] == 7
    assert summary["unmapped"] == {"drawins": 1}
    assert summary["classes"]["drawings"] == {"train": 4}
    code, said = run(*arguments)
    assert code == 1
    assert "Did you mean drawings" in said
    assert not Dataset.objects.exists()


def test_list_issues_prints_the_ranking_worst_first(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("list_issues", dataset.slug)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["path", "given_label", "suggested_label", "label_quality", "reasons"]
    assert len(rows) == 12
    assert [float(row["label_quality"]) for row in rows] == sorted(float(row["label_quality"]) for row in rows)
    call_command("list_issues", dataset.slug, "--format", "jsonl", "--limit", "2")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["path"] for line in lines] == [row["path"] for row in rows[:2]]


def test_people_are_added_given_roles_and_removed(dataset: Dataset) -> None:
    assert facts("add_person", "zoe", "--dataset", dataset.slug, "--role", "ml")["role"] == "ml"
    zoe = Person.objects.get(username="zoe")
    assert Membership.objects.get(person=zoe).role == Role.ML
    assert facts("sign_in_link", "zoe", "--base", "http://localhost:9000/")["link"].startswith(
        f"http://localhost:9000/sign-in/{zoe.pk}/"
    )
    facts("add_person", "zoe", "--dataset", dataset.slug, "--remove")
    assert not Membership.objects.filter(person=zoe).exists()


@pytest.mark.slow
def test_a_missing_npm_is_named_with_what_to_do(tmp_path: Path) -> None:
    environment = os.environ | {
        "PATH": str(tmp_path),
        "WINNOW_HOME": str(tmp_path / "home"),
        "DJANGO_SETTINGS_MODULE": "reviewer.settings",
        "DATABASE_URL": "",
    }
    ended = subprocess.run(
        [sys.executable, "manage.py", "fetch_model", "nsfwjs-mobilenet-v2", "--json"],
        cwd=settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 2
    assert "npm" in json.loads(ended.stdout.strip().splitlines()[-1])["error"]
    assert not list((tmp_path / "home" / "models").glob("nsfwjs*"))


def test_every_command_is_in_the_readme() -> None:
    own = {name for name, app in get_commands().items() if app == "labeling"}
    assert len(own) >= 13
    assert {name for name in own if f"| `{name}" not in README} == set()


def test_every_setting_is_in_the_readme() -> None:
    tree = ast.parse((Path(settings.BASE_DIR) / "reviewer" / "settings.py").read_text(encoding="utf-8"))
    named = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name) and node.args:
            function = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            first = node.args[0]
            if function in {"get", "env_bool", "env_int", "env_list", "env_outbound"} and isinstance(
                first, ast.Constant
            ):
                named.add(str(first.value))
    assert {"WINNOW_HOME", "DATABASE_URL", "DEBUG"} <= named
    assert {name for name in named if f"| `{name}` |" not in README} == set()


@pytest.mark.parametrize(
    ("name", "value"), [("DEBUG", "maybe"), ("CLAIM_LEASE_SECONDS", "soon"), ("API_FETCH", "http://a.example/")]
)
def test_a_wrong_setting_is_refused_at_start(name: str, value: str, tmp_path: Path) -> None:
    environment = os.environ | {
        "WINNOW_HOME": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "reviewer.settings",
        name: value,
    }
    ended = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode != 0
    assert f"{name} must be" in ended.stderr
