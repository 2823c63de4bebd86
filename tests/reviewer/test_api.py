"""The HTTP API: what the clients of other systems get, who may call, and how bad input is answered."""

from __future__ import annotations

import json
import socket
import struct
import threading
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, override_settings
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from inference import serving
from inference.preprocess import decode
from labeling.actions.tokens import CallCounter, make_token, revoke_token
from labeling.actions.workers import beat
from labeling.models import ApiToken, Dataset, ModelVersion, Scope
from labeling.outbound.rules import OutboundRule
from labeling.pipeline import serving as served_pipeline
from reviewer.api import fetching
from tests.reviewer.api_parts import CHINA, picture, problem
from tests.starter import NAME

pytestmark = pytest.mark.django_db
FIVE = ["drawings", "hentai", "neutral", "porn", "sexy"]


# ---- health


def test_health_says_ok_and_asks_nothing(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        response = client.get("/health")
    assert response.content == b'{"status": "ok"}'
    assert client.head("/health").status_code == 200


def test_ready_names_what_is_missing(client: Client) -> None:
    said = problem(client.get("/health/ready"), 503, "not_ready")
    assert "fetch_model" in said
    assert "manage.py worker" in said


def test_ready_names_the_model_once_everything_is_there(client: Client, model: ModelVersion) -> None:
    beat()
    assert client.get("/health/ready").json() == {"status": "ready", "model": f"{NAME} v1"}


# ---- who may call


@pytest.mark.parametrize("path", ["/predict", "/nsfw", "/compute"])
def test_without_a_token_nothing_is_answered_unless_the_server_is_opened(client: Client, path: str) -> None:
    response = client.post(path, {"image": picture()})
    problem(response, 401, "token_missing")
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_session_of_a_person_is_no_token(as_owner: Client) -> None:
    problem(as_owner.post("/nsfw", {"image": picture()}), 401, "token_missing")


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer x", "Basic dXNlcjp3b3Jk", "Bearer winnow_000000000000_" + "A" * 43, "bearer \x00"],
)
@pytest.mark.parametrize("opened", [False, True])
def test_a_wrong_token_is_refused_on_an_open_server_too(header: str, opened: bool, looks: Dataset) -> None:
    with override_settings(API_ANONYMOUS=opened):
        response = Client(headers={"Authorization": header}).post("/nsfw", {"image": picture()})
    assert response.status_code == 401
    assert json.loads(response.content)["code"] in {"token_unknown", "token_missing"}


def test_a_token_answers_and_notes_when_it_was_used(model: ModelVersion, with_token: Callable[..., Client]) -> None:
    assert with_token(Scope.PREDICT).post("/nsfw", {"image": picture()}).status_code == 200
    assert ApiToken.objects.get().last_used_at is not None


def test_the_secret_is_kept_nowhere(looks: Dataset) -> None:
    token, text = make_token(dataset=looks, name="x", scopes=[Scope.PREDICT])
    secret = text.split("_", 2)[2]  # which may itself hold underscores
    assert len(secret) >= 40
    assert all(secret[:20] not in str(value) for value in vars(token).values())


def test_an_expired_a_revoked_and_a_weak_token_are_refused(with_token: Callable[..., Client]) -> None:
    weak = with_token(Scope.REPORT)
    assert "scope predict" in problem(weak.post("/nsfw", {"image": picture()}), 403, "scope_missing")
    token = ApiToken.objects.get()
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    problem(weak.post("/nsfw", {"image": picture()}), 401, "token_expired")
    revoke_token(token=token)
    problem(weak.post("/nsfw", {"image": picture()}), 401, "token_unknown")


def test_a_busy_token_waits_for_the_next_minute(model: ModelVersion, with_token: Callable[..., Client]) -> None:
    client = with_token(Scope.PREDICT, per_minute=2)
    statuses = [client.post("/nsfw", {"image": picture()}) for _ in range(5)]
    refused = [response for response in statuses if response.status_code == 429]
    # Two, or up to four where a minute began between them.
    assert 1 <= len(refused) <= 3
    problem(refused[0], 429, "rate_limited")
    assert 1 <= int(refused[0].headers["Retry-After"]) <= 61


def test_two_processes_together_take_no_more_than_the_rate(looks: Dataset) -> None:
    token, _ = make_token(dataset=looks, name="x", scopes=[Scope.PREDICT], per_minute=100)
    processes = [CallCounter(), CallCounter()]
    taken = sum(processes[number % 2].take(token, now=6000.0 + number / 100) is None for number in range(400))
    assert taken == 100
    assert processes[0].take(token, now=6060.0) is None
    wait = processes[0].take(ApiToken(pk=0, per_minute=1), now=6030.0)
    assert wait == 30


# ---- the shapes of other systems


def test_predict_of_a_file_says_nsfw_or_sfw_and_how_sure(anonymous: Client, model: ModelVersion) -> None:
    said = anonymous.post("/predict", {"image": picture()}).json()
    assert list(said) == ["prediction", "confidence"]
    assert said["prediction"] == "SFW"
    assert said["confidence"] == pytest.approx(0.99999, abs=1e-4)


def test_nsfw_lists_nsfwjs_names_the_most_probable_first(anonymous: Client, model: ModelVersion) -> None:
    said = anonymous.post("/nsfw", {"image": picture()}).json()
    assert [set(one) for one in said] == [{"className", "probability"}] * 5
    assert [one["className"] for one in said[:2]] == ["Neutral", "Drawing"]
    assert said[0]["probability"] == pytest.approx(0.99652, abs=1e-4)
    assert said == sorted(said, key=lambda one: -one["probability"])


def test_compute_writes_numbers_as_strings(anonymous: Client, model: ModelVersion) -> None:
    said = anonymous.post("/compute", {"image": picture()}).json()
    assert list(said) == ["prediction_category", "prediction_subcategory", "scores_dict_cat", "scores_dict_sub_cat"]
    assert (said["prediction_category"], said["prediction_subcategory"]) == ("safe", "neutral")
    assert list(said["scores_dict_sub_cat"]) == FIVE
    assert set(said["scores_dict_cat"]) == {"safe", "adult"}
    assert all(isinstance(score, str) and 0 <= float(score) <= 1 for score in said["scores_dict_sub_cat"].values())
    assert sum(map(float, said["scores_dict_cat"].values())) == pytest.approx(1, abs=1e-4)


def test_predict_of_a_url_is_flat_and_nothing_else(
    anonymous: Client, model: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _file_server() as base, override_settings(API_FETCH=OutboundRule.parse("127.0.0.1")):
        said = anonymous.post(f"/predict?url={base}/china.jpg").json()
        missing = anonymous.post(f"/predict?url={base}/none.jpg")
    assert list(said) == FIVE
    assert said["neutral"] == pytest.approx(0.99652, abs=1e-4)
    problem(missing, 502, "fetch_failed")


def test_a_url_is_fetched_only_where_the_server_is_set_to(anonymous: Client, model: ModelVersion) -> None:
    problem(anonymous.post("/predict?url=http://127.0.0.1/a.jpg"), 403, "fetch_off")
    with override_settings(API_FETCH=OutboundRule.parse("public")):
        problem(anonymous.post("/predict?url=http://127.0.0.1/a.jpg"), 422, "url_not_allowed")
        problem(anonymous.post("/predict?url=file:///etc/passwd"), 422, "url_invalid")


def test_slow_hosts_do_not_take_every_thread(anonymous: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_places", threading.BoundedSemaphore(1))
    with fetching._places:
        response = anonymous.post("/predict?url=http://127.0.0.1/a.jpg")
    problem(response, 503, "busy")
    assert int(response.headers["Retry-After"]) >= 1


# ---- recorded requests, byte for byte, against a running server

BOUNDARY = b"------------------------d74496d66958873e"
PART = (
    b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="image"; filename="NAME"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n" + CHINA + b"\r\n--" + BOUNDARY + b"--\r\n"
)


def recorded(head: str, body: bytes) -> bytes:
    """A request as a client wrote it: its head with CRLF, and the length of the body filled in."""
    lines = head.strip().format(length=len(body), boundary=BOUNDARY.decode()).splitlines()
    return "\r\n".join(line.strip() for line in lines).encode() + b"\r\n\r\n" + body


CURL_OF_SYSTEM_1 = """
    POST /predict HTTP/1.1
    Host: localhost:5000
    User-Agent: curl/7.88.1
    Accept: */*
    Content-Length: {length}
    Content-Type: multipart/form-data; boundary={boundary}
"""
REQUESTS_OF_SYSTEM_4 = """
    POST /predict?url=http%3A%2F%2F127.0.0.1%3A{port}%2Fchina.jpg HTTP/1.1
    Host: localhost:5000
    User-Agent: python-requests/2.28.1
    Accept-Encoding: gzip, deflate
    Accept: */*
    Connection: keep-alive
    Content-Length: 0
"""
AXIOS_OF_SYSTEM_3 = """
    POST /nsfw HTTP/1.1
    Accept: application/json, text/plain, */*
    Content-Type: multipart/form-data; boundary={boundary}
    User-Agent: axios/1.4.0
    Content-Length: {length}
    Accept-Encoding: gzip, compress, deflate, br
    Host: localhost:8080
    Connection: close
"""
BROWSER_OF_SYSTEM_5 = """
    POST /compute HTTP/1.1
    Host: localhost:9090
    Origin: http://localhost:9090
    Referer: http://localhost:9090/docs
    accept: application/json
    Sec-Fetch-Mode: cors
    Content-Type: multipart/form-data; boundary={boundary}
    Content-Length: {length}
"""


@pytest.mark.django_db(transaction=True)
def test_each_systems_client_gets_its_own_shape_unchanged(live_server: LiveServer, model: ModelVersion) -> None:
    with (
        override_settings(API_ANONYMOUS=True, API_FETCH=OutboundRule.parse("127.0.0.1"), ALLOWED_HOSTS=["localhost"]),
        _file_server() as base,
    ):
        # The file name climbs, as system 1 would have followed.
        form = PART.replace(b"NAME", b"../../../tmp/evil.jpg")
        one = _send(live_server, recorded(CURL_OF_SYSTEM_1, form))
        three = _send(live_server, recorded(AXIOS_OF_SYSTEM_3, form))
        four_head = REQUESTS_OF_SYSTEM_4.replace("{port}", base.rpartition(":")[2])
        four = _send(live_server, recorded(four_head, b""))
        five = _send(live_server, recorded(BROWSER_OF_SYSTEM_5, form))
        health = _send(live_server, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert _shape(one) == b'{"prediction": "", "confidence": 0}'
    pair = b'{"className": "", "probability": 0}'
    assert _shape(three) == b"[" + b", ".join([pair] * 5) + b"]"
    assert _numbers(four) == b'{"drawings": 0, "hentai": 0, "neutral": 0, "porn": 0, "sexy": 0}'
    sub = b", ".join(b'"%s": ""' % name.encode() for name in FIVE)
    assert _shape(five) == (
        b'{"prediction_category": "", "prediction_subcategory": "", "scores_dict_cat": {"safe": "", "adult": ""}, '
        b'"scores_dict_sub_cat": {' + sub + b"}}"
    )
    assert health == b'{"status": "ok"}'


def test_a_body_of_100_mb_is_refused_before_it_is_read(live_server: LiveServer) -> None:
    big = recorded(CURL_OF_SYSTEM_1, b"").replace(b"Content-Length: 0", b"Content-Length: 104857600")
    body = _send(live_server, big + b"x" * (100 << 20), status=413)
    assert json.loads(body)["code"] == "body_too_large"


def test_a_client_that_hangs_up_leaves_the_server_as_it_was(live_server: LiveServer) -> None:
    half = recorded(CURL_OF_SYSTEM_1, PART)[:5000]
    with socket.create_connection(_address(live_server)) as peer:
        peer.sendall(half)
        # Reset rather than closed in order.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert _send(live_server, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n") == b'{"status": "ok"}'


# ---- bad input


def test_nothing_is_written_to_disk_whatever_the_size(
    anonymous: Client, model: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    monkeypatch.setattr("django.core.files.uploadedfile.TemporaryUploadedFile.__init__", refuse)
    # Behind the end of the JPEG the file goes on: decoders do not mind.
    big = picture(CHINA + bytes(8 << 20))
    assert anonymous.post("/nsfw", {"image": big}).status_code == 200


@pytest.mark.parametrize("path", ["/predict", "/nsfw", "/compute"])
def test_no_file_and_two_files_are_400(anonymous: Client, path: str) -> None:
    problem(anonymous.post(path), 400, "no_image")
    problem(anonymous.post(path, {"image": "text, not a file"}), 400, "no_image")
    problem(anonymous.post(path, {"picture": picture()}), 400, "no_image")
    problem(anonymous.post(path, {"image": [picture(), picture()]}), 400, "two_images")
    problem(anonymous.post(path, {"image": picture(), "other": picture()}), 400, "two_images")


def test_a_file_and_a_url_are_one_too_many(anonymous: Client) -> None:
    problem(anonymous.post("/predict?url=http://a.example/", {"image": picture()}), 400, "two_images")


def test_a_body_that_is_no_form_is_415(anonymous: Client) -> None:
    for kind in ("image/jpeg", "application/json", "text/plain", ""):
        problem(anonymous.post("/nsfw", data=CHINA, content_type=kind), 415, "unsupported_media_type")


def test_a_broken_form_is_400(anonymous: Client) -> None:
    kind = "multipart/form-data"
    problem(anonymous.post("/nsfw", data=b"x", content_type=kind), 400, "bad_multipart")
    problem(anonymous.post("/nsfw", data=b"x", content_type=f"{kind}; boundary=yy"), 400, "no_image")
    problem(anonymous.post("/nsfw", data=PART[:2000], content_type=f"{kind}; boundary=yy"), 400, "no_image")


def test_a_body_without_length_is_411(anonymous: Client) -> None:
    response = anonymous.post("/nsfw", {"image": picture()}, headers={"Transfer-Encoding": "chunked"})
    problem(response, 411, "length_required")


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "image_empty"),
        (b"no image at all", 415, "image_not_an_image"),
        (b"%PDF-1.7 and so on", 415, "image_unsupported"),
        (CHINA[:3000], 422, "image_truncated"),
    ],
)
def test_what_is_no_picture_is_said_so(
    anonymous: Client, model: ModelVersion, content: bytes, status: int, code: str
) -> None:
    problem(anonymous.post("/nsfw", {"image": picture(content)}), status, code)


def test_a_bomb_is_refused_before_it_is_decoded(anonymous: Client, model: ModelVersion) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        whole = kind + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
    problem(anonymous.post("/nsfw", {"image": picture(bomb)}), 413, "image_too_many_pixels")


def test_another_method_is_405_and_names_the_right_one(client: Client) -> None:
    response = client.get("/predict")
    problem(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == "POST"
    problem(client.post("/health"), 405, "method_not_allowed")


def test_an_unknown_address_of_the_api_is_json_and_of_the_pages_is_not(client: Client) -> None:
    problem(client.get("/api/nothing"), 404, "not_found")
    assert client.get("/nothing/").headers["Content-Type"].startswith("text/html")


def test_a_wrong_host_is_answered_in_the_same_shape(client: Client) -> None:
    problem(client.get("/health", headers={"Host": "evil.example"}), 400, "bad_request")


def test_a_fault_of_ours_is_500_without_its_traceback(
    anonymous: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr("reviewer.api.routes.predict", fail)
    said = problem(anonymous.post("/nsfw", {"image": picture()}), 500, "server_error")
    assert "secret inside" not in said
    assert "secret inside" in caplog.text


def test_a_model_that_is_not_there_is_503_and_says_when_to_come_back(anonymous: Client) -> None:
    response = anonymous.post("/nsfw", {"image": picture()})
    problem(response, 503, "model_not_ready")
    assert int(response.headers["Retry-After"]) >= 1


def test_a_full_queue_is_503_at_once(anonymous: Client, model: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def behind_the_gate(source: bytes, *, max_pixels: int) -> Any:
        assert gate.wait(20)
        return decode(source, max_pixels=max_pixels)

    monkeypatch.setattr(serving, "decode", behind_the_gate)
    served = served_pipeline.served_model()
    with override_settings(API_INTERPRETERS=1, API_WAITING=0):
        predictor = served_pipeline._predictors.predictor(served)
    waiting = threading.Thread(target=predictor.predict, args=(CHINA,))
    waiting.start()
    while not predictor._admitted:
        pass
    try:
        response = anonymous.post("/nsfw", {"image": picture()})
        problem(response, 503, "busy")
        assert int(response.headers["Retry-After"]) >= 1
    finally:
        gate.set()
        waiting.join()
    assert anonymous.post("/nsfw", {"image": picture()}).status_code == 200


# ---- its page


def test_the_page_of_the_api_loads_everything_from_here(client: Client) -> None:
    page = client.get("/api/docs")
    assert page.status_code == 200
    assert "//cdn" not in page.content.decode()
    assert (
        "script-src" in page.headers["Content-Security-Policy"]
        or "default-src" in page.headers["Content-Security-Policy"]
    )
    schema = client.get("/api/openapi.json").json()
    assert {"/health", "/health/ready", "/predict", "/nsfw", "/compute"} <= set(schema["paths"])


def _address(server: LiveServer) -> tuple[str, int]:
    return str(server.thread.host), int(server.thread.port)


def _send(server: LiveServer, request: bytes, *, status: int = 200) -> bytes:
    """Write a request as it is, and read the body of the answer."""
    with socket.create_connection(_address(server), timeout=30) as peer:
        peer.sendall(request)
        peer.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := peer.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == str(status).encode(), answer[:500]
    assert b"application/json" in head
    return body


def _numbers(body: bytes) -> bytes:
    return json.dumps(json.loads(body, parse_float=lambda _: 0)).encode() if body else body


def _shape(body: bytes) -> bytes:
    """The body with every number as 0 and every text value as "": what is left is byte for byte the shape."""

    def emptied(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: emptied(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [emptied(inner) for inner in value]
        return "" if isinstance(value, str) else 0

    return json.dumps(emptied(json.loads(body))).encode()


class _file_server:  # noqa: N801  (used like a function)
    """A server on loopback that has one picture."""

    def __enter__(self) -> str:
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                found = b"/china.jpg " in peer.recv(65536)
                status, body = (b"200 OK", CHINA) if found else (b"404 Not Found", b"")
                head = b"HTTP/1.1 %s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
                peer.sendall(head + body)
