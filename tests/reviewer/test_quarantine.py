"""After an escalation nothing shows the image to anybody without the permission: every URL and every command is asked.

A route or a command that is added later is walked too; a command has to say here how it is called.
"""

import hashlib
import io
import json
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.core.management import CommandError, call_command, get_commands
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from labeling.actions.bulk import decide_group
from labeling.actions.claims import hold_claims
from labeling.actions.escalations import escalate
from labeling.actions.tokens import make_token
from labeling.actions.verdicts import record_verdict
from labeling.models import (
    AuditImage,
    AuditSample,
    Dataset,
    GoldenImage,
    Image,
    ImageRoot,
    Person,
    Quarantine,
    ReviewItem,
    Role,
    Run,
    RunKind,
    Scope,
    VerdictKind,
)
from labeling.pipeline.cutting import cut_release
from labeling.pipeline.exporting import DOWNLOADS
from labeling.pipeline.importing import thumbnail_path
from labeling.pipeline.nearest import extend_sketch
from labeling.queue_filter import QueueFilter
from tests.builders import write_picture
from tests.conftest import member
from tests.labeling.test_finding import register, score_with

pytestmark = pytest.mark.django_db

IMAGE, ITEM = 987_654_321, 876_543_219
PATH = "vault/quilted-heron.jpg"


@dataclass(frozen=True)
class Secret:
    """An image that is everywhere an image can be, and what would give it away."""

    image: Image
    file: Path
    thumbnail: Path
    verdict_key: str
    numbers: tuple[int, ...]
    folder: Path
    content: dict[str, bytes]

    @property
    def words(self) -> tuple[str, ...]:
        return (PATH, "quilted-heron", str(IMAGE), str(ITEM), self.image.sha256, self.image.sha256[:12])

    def shown_in(self, content: bytes, *, asked: str = "") -> list[str]:
        """What of it is in an answer, but for what the question itself named."""
        found = [word for word in self.words if word not in asked and word.encode() in content]
        return found + [f"bytes of {name}" for name, some in self.content.items() if some in content]


@pytest.fixture
def secret(pictures: Dataset, teammate: Person, tmp_path: Path) -> Secret:
    """An image of `looks` with a group, a claim, verdicts, predictions, a release, an audit, a failed run and more."""
    root = ImageRoot.objects.get(path=str(tmp_path))
    file = write_picture(tmp_path / PATH, seed=4242)
    like = pictures.images.order_by("pk")[0]
    fields = {
        name: getattr(like, name)
        for name in (
            *("byte_size", "modified_ns", "width", "height", "format", "mode", "phash", "dhash", "brightness"),
            *("contrast", "sharpness", "entropy", "given_class_id", "current_class_id"),
        )
    }
    image = Image.objects.create(
        pk=IMAGE,
        dataset=pictures,
        root=root,
        path=PATH,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        source=pictures.sources.create(name="host.example"),
        split="train",
        **fields,
    )
    thumbnail = write_picture(thumbnail_path(image.sha256), seed=4243)
    ranked = ReviewItem.objects.order_by("priority")[0]
    ReviewItem.objects.create(
        pk=ITEM,
        dataset=pictures,
        image=image,
        given_class=image.given_class,
        run=ranked.run,
        label_quality=0,
        priority=-1,
        suspected=True,
        suggested_class=ranked.suggested_class,
        reason="x",
    )
    release = cut_release(pictures)
    near = list(pictures.images.exclude(pk=IMAGE).order_by("pk")[:2])
    Image.objects.filter(pk__in=[IMAGE, *(one.pk for one in near)]).update(duplicate_group=image)
    act = decide_group(centre=image, person=teammate, kind=VerdictKind.KEEP, label=None, key=uuid4())
    model = register("eyes", pictures)
    images = list(pictures.images.order_by("pk"))
    score_with(model, pictures, images, np.array([number % 5 for number in range(len(images))]))
    extend_sketch(pictures, model)
    GoldenImage.objects.create(dataset=pictures, image=image, label=image.given_class)
    image.issues.create(run=ranked.run, kind="outlier", reason="far away")
    sample = AuditSample.objects.create(
        dataset=pictures, run=ranked.run, half_width=0.1, expected_half_width=0.1, seed=1
    )
    for place, one in enumerate(images):
        AuditImage.objects.create(sample=sample, image=one, stratum=0, risk=0.5, place=place)
    run = Run.objects.create(
        dataset=pictures, kind=RunKind.CUT, state="failed", error=f"1 image carries two labels: {PATH} (a)."
    )
    run.refusals.create(path=PATH, code="unreadable", reason="It cannot be read.")
    # Reopened, held by one person, and decided by another.
    ReviewItem.objects.filter(pk=ITEM).update(state="open", missing=None)
    held = hold_claims(dataset=pictures, reviewer=teammate, filters=QueueFilter(), hold=3)
    assert ITEM in [one.item_id for one in held]
    other = member(pictures, "decider", Role.ANNOTATOR)
    verdict = record_verdict(
        item=next(one for one in held if one.item_id != ITEM).item,
        reviewer=teammate,
        kind=VerdictKind.KEEP,
        label=None,
        key=uuid4(),
    )
    numbers = (IMAGE, ITEM, run.pk, release.pk, act.pk, image.source_id or 0, other.pk)
    some = {"its file": file.read_bytes()[-300:], "its thumbnail": thumbnail.read_bytes()[-300:]}
    return Secret(image, file, thumbnail, str(verdict.key), tuple(dict.fromkeys(numbers)), tmp_path, some)


def hide(secret: Secret) -> None:
    escalate(dataset=secret.image.dataset, images=[IMAGE], person=Person.objects.get(username="decider"), key=uuid4())
    assert Quarantine.objects.filter(image=IMAGE).exists()


# ---- every URL

QUERIES = (
    *("", f"?image={IMAGE}", "?everything=1", "?audit=1", "?sort=path", "?sort=risk", "?issue=outlier"),
    *("?given=drawings&suggested=hentai&size=96", "?by=teammate", "?source=host.example", "?show=all"),
    *(f"?export_format={name}" for name in DOWNLOADS),
)


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every route of the URL table with its converters."""
    for one in resolver.url_patterns:
        if isinstance(one, URLResolver):
            yield from routes(one, prefix + str(one.pattern))
        elif isinstance(one, URLPattern):
            yield prefix + str(one.pattern), {**one.pattern.converters}


def urls(secret: Secret) -> Iterator[tuple[str, bool]]:
    """Every URL with every number that might lead to the image; and whether it names any."""
    for route, converters in routes(get_resolver()):
        numbered = [name for name, converter in converters.items() if type(converter).__name__ == "IntConverter"]
        for number in secret.numbers if numbered else (0,):
            url = "/" + route
            for name, converter in converters.items():
                kind = {"IntConverter": "int", "SlugConverter": "slug", "StringConverter": "str"}.get(
                    type(converter).__name__, ""
                )
                value = str(number) if kind == "int" else "looks" if name == "slug" else "x"
                url = url.replace(f"<{kind}:{name}>", value).replace(f"<{name}>", value)
            yield url, bool(numbered)


def bodies(secret: Secret) -> tuple[tuple[str, Any], ...]:
    """What a form could send, and what a page's own code could, about the image."""
    form = {
        "key": str(uuid4()),
        "decision": "exclude",
        "image": IMAGE,
        "shown": ITEM,
        "selected": ITEM,
        "label": "neutral",
        "scope": "selected",
        "vote": "release",
        "reason": "curious",
        "note": "curious",
        "hold": "on",
        "how": "reopen",
        "since": "2020-01-01T00:00",
        "rows": f"path,label\n{PATH},neutral",
        "ratios": "80/10/10",
        "export_format": "folders",
        "half_width": "1",
        "order": "label_quality",
        "verdicts_wanted": "2",
        "consensus": "majority",
        "theme": "dark",
        "kind": "",
        "current": "",
        "given": "",
        "split": "",
        "blind_share": "0",
        "golden_rate": "0",
        "shown_suggestion": "neutral",
        "shown_quality": "0.5",
    }
    sent = [
        {"item": ITEM, "key": str(uuid4()), "decision": "exclude"},
        {"item": ITEM, "key": str(uuid4()), "decision": "skip"},
        {"item": ITEM, "key": str(uuid4()), "decision": "escalate", "note": "again"},
        {"key": str(uuid4()), "decision": "undo", "undoes": secret.verdict_key},
    ]
    body = {"decided": [], "held": [ITEM], "key": str(uuid4()), "verdicts": sent}
    return ("application/x-www-form-urlencoded", form), ("application/json", body)


class Desk:
    """One signed-in person, whose requests leave nothing behind."""

    def __init__(self, person: Person) -> None:
        self._client = Client(raise_request_exception=False)
        self._client.force_login(person)
        self._cookies = self._client.cookies.output(header="", sep=";")

    def ask(self, method: str, url: str, kind: str = "", body: Any = None) -> tuple[int, bytes]:
        """The status, and everything that came back, redirects followed."""
        self._client.cookies.clear()
        self._client.cookies.load(self._cookies)
        with transaction.atomic():
            if method == "GET":
                response = self._client.get(url, follow=True)
            elif kind.endswith("json"):
                response = self._client.post(url, json.dumps(body), content_type=kind)
            else:
                response = self._client.post(url, body, follow=True)
            content = everything_in(response)
            transaction.set_rollback(True)
        return response.status_code, content


def everything_in(response: Any) -> bytes:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    if getattr(response, "file_to_stream", None):
        response.file_to_stream.close()
    return bytes(content) + f"{dict(response.headers)} {getattr(response, 'redirect_chain', '')}".encode()


def walk(secret: Secret, person: Person, *, post: bool) -> Iterator[tuple[str, str, int, bytes]]:
    """(what was asked, what it named, status, answer) of everything that a person can ask."""
    desk = Desk(person)
    for url, numbered in urls(secret):
        for query in ("",) if numbered or not url.startswith("/d/") else QUERIES:
            status, answer = desk.ask("GET", url + query)
            yield f"GET {url}{query}", f"{url}{query}", status, answer
            if status == 405:
                break
        for kind, body in bodies(secret) if post else ():
            status, answer = desk.ask("POST", url, kind, body)
            yield f"POST {url} {kind}", f"{url} {body}", status, answer
            if status == 405:
                break


@pytest.fixture
def boss(db: None) -> Person:
    """Who runs the machine, and has no escalation permission."""
    return Person.objects.create(username="boss", is_superuser=True, is_staff=True)


@pytest.mark.slow
def test_before_it_is_escalated_the_walk_finds_it_in_many_places(secret: Secret, teammate: Person) -> None:
    asked = {
        what.split("?")[0].removeprefix("GET ")
        for what, named, _, answer in walk(secret, teammate, post=False)
        if secret.shown_in(answer, asked=named)
    }
    assert {
        f"/d/looks/images/{IMAGE}/",
        f"/d/looks/images/{IMAGE}/file",
        f"/d/looks/images/{IMAGE}/thumb",
        f"/d/looks/review/{ITEM}/history/",
        "/d/looks/images/",
        "/d/looks/images/list.csv",
        "/d/looks/review/",
        "/d/looks/duplicates/",
    } <= asked
    assert any(url.startswith("/runs/") for url in asked)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["boss", "teammate"])
def test_no_url_shows_it_to_anybody_without_the_permission(
    secret: Secret, who: str, boss: Person, teammate: Person, caplog: pytest.LogCaptureFixture
) -> None:
    hide(secret)
    person = {"boss": boss, "teammate": teammate}[who]
    logging.getLogger("django.db.backends").setLevel(logging.WARNING)
    caplog.set_level(logging.DEBUG)
    shown: dict[str, list[str]] = {}
    failed: dict[str, int] = {}
    with watching() as opened:
        for what, named, status, answer in walk(secret, person, post=True):
            log = "\n".join(record.getMessage() for record in caplog.records).encode()
            caplog.clear()
            if found := secret.shown_in(answer, asked=named) + secret.shown_in(log, asked=named):
                shown[what] = found
            if status >= 500 and status != 503:  # the API says so while it has no model or no worker
                failed[what] = status
    assert shown == {}
    assert failed == {}
    assert opened & {str(secret.file), str(secret.thumbnail)} == set()
    assert Quarantine.objects.filter(image=IMAGE).exists()


def test_nobody_can_tell_it_from_an_image_that_never_was(secret: Secret, boss: Person) -> None:
    hide(secret)
    desk = Desk(boss)
    differing: dict[str, tuple[int, int]] = {}
    compared = 0
    for url, _ in urls(secret):
        for number in (IMAGE, ITEM):
            if f"/{number}/" not in url:
                continue
            never = url.replace(str(number), "111222333")
            asked = [("GET", "", None), *(("POST", kind, body) for kind, body in bodies(secret))]
            for method, kind, body in asked:
                status, answer = desk.ask(method, url, kind, body)
                other_status, other = desk.ask(method, never, kind, body)
                compared += 1
                if status != other_status or _plain(answer, number) != _plain(other, 111222333):
                    differing[f"{method} {url} {kind}"] = (status, other_status)
    assert compared > 50
    assert differing == {}


def _plain(answer: bytes, number: int) -> str:
    """An answer without the number that was asked about, and without what is made anew for each answer: keys, and how
    long ago something was or how long it lasts yet (and with that, how many bytes it is)."""
    anew = r"[0-9a-f]{8}(-[0-9a-f]{4,12}){4}|\b\w{64}\b"
    times = r"'Content-Length': '\d+'|\d\d:\d\d:\d\d|(\d+\s(min|s)\s?)+\b|\b(\d+|an?)\s(second|minute)s?( ago)?|\bnow\b"
    return re.sub(f"{anew}|{times}", "", answer.decode().replace(str(number), ""))


def test_a_program_with_every_scope_learns_nothing_of_it(secret: Secret) -> None:
    hide(secret)
    _, text = make_token(dataset=secret.image.dataset, name="shop", scopes=list(Scope.values))
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {text}"})
    sent: list[dict[str, Any]] = [
        {"kind": "false_negative", "reason": "it is harmful", "image_id": IMAGE},
        {"kind": "false_positive", "sha256": secret.image.sha256},
        {"urls": ["https://nowhere.example/a.jpg"]},
    ]
    statuses = set()
    for url, numbered in urls(secret):
        if numbered or url.startswith("/d/"):
            continue
        for body in sent:
            for query in ("", "?dataset=looks&keep=all"):
                with transaction.atomic():
                    response = client.post(url + query, json.dumps(body), content_type="application/json")
                    answer = everything_in(response)
                    transaction.set_rollback(True)
                assert secret.shown_in(answer, asked=f"{url} {body}") == [], url
                statuses.add((url, response.status_code))
    assert ("/reports", 404) in statuses
    assert not [found for found in statuses if found[1] == 500]


def test_nobody_but_the_authorised_reaches_the_restricted_area(
    secret: Secret, boss: Person, teammate: Person, owner: Person
) -> None:
    hide(secret)
    case = Quarantine.objects.get(image=IMAGE).escalation_id
    area = [url for url, _ in urls(secret) if url.startswith("/escalations/")]
    assert len(area) > 5
    for desk in map(Desk, (boss, teammate, owner)):
        for url in {*area, *(f"/escalations/{case}/{tail}" for tail in ("", "vote/", "hold/", "look/", "file/"))}:
            assert desk.ask("GET", url)[0] in {404, 405}
            kind, body = bodies(secret)[0]
            assert desk.ask("POST", url, kind, body)[0] in {404, 405}


# ---- every command

NO_IMAGES = {
    "demo": "makes a dataset of its own",
    "fetch_model": "fetches a model",
    "register_model": "reads a model's file",
    "rank_probabilities": "reads a file of numbers",
    "up": "starts the web server and the worker, whose routes and runs are walked",
    "worker": "carries out runs, which are walked as commands",
}


def calls(secret: Secret, folder: Path) -> dict[str, Sequence[Sequence[str]]]:
    """How each command is asked about the dataset."""
    return {
        "add_person": [["teammate", "--dataset", "looks"]],
        "api_token": [["looks"], ["looks", "--name", "x"]],
        "agreement": [["looks", "--refresh-skills"]],
        "check_integrity": [[]],
        "cut_release": [["looks"]],
        "draw_audit": [["looks"], ["looks", "--extend"]],
        "estimate_errors": [["looks"]],
        "evaluate": [["eyes", "looks", "1.0", "--split", "train"], ["eyes", "looks", "1.0", "--labels", "given"]],
        "export_labels": [["looks"], ["looks", "--format", "jsonl"]],
        "export_verdicts": [["looks"], ["looks", "--format", "jsonl"]],
        "export_release": [["looks", "1.0", str(folder / "out")]],
        "diff_releases": [["looks", "1.0", "1.0", "--changes", str(folder / "changes.csv")]],
        "find_issues": [["looks", "--model", "eyes"]],
        "import_images": [
            [str(secret.folder), "--dataset", "looks", "--taxonomy", "five", "--labels", str(folder / "labels.csv")]
        ],
        "import_predictions": [["looks", str(folder / "said.json"), "--model", "other", "--taxonomy", "five"]],
        "import_verdicts": [["looks", str(folder / "golden.csv"), "--reviewer", "teammate"]],
        "loop": [["looks"]],
        "list_issues": [["looks"], ["looks", "--format", "jsonl", "--order", "queue"]],
        "order_queue": [["looks", "label_quality"]],
        "promote": [["eyes", "looks"]],
        "purge_escalations": [[]],
        "rerank": [["looks"]],
        "rollback": [["looks"]],
        "score": [["looks"]],
        "set_policy": [["looks", "--model", "eyes", "--safe", "safe", "--adult", "adult"]],
        "show_policy": [["looks"]],
        "set_golden": [["looks", str(folder / "golden.csv")]],
        "sign_in_link": [["teammate"]],
        "train": [
            ["looks", "1.0", "--recipe", "quick_head", "--weights", "eyes"],
            ["looks", "1.0", "--recipe", "none"],
        ],
    }


def test_no_command_shows_it_or_opens_it(
    secret: Secret, capfd: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    hide(secret)
    folder = tmp_path_factory.mktemp("commands")
    others = list(Image.objects.order_by("pk"))
    listed = "".join(f"{one.path},neutral\n" for one in others)
    (folder / "labels.csv").write_text(f"path,label\n{PATH},neutral\n{listed}")
    (folder / "golden.csv").write_text(f"path,label\n{listed}")
    (folder / "said.json").write_text(json.dumps({one.path: {"neutral": 1} for one in others}))
    own = {name for name, app in get_commands().items() if app == "labeling"}
    asked = calls(secret, folder)
    assert own == set(asked) | set(NO_IMAGES), "say in this test how a new command is called, or why it shows no image"
    shown: dict[str, list[str]] = {}
    with watching() as opened:
        for name, each in asked.items():
            for arguments in each:
                for flag in ([], ["--json"]):
                    said = run(name, [*arguments, *flag]) + "".join(capfd.readouterr())
                    if found := secret.shown_in(said.encode()):
                        shown[f"{name} {' '.join(arguments)}"] = found
    assert shown == {}
    assert opened & {str(secret.file), str(secret.thumbnail)} == set()
    written = [
        path
        for path in folder.rglob("*")
        if (path.is_file() and path.suffix not in {".csv", ".json"}) or path.parent.name == "out"
    ]
    assert any(path.name == "winnow.json" for path in written)
    assert {str(path) for path in written if path.is_file() and secret.shown_in(path.read_bytes())} == set()
    assert not [path for path in written if secret.image.sha256 in path.name]
    assert secret.file.exists()


def test_the_export_command_says_so_with_exit_code_1(secret: Secret, tmp_path_factory: pytest.TempPathFactory) -> None:
    hide(secret)
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("export_release", "looks", "1.0", str(tmp_path_factory.mktemp("out") / "set"), stdout=out)
    assert ended.value.code == 1
    assert "in quarantine" in out.getvalue()


def run(name: str, arguments: Sequence[str]) -> str:
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command(name, *arguments, stdout=out, stderr=err)
    except (CommandError, SystemExit) as ended:
        return out.getvalue() + err.getvalue() + str(ended)
    return out.getvalue() + err.getvalue()


# ---- which files are opened

_opened: list[set[str]] = []


def _note_open(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened and event == "open" and isinstance(arguments[0], str | bytes):
        for files in _opened:
            files.add(arguments[0] if isinstance(arguments[0], str) else arguments[0].decode(errors="replace"))


sys.addaudithook(_note_open)


class watching:  # noqa: N801 (reads as a phrase)
    """The names of all files that this process opens within the block."""

    def __enter__(self) -> set[str]:
        self._files: set[str] = set()
        _opened.append(self._files)
        return self._files

    def __exit__(self, *_: object) -> None:
        _opened.remove(self._files)
