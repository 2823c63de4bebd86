"""The one loop that writes every export: rows → files, a manifest, and what says what they are.

A format is a subclass of `Format` with a few lines of its own. The loop is a generator that yields once an image, so
that a run can report progress and a download can send what is there.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import IO, Any, ClassVar

from labeling.errors import ExportRefused
from labeling.exporters.cards import Described, class_labels, croissant, dataset_card
from labeling.exporters.rows import COLUMNS, HEAD_NAME, ExportHead, ExportRow, Missing, Options
from labeling.exporters.sources import withheld as withheld_image
from labeling.exporters.targets import Target, as_json

Outcome = tuple[ExportRow, "str | Missing"]
"""A row, and where its image lies in the export, or why it does not."""


class Format:
    """What one export format adds to the loop.

    Attributes:
        name: as it is chosen.
        title: what it is, for people.
        by_file: whether each image is a file of its own.
        manifest: its manifest's name, which ends in .csv or .jsonl.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    by_file: ClassVar[bool] = False
    manifest: ClassVar[str] = "manifest.csv"

    def __init__(self, head: ExportHead, target: Target, options: Options) -> None:
        self.head, self.target, self.options = head, target, options
        self.open = ExitStack()
        """Files that stay open until the last row; given up unfinished when anything fails."""

    def begin(self) -> None:
        """Prepare what has to be there whatever the rows are."""

    def write(self, rows: Iterable[ExportRow]) -> Iterator[Outcome]:
        """Write the images, in order, in constant memory."""
        raise NotImplementedError

    def note(self, row: ExportRow, file: str) -> None:
        """Put an image that was written into lists of the format's own."""

    def end(self) -> None:
        """Write what can only be said at the end."""

    def place(self, row: ExportRow) -> str:
        """Where an image lies, where each is a file of its own."""
        return row.file

    def settings(self) -> dict[str, Any]:
        """What the dataset card says to Hugging Face's `datasets`."""
        return {"configs": [{"config_name": "default", "data_files": self.manifest}]}

    def how_to_load(self) -> str:
        """A few lines of Python, for the dataset card."""
        reader = "read_csv" if self.manifest.endswith(".csv") else "read_json"
        more = "" if self.manifest.endswith(".csv") else ", lines=True"
        return f'import pandas\n\nrows = pandas.{reader}("{self.manifest}"{more})'

    def distribution(self) -> tuple[dict[str, Any], ...]:
        """Croissant's words for what lies beside the manifest."""
        return ()

    def lines_of(self, name: str) -> IO[str]:
        """A text file of the export, open until the last row."""
        return self.open.enter_context(text_in(self.target, name))


def write_export(
    export_format: Format,
    rows: Iterable[ExportRow],
    *,
    withheld: Callable[[], Sequence[ExportRow]] = tuple,
) -> Generator[ExportRow, None, list[Missing]]:
    """Write a release; constant memory, resumable, atomic, and every file read back.

    Args:
        rows: by split, in the order of `head.splits`; within a split by sha256, which is as good as shuffled.
        withheld: what must not be exported now; asked before the first image and after the last.

    Yields:
        each row, once it is done with.

    Returns:
        the images that could not be written because their source file is gone or changed, or that are in quarantine.
        The export is complete without them and its manifest does not name them.

    Raises:
        ExportRefused: the target holds something else, or cannot be written.
    """
    target = export_format.target
    left_out = withheld()
    try:
        exported = target.finished()
        if exported is not None:
            _check_holds_none(export_format, left_out)
            return exported
        target.begin()
        missing = [withheld_image(number) for number in range(1, len(left_out) + 1)]
        for row in left_out if export_format.by_file else ():
            # A run that died may have written it before it went into quarantine.
            target.remove(export_format.place(row))
        counts: Counter[tuple[str, str]] = Counter()
        export_format.begin()
        with export_format.open, text_in(target, export_format.manifest) as lines:
            add = manifest_writer(export_format.manifest, lines)
            for row, outcome in export_format.write(rows):
                if isinstance(outcome, Missing):
                    missing.append(outcome)
                else:
                    counts[row.split, row.label] += 1
                    add(row.facts(outcome))
                    export_format.note(row, outcome)
                yield row
        export_format.end()
        _describe(export_format, counts, missing)
        if len(withheld()) > len(left_out):
            raise ExportRefused(
                "An image of this release went into quarantine while it was exported, so nothing was put in place. Run "
                "the same export again: it leaves the image out."
            )
        head = asdict(export_format.head) | {
            "format": export_format.name,
            "key": target.key,
            "written": counts.total(),
            "checksums": target.checksums,
            "missing": [asdict(one) for one in missing],
        }
        put(target, HEAD_NAME, as_json(head))
        target.commit()
    except OSError as error:
        raise ExportRefused(
            f"Cannot write to {error.filename or target}: {error.strerror or error}. What is written so far is kept; "
            "make room or fix the rights and run the same export again."
        ) from error
    return missing


def holds_any(export_format: Format, rows: Sequence[ExportRow]) -> bool:
    """Whether an export in place holds the image of one of these rows, or names it."""
    target = export_format.target
    if not rows:
        return False
    if export_format.by_file:
        return any(target.in_place(export_format.place(row)) for row in rows)
    hashes = {row.sha256 for row in rows}
    with target.read_in_place(export_format.manifest) as file:
        return any(any(sha256 in line for sha256 in hashes) for line in io.TextIOWrapper(file, encoding="utf-8"))


def put(target: Target, name: str, content: bytes) -> None:
    """Write a small file and note its hash."""
    with target.open(name) as file:
        file.write(content)


@contextmanager
def text_in(target: Target, name: str) -> Iterator[IO[str]]:
    """A text file of the export, in UTF-8 with bare line feeds."""
    with target.open(name) as file:
        lines = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
        try:
            yield lines
        finally:
            lines.detach()


def manifest_writer(name: str, lines: IO[str]) -> Callable[[dict[str, Any]], object]:
    """What writes one row of a manifest after another, as CSV or as JSONL, whichever the name says."""
    if name.endswith(".jsonl"):
        return lambda facts: lines.write(json.dumps(facts, ensure_ascii=False) + "\n")
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(COLUMNS)
    return lambda facts: writer.writerow(facts.values())


def _describe(export_format: Format, counts: Counter[tuple[str, str]], missing: Sequence[Missing]) -> None:
    target, manifest = export_format.target, export_format.manifest
    one = Described(
        head=export_format.head,
        title=export_format.title,
        counts=counts,
        missing=len(missing),
        manifest=manifest,
        manifest_sha256=target.checksums[manifest],
        settings=export_format.settings(),
        how_to_load=export_format.how_to_load(),
        distribution=export_format.distribution(),
    )
    put(target, "class_labels.txt", class_labels(export_format.head))
    put(target, "README.md", dataset_card(one))
    put(target, "croissant.json", as_json(croissant(one)))


def _check_holds_none(export_format: Format, rows: Sequence[ExportRow]) -> None:
    if holds_any(export_format, rows):
        raise ExportRefused(
            f"{export_format.target} was exported before an image of it went into quarantine, and still holds it. "
            "Delete that export, and export again: the image is then left out."
        )
