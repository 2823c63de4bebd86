"""What the tests of the HTTP API share: one harmless photograph, and the shape of a problem."""

import io
import json
from pathlib import Path
from typing import Any

import sklearn.datasets
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

CHINA = (Path(sklearn.datasets.__file__).parent / "images" / "china.jpg").read_bytes()


def small_picture() -> bytes:
    out = io.BytesIO()
    Image.effect_mandelbrot((32, 24), (-2, -1, 1, 1), 20).save(out, "PNG")
    return out.getvalue()


def picture(content: bytes = CHINA, name: str = "a.jpg") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, "image/jpeg")


def problem(response: Any, status: int, code: str) -> str:
    """The message of a problem, once its shape and its status are as they must be."""
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/json"
    body = json.loads(response.content)
    assert set(body) == {"code", "message"}
    assert body["code"] == code
    assert body["message"][0].isupper()
    assert body["message"].endswith(".")
    assert "Traceback" not in body["message"]
    return str(body["message"])
