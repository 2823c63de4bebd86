"""Every export format by its name."""

from labeling.exporters.fiftyone import FiftyOne
from labeling.exporters.folders import ClassFolders
from labeling.exporters.imagefolder import ImageFolder
from labeling.exporters.manifests import CsvManifest, JsonlManifest, PathList, UrlList
from labeling.exporters.tfrecord import TFRecord
from labeling.exporters.webdataset import WebDataset
from labeling.exporters.writing import Format

_WITH_IMAGES = (ClassFolders, ImageFolder, FiftyOne, TFRecord, WebDataset)
_LISTS = (CsvManifest, JsonlManifest, PathList, UrlList)
FORMATS: dict[str, type[Format]] = {one.name: one for one in (*_WITH_IMAGES, *_LISTS)}
