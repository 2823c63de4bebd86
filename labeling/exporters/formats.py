"""Every export format by its name."""

from labeling.exporters.folders import ClassFolders
from labeling.exporters.imagefolder import ImageFolder
from labeling.exporters.manifests import CsvManifest, JsonlManifest, PathList, UrlList
from labeling.exporters.tfrecord import TFRecord
from labeling.exporters.webdataset import WebDataset
from labeling.exporters.writing import Format

FORMATS: dict[str, type[Format]] = {
    one.name: one
    for one in (ClassFolders, ImageFolder, TFRecord, WebDataset, CsvManifest, JsonlManifest, PathList, UrlList)
}
