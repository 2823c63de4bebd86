"""Verdicts from elsewhere, as a run: file → decisions → images of the dataset → verdicts of a person."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from labeling.access import role_in
from labeling.actions.interchange import ImageDecision, take_over
from labeling.actions.runs import Listener, RunReporter, running
from labeling.actions.standing import CHUNK
from labeling.errors import NotAllowed, WrongUsage, nearest
from labeling.importers.decisions import Decisions, NamedDecision, read_decisions
from labeling.models import Dataset, Person, Run, RunKind, TaxonomyClass, VerdictKind
from labeling.queries.image_names import ImageFinder


@dataclass(frozen=True)
class VerdictsSummary:
    """`recorded` verdicts are new; `unchanged` the person had given before; `refused` rows say why on the run."""

    dataset: str
    run: int
    file: str
    reviewer: str
    recorded: int
    unchanged: int
    refused: int


def find_reviewer(dataset: Dataset, name: str) -> Person:
    """The person of this name, who may decide about the dataset.

    Raises:
        WrongUsage: there is no such person.
        NotAllowed: no member of the dataset.
    """
    person = Person.objects.filter(username=name, is_active=True).first()
    if person is None:
        known = list(Person.objects.order_by("username").values_list("username", flat=True))
        raise WrongUsage(
            f"There is nobody called {name!r}.{nearest(name, known)} Add a person with: manage.py add_person {name} "
            f"--dataset {dataset.slug}"
        )
    if role_in(person, dataset) is None:
        raise NotAllowed(
            f"{name} is no member of {dataset.slug}. Make them one with: manage.py add_person {name} --dataset "
            f"{dataset.slug}"
        )
    return person


def import_verdicts(
    dataset: Dataset,
    path: Path,
    reviewer: Person,
    *,
    name: str = "",
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> VerdictsSummary:
    """Record what a file decides as verdicts of a person. The same file again changes nothing.

    An image is found by its path, by its content hash where that is the file's name (as in exports of Winnow), or by
    the end of a longer path or URL; a name that could mean several images is refused. Of an image that is named twice
    the last decision counts. Every 2,000 images are one act that can be taken back.

    Args:
        path: see `importers.decisions.read_decisions`.
        name: what to call the file, where it lies under another name.
        person: who started it; the verdicts are the reviewer's.

    Raises:
        WrongUsage, NothingToDo: nothing of the file can be read.
    """
    called = name or path.name
    found = read_decisions(path)
    with running(
        dataset=dataset,
        kind=RunKind.VERDICTS,
        parameters={"path": str(path.absolute()), "reviewer": reviewer.pk, "name": called},
        person=person,
        queued=queued,
        listener=listener,
    ) as reporter:
        recorded = unchanged = 0
        decisions = _resolved(dataset, found, reporter)
        paths = ImageFinder(dataset)
        reporter.stage("recording verdicts", len(decisions))
        for start in range(0, len(decisions), CHUNK):
            part = decisions[start : start + CHUNK]
            taken = take_over(dataset=dataset, reviewer=reviewer, decisions=part, source=called)
            recorded, unchanged = recorded + taken.recorded, unchanged + taken.unchanged
            for stored in paths.of(taken.unranked):
                reporter.refuse(
                    stored, "unranked", "Not ranked yet, so it cannot wait for a second person: find issues."
                )
            reporter.advance(len(part))
        summary = VerdictsSummary(
            dataset=dataset.slug,
            run=reporter.run.pk,
            file=called,
            reviewer=reviewer.username,
            recorded=recorded,
            unchanged=unchanged,
            refused=reporter.run.refusals.count(),
        )
        reporter.run.summary = asdict(summary)
    return summary


def _resolved(dataset: Dataset, found: Decisions, reporter: RunReporter) -> list[ImageDecision]:
    """The decisions whose image, verdict and class are known, by image; the others are refused with their reason."""
    for refusal in found.refusals:
        reporter.refuse(refusal.path, refusal.code, refusal.reason)
    classes = list(dataset.taxonomy.classes.order_by("index"))
    by_name = {name.casefold(): known for known in classes for name in (known.name, *known.aliases)}
    paths = ImageFinder(dataset)
    reporter.stage("finding the images", len(found.named))
    decided: dict[int, ImageDecision] = {}
    for start in range(0, len(found.named), CHUNK):
        part = found.named[start : start + CHUNK]
        images = paths.find([one.name for one in part])
        for one in part:
            keys, refused = images[one.name]
            label = by_name.get(one.label.casefold()) if one.label else None
            if refused:
                reporter.refuse(one.name, "unknown_path", f"{one.where}: {refused}")
            elif one.label and label is None and one.kind in {"", "relabel"}:
                reporter.refuse(one.name, "unknown_label", f"{one.where}: {_no_class(one.label, classes)}")
            else:
                for pk, given in keys:
                    decided.pop(pk, None)
                    decided[pk] = _decision(pk, given, one, label)
        reporter.advance(len(part))
    return list(decided.values())


def _decision(pk: int, given: int, said: NamedDecision, label: TaxonomyClass | None) -> ImageDecision:
    kind = VerdictKind(said.kind or VerdictKind.RELABEL)
    if kind != VerdictKind.RELABEL or label is None:
        return ImageDecision(pk, kind, None)
    return ImageDecision(pk, VerdictKind.KEEP, None) if label.pk == given else ImageDecision(pk, kind, label.pk)


def _no_class(label: str, classes: Sequence[TaxonomyClass]) -> str:
    names = [known.name for known in classes]
    return f"there is no class {label[:100]!r} (there is {', '.join(names)}).{nearest(label, names)}"
