"""Models that Winnow can fetch by name. A further one of the same kind is one more entry."""

from __future__ import annotations

from dataclasses import dataclass

from inference.errors import UnknownModel


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A TensorFlow.js layers model inside an npm package, and what its numbers mean.

    Attributes:
        name: what people type.
        package, version: the npm package.
        integrity: npm's own hash of the package file, `sha512-<base64>`; checked before anything in it is read.
        topology_member: the file in the package that holds topology and weights manifest.
        shard_member: the shards' file, with `{shard}` for the manifest's path.
        parameters: how many weights the model must turn out to have.
        class_names: in output order, in the taxonomy's spelling.
    """

    name: str
    package: str
    version: str
    integrity: str
    topology_member: str
    shard_member: str
    parameters: int
    taxonomy: str
    class_names: tuple[str, ...]
    profile: str
    input_size: tuple[int, int]
    embedding_layer: str
    embedding_size: int
    licence: str
    licence_member: str
    trained_on: str

    @property
    def source(self) -> str:
        return f"npm:{self.package}@{self.version}"


CATALOGUE: dict[str, CatalogueEntry] = {
    entry.name: entry
    for entry in (
        CatalogueEntry(
            name="nsfwjs-mobilenet-v2",
            package="nsfwjs",
            version="4.4.0",
            integrity="sha512-krC1fgeTLXtZwgdpKJ0jm7hqv0gTSRQQRL+FhOaxaJ9Wj92t42BO3csO2odwgTAgZgf2RvkwPtp0R8Aa7dc+MA==",
            topology_member="package/dist/models/mobilenet_v2/model.min.js",
            shard_member="package/dist/models/mobilenet_v2/{shard}.min.js",
            parameters=2_619_461,
            taxonomy="five",
            class_names=("drawings", "hentai", "neutral", "porn", "sexy"),
            profile="nsfwjs",
            input_size=(224, 224),
            embedding_layer="flatten_1",
            embedding_size=1280,
            licence="MIT",
            licence_member="package/LICENSE",
            trained_on="nsfw_data_scraper (by the authors of nsfwjs)",
        ),
        CatalogueEntry(
            name="nsfwjs-inception-v3",
            package="nsfwjs",
            version="4.4.0",
            integrity="sha512-krC1fgeTLXtZwgdpKJ0jm7hqv0gTSRQQRL+FhOaxaJ9Wj92t42BO3csO2odwgTAgZgf2RvkwPtp0R8Aa7dc+MA==",
            topology_member="package/dist/models/inception_v3/model.min.js",
            shard_member="package/dist/models/inception_v3/{shard}.min.js",
            parameters=22_360_869,
            taxonomy="five",
            class_names=("drawings", "hentai", "neutral", "porn", "sexy"),
            profile="nsfwjs",
            input_size=(299, 299),
            embedding_layer="flatten_1",
            embedding_size=2048,
            licence="MIT",
            licence_member="package/LICENSE",
            trained_on="nsfw_data_scraper (by the authors of nsfwjs)",
        ),
    )
}


def find(name: str) -> CatalogueEntry:
    """The entry of that name.

    Raises:
        UnknownModel: with the names there are.
    """
    try:
        return CATALOGUE[name]
    except KeyError:
        raise UnknownModel(f"expected a model of {', '.join(sorted(CATALOGUE))}, received {name!r}") from None
