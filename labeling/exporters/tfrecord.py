"""TFRecord shards of `tf.train.Example`, with `features.json` saying how to parse them.

Written without TensorFlow, which takes seconds and hundreds of megabytes to import. A record is its length, a masked
CRC-32C of that, the bytes, and a masked CRC-32C of those, all little-endian; an Example is a protocol buffer of a map
from a feature's name to a list of bytes, floats or integers.
https://www.tensorflow.org/tutorials/load_data/tfrecord, https://protobuf.dev/programming-guides/encoding/
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, ClassVar

from google_crc32c import value as crc32c

from labeling.exporters.rows import ExportRow
from labeling.exporters.shards import Shards
from labeling.exporters.targets import as_json
from labeling.exporters.writing import put

FEATURES_NAME = "features.json"
FEATURES: dict[str, tuple[str, str]] = {
    "image": ("string", "the file as it is: decode with tf.io.decode_image"),
    "format": ("string", "the file's extension, with its dot"),
    "label": ("int64", "index of the class; class_labels.txt has the names in this order"),
    "label_name": ("string", "the class"),
    "given_label": ("string", "the label that the image arrived with"),
    "sha256": ("string", "of the file"),
    "original_path": ("string", "below the folder that it was imported from"),
}


class TFRecord(Shards):
    name: ClassVar[str] = "tfrecord"
    title: ClassVar[str] = "TFRecord shards"
    suffix: ClassVar[str] = ".tfrecord"
    media_type: ClassVar[str] = "application/x-tfrecord"

    @contextmanager
    def writing(self, file: IO[bytes]) -> Iterator[Callable[[ExportRow, bytes], object]]:
        def add(row: ExportRow, content: bytes) -> None:
            features: dict[str, bytes | int] = {
                "image": content,
                "format": row.extension.encode(),
                "label": self.head.index_of(row.label),
                "label_name": row.label.encode(),
                "given_label": row.given_label.encode(),
                "sha256": row.sha256.encode(),
                "original_path": row.original_path.encode(),
            }
            for piece in framed(example(features)):
                file.write(piece)

        yield add

    def end(self) -> None:
        super().end()
        features = {name: {"dtype": kind, "shape": [], "description": what} for name, (kind, what) in FEATURES.items()}
        splits = {
            split: {name: number for name, number in self.shards.items() if name.startswith(f"{split}-")}
            for split in self.head.splits
        }
        content = {"features": features, "classes": list(self.head.classes), "shards": splits}
        put(self.target, FEATURES_NAME, as_json(content))

    def how_to_load(self) -> str:
        return (
            "import json\n\nimport tensorflow as tf\n\n"
            'features = json.load(open("features.json"))["features"]\n'
            'spec = {name: tf.io.FixedLenFeature(one["shape"], one["dtype"]) for name, one in features.items()}\n'
            f'records = tf.data.TFRecordDataset(tf.io.gfile.glob("{self.head.splits[0]}-*.tfrecord"))\n'
            "images = records.map(lambda record: tf.io.parse_single_example(record, spec))"
        )


def framed(record: bytes) -> Iterator[bytes]:
    """A record as it stands in a TFRecord file."""
    length = struct.pack("<Q", len(record))
    yield length + struct.pack("<I", _masked(crc32c(length)))
    yield record
    yield struct.pack("<I", _masked(crc32c(record)))


def example(features: Mapping[str, bytes | int]) -> bytes:
    """A serialised `tf.train.Example` of single values, in the order of the mapping."""
    entries = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, _feature(value))) for name, value in features.items()
    )
    return _field(1, entries)


def _feature(value: bytes | int) -> bytes:
    """`Feature`: a `BytesList` in field 1, or an `Int64List`, packed, in field 3."""
    if isinstance(value, bytes):
        return _field(1, _field(1, value))
    return _field(3, _field(1, _varint(value)))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """A whole number of 0 or more, seven bits a byte, low ones first."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def _masked(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
