"""Class folders: `split/class/<sha256>.<ext>`, as Keras' `image_dataset_from_directory` reads them."""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from labeling.errors import WrongUsage
from labeling.exporters.rows import ExportHead, ExportRow, Missing, Options, Placing
from labeling.exporters.sources import changed, gone, load
from labeling.exporters.targets import FolderTarget, Target
from labeling.exporters.writing import Format, Outcome


class ClassFolders(Format):
    """Each image a file: copied, or a hard or symbolic link to its source."""

    name: ClassVar[str] = "folders"
    title: ClassVar[str] = "Class folders"
    by_file: ClassVar[bool] = True

    def __init__(self, head: ExportHead, target: Target, options: Options) -> None:
        super().__init__(head, target, options)
        if options.placing != Placing.COPY and not isinstance(target, FolderTarget):
            raise WrongUsage(f"Links need a folder on this machine, but received {target}: use --files copy there.")

    def begin(self) -> None:
        # Every class has a folder in every split, also when it is empty: a trainer that reads folders then sees the
        # same class list everywhere.
        for split in self.head.splits:
            for name in self.head.classes:
                self.target.folder(f"{split}/{name}")

    def write(self, rows: Iterable[ExportRow]) -> Iterator[Outcome]:
        for row in rows:
            place = self.place(row)
            if self.target.kept(place, row.sha256):
                yield row, place
            else:
                yield row, self._linked(row) if self.options.placing != Placing.COPY else self._copied(row)

    def _copied(self, row: ExportRow) -> str | Missing:
        content = load(row)
        if isinstance(content, Missing):
            return content
        self.target.put(self.place(row), content, row.sha256)
        return self.place(row)

    def _linked(self, row: ExportRow) -> str | Missing:
        place, target = self.place(row), self.target
        assert isinstance(target, FolderTarget)  # noqa: S101 - refused at the start otherwise
        try:
            target.link(place, row.source, self.options.placing)
        except OSError as error:
            return gone(row, error)
        if target.whole(place, row.sha256):
            return place
        target.remove(place)
        return changed(row)

    def how_to_load(self) -> str:
        names = ", ".join(repr(name) for name in self.head.classes)
        return (
            "import keras\n\n"
            f'images = keras.utils.image_dataset_from_directory("{self.head.splits[0]}", class_names=[{names}])'
        )

    def distribution(self) -> tuple[dict[str, Any], ...]:
        return (
            {
                "@type": "cr:FileSet",
                "@id": "image-files",
                "name": "image-files",
                "description": "The images, by split and class, named by the sha256 of their bytes.",
                "encodingFormat": "image/*",
                "includes": "*/*/*",
            },
        )
