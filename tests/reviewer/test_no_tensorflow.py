"""The web process never loads TensorFlow, not even when it serves predictions or offers recipes to train by."""

import os
import subprocess
import sys
from pathlib import Path

from django.conf import settings

from tests.starter import starter_model_folder

SERVE = """
import sys
from pathlib import Path
import numpy as np
import reviewer.wsgi
import reviewer.urls
from labeling.pipeline.training import RECIPES
from inference.models.compiled import CompiledModel

model = CompiledModel.open(Path(sys.argv[1]), serving=True)
probabilities, _ = model.predict(np.zeros((1, 224, 224, 3), np.float32))
assert probabilities.shape == (1, 5)
assert "five_vit" in RECIPES
print(sorted({"tensorflow", "keras", "tf_keras", "onnxruntime"} & {name.partition(".")[0] for name in sys.modules}))
"""


def test_the_web_process_serves_a_model_without_loading_tensorflow(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(starter_model_folder())],
        cwd=settings.BASE_DIR,
        env=os.environ | {"WINNOW_HOME": str(tmp_path), "DJANGO_SETTINGS_MODULE": "reviewer.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
