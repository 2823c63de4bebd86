from __future__ import annotations

from pathlib import Path

import pytest
import sklearn.datasets

from inference.models.compiled import CompiledModel
from tests.starter import starter_model_folder


@pytest.fixture(scope="session")
def starter_folder() -> Path:
    return starter_model_folder()


@pytest.fixture(scope="session")
def starter_model(starter_folder: Path) -> CompiledModel:
    return CompiledModel.open(starter_folder)


@pytest.fixture(scope="session")
def photographs() -> tuple[Path, Path]:
    """scikit-learn's two sample photographs, 640×427: china.jpg and flower.jpg."""
    folder = Path(sklearn.datasets.__file__).parent / "images"
    return folder / "china.jpg", folder / "flower.jpg"
