"""What holds for the whole API: the document describes it, and a failure is a problem that tells enough, not more."""

import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from jsonschema import Draft202012Validator
from yarl import URL

from lumilio.api.app import MAX_BODY_BYTES, ROUTES
from tests.acceptance.callers import session_of
from tests.acceptance.raw_http import connect, head_of
from tests.running import RunningDaemon, finished, upload

JSON = {"Content-Type": "application/json"}


async def _document(daemon: RunningDaemon) -> dict[str, Any]:
    async with session_of(daemon, None) as client, client.get("/api/v1/openapi.json") as response:
        assert response.content_type == "application/json"
        document: dict[str, Any] = await response.json()
        return document


def _references(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "$ref" in value:
            yield value["$ref"]
        for child in value.values():
            yield from _references(child)
    elif isinstance(value, list):
        for child in value:
            yield from _references(child)


def _schemas(value: object) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            if key == "schema":
                yield child
            yield from _schemas(child)
    elif isinstance(value, list):
        for child in value:
            yield from _schemas(child)


async def test_the_document_describes_every_route_and_nothing_else(shared_daemon: RunningDaemon) -> None:
    document = await _document(shared_daemon)
    described = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    assert described == {(route.method, route.path) for route in ROUTES}


async def test_the_document_is_openapi_3_1(shared_daemon: RunningDaemon) -> None:
    document = await _document(shared_daemon)
    assert document["openapi"].startswith("3.1.")
    assert set(document) <= {"openapi", "info", "servers", "paths", "components", "security", "tags"}
    assert document["info"]["title"]
    assert document["info"]["version"]
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for reference in _references(document):
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
    for schema in [*_schemas(document["paths"]), *document["components"]["schemas"].values()]:
        Draft202012Validator.check_schema(schema)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            in_path = {item["name"] for item in operation["parameters"] if item["in"] == "path"}
            assert in_path == set(re.findall(r"\{(\w+)\}", path)), where
            assert all(item["required"] for item in operation["parameters"] if item["in"] == "path"), where
            keys = [(item["in"], item["name"]) for item in operation["parameters"]]
            assert len(set(keys)) == len(keys), where
            assert all(re.fullmatch(r"default|[1-5]\d\d", status) for status in operation["responses"]), where
            assert all(answer["description"] for answer in operation["responses"].values()), where
            assert ("security" in operation) == (operation["x-access"] != "public"), where
            assert ("requestBody" in operation) <= (method in {"post", "put", "patch"}), where


async def test_answers_fit_the_schemas_of_the_document(shared_daemon: RunningDaemon, photo: bytes) -> None:
    document = await _document(shared_daemon)
    async with shared_daemon.session() as client:
        _, answer = await upload(client, "schema.jpg", photo)
        await finished(client, answer["task_id"])
        async with client.get("/api/v1/assets?limit=1") as response:
            (item,) = (await response.json())["items"]
        fill = {"asset_id": item["id"], "task_id": "1", "job_id": answer["task_id"], "name": "start.js", "kind": "xmp"}
        for path, methods in document["paths"].items():
            if "get" not in methods:
                continue
            async with client.get(
                path.format(**fill), params={"id": "1"} if path.endswith("/tasks") else {}
            ) as response:
                answers = methods["get"]["responses"]
                answer = answers.get(str(response.status), answers["default"])
                content = answer["content"]
                assert path.endswith("/original") or response.content_type in content or "{name}" in path, path
                if response.content_type in {"application/json", "application/problem+json"}:
                    schema = dict(content[response.content_type]["schema"]) | {"components": document["components"]}
                    jsonschema.validate(await response.json(content_type=None), schema)


REFUSALS: tuple[tuple[str, str, dict[str, Any], int, str], ...] = (
    ("GET", "/nowhere", {}, 404, "request.not_found"),
    ("GET", "/", {}, 404, "request.not_found"),
    ("GET", "/api/v1", {}, 404, "request.not_found"),
    ("GET", "/api/v1/assets/", {}, 404, "request.not_found"),
    ("GET", "/api/v1/assets/no-uuid", {}, 404, "request.not_found"),
    ("GET", "/api/v1/assets/00000000-0000-0000-0000-000000000000", {}, 404, "request.not_found"),
    ("DELETE", "/api/v1/assets/00000000-0000-0000-0000-000000000000", {}, 404, "request.not_found"),
    ("GET", "/api/v1/tasks/x", {}, 404, "request.not_found"),
    ("GET", "/api/v1/tasks/²", {}, 404, "request.not_found"),
    ("GET", "/api/v1/tasks/999999999999999999999999", {}, 404, "request.not_found"),
    ("GET", "/docs/../lumilio.toml", {}, 404, "request.not_found"),
    ("GET", "/docs/..%2f..%2flumilio.toml", {}, 404, "request.not_found"),
    ("PUT", "/api/v1/assets", {}, 405, "request.method_not_allowed"),
    ("TRACE", "/api/v1/assets", {}, 405, "request.method_not_allowed"),
    ("POST", "/health/live", {}, 405, "request.method_not_allowed"),
    ("GET", "/api/v1/assets?limit=0", {}, 400, "request.invalid"),
    ("GET", "/api/v1/assets?limit=501", {}, 400, "request.invalid"),
    ("GET", "/api/v1/assets?limit=ten", {}, 400, "request.invalid"),
    ("GET", "/api/v1/assets?limit=1&limit=2", {}, 400, "request.invalid"),
    ("GET", "/api/v1/assets?colour=red", {}, 400, "request.invalid"),
    ("GET", "/api/v1/assets?type=document", {}, 400, "request.invalid"),
    ("GET", "/api/v1/assets?sort=name", {}, 400, "request.invalid"),
    ("GET", "/api/v1/assets?order=up", {}, 400, "request.invalid"),
    ("GET", "/api/v1/assets?cursor=%00", {}, 400, "request.invalid"),
    ("GET", "/api/v1/tasks", {}, 400, "request.invalid"),
    ("GET", "/api/v1/tasks?id=-1", {}, 400, "request.invalid"),
    ("GET", "/api/v1/tasks?" + "&".join(f"id={n}" for n in range(101)), {}, 400, "request.invalid"),
    ("GET", "/api/v1/jobs/x", {}, 404, "request.not_found"),
    ("GET", "/api/v1/jobs/999999999999999999999999", {}, 404, "request.not_found"),
    ("POST", "/api/v1/jobs/999999999999999999/retry", {}, 404, "request.not_found"),
    ("POST", "/api/v1/jobs/0/cancel", {}, 404, "request.not_found"),
    ("GET", "/api/v1/jobs?limit=0", {}, 400, "request.invalid"),
    ("GET", "/api/v1/jobs?limit=501", {}, 400, "request.invalid"),
    ("GET", "/api/v1/jobs?state=odd", {}, 400, "request.invalid"),
    ("GET", "/api/v1/jobs?kind=%00", {}, 400, "request.invalid"),
    ("GET", "/api/v1/jobs?queue=", {}, 400, "request.invalid"),
    ("GET", "/api/v1/jobs?cursor=x", {}, 400, "request.invalid"),
    ("POST", "/api/v1/jobs/retry", {}, 415, "request.media_type_unsupported"),
    ("POST", "/api/v1/jobs/retry", {"json": {}}, 400, "request.invalid"),
    ("POST", "/api/v1/jobs/retry", {"json": {"all": False}}, 400, "request.invalid"),
    ("POST", "/api/v1/jobs/retry", {"json": {"state": ["completed"]}}, 400, "request.invalid"),
    ("POST", "/api/v1/jobs/retry", {"json": {"state": ["available"]}}, 400, "request.invalid"),
    ("POST", "/api/v1/jobs/retry", {"json": {"kind": "a", "more": 1}}, 400, "request.invalid"),
    ("POST", "/api/v1/jobs/cancel", {"json": {}}, 400, "request.invalid"),
    ("POST", "/api/v1/jobs/cancel", {"json": {"state": []}}, 400, "request.invalid"),
    ("POST", "/api/v1/jobs/cancel", {"json": {"state": ["discarded"]}}, 400, "request.invalid"),
    ("POST", "/api/v1/jobs/cancel", {"json": {"queue": "\0"}}, 400, "request.invalid"),
    ("POST", "/api/v1/queues/no-such-queue/pause", {}, 404, "request.not_found"),
    ("POST", "/api/v1/queues/%00/resume", {}, 404, "request.not_found"),
    ("GET", "/api/v1/events?colour=red", {}, 400, "request.invalid"),
    ("GET", "/api/v1/events?kind=a%20b", {}, 400, "request.invalid"),
    ("POST", "/api/v1/assets", {}, 415, "request.media_type_unsupported"),
    ("POST", "/api/v1/assets", {"json": {}}, 415, "request.media_type_unsupported"),
    ("POST", "/api/v1/assets", {"headers": {"Content-Type": "multipart/form-data"}}, 400, "request.invalid"),
    ("POST", "/api/v1/assets/batch", {"json": {}}, 415, "request.media_type_unsupported"),
    ("POST", "/api/v1/assets/check", {"data": b"x"}, 415, "request.media_type_unsupported"),
    ("POST", "/api/v1/assets/check", {"data": b"{", "headers": JSON}, 400, "request.invalid"),
    ("POST", "/api/v1/assets/check", {"data": b"", "headers": JSON}, 400, "request.invalid"),
    ("POST", "/api/v1/assets/check", {"data": b"\xff", "headers": JSON}, 400, "request.invalid"),
    ("POST", "/api/v1/assets/check", {"data": b"[" * 100_000, "headers": JSON}, 400, "request.invalid"),
    ("POST", "/api/v1/assets/check", {"json": {"hashes": []}}, 400, "request.invalid"),
    ("POST", "/api/v1/assets/check", {"json": {"hashes": ["x"]}}, 400, "request.invalid"),
    ("POST", "/api/v1/assets/check", {"json": {"hashes": ["a" * 64], "more": 1}}, 400, "request.invalid"),
    ("POST", "/api/v1/assets/check", {"json": {"hashes": ["a" * 64] * 1001}}, 400, "request.invalid"),
    ("POST", "/api/v1/assets/check",
     {"data": io.BytesIO(bytes(MAX_BODY_BYTES + 1)), "headers": JSON}, 413, "request.too_large"),
    ("POST", "/api/v1/assets/check",
     {"data": b"no gzip", "headers": JSON | {"Content-Encoding": "gzip"}}, 400, "request.invalid"),
    ("POST", "/api/v1/auth/login", {"json": {"username": "admin"}}, 400, "request.invalid"),
    ("POST", "/api/v1/auth/login", {"json": {"username": "admin", "password": "x" * 1025}}, 400, "request.invalid"),
    ("POST", "/api/v1/auth/login", {"json": {"username": 1, "password": 2}}, 400, "request.invalid"),
    ("POST", "/api/v1/auth/refresh", {"json": {"refresh_token": "x"}}, 401, "auth.unauthenticated"),
    ("POST", "/api/v1/auth/refresh", {"json": {"refresh_token": "\0"}}, 401, "auth.unauthenticated"),
    ("POST", "/api/v1/auth/refresh",
     {"data": rb'{"refresh_token": "\ud800"}', "headers": JSON}, 400, "request.invalid"),
)  # fmt: skip


@pytest.mark.parametrize(("method", "path", "more", "status", "code"), REFUSALS, ids=itertools.count())
async def test_a_refusal_is_a_problem_document(
    shared_daemon: RunningDaemon, method: str, path: str, more: dict[str, Any], status: int, code: str
) -> None:
    async with (
        shared_daemon.session() as client,
        client.request(method, _unnormalised(shared_daemon, path), **more) as response,
    ):
        text = await response.text()
        assert (response.status, response.content_type) == (status, "application/problem+json"), text
        problem = json.loads(text)
        assert (problem["status"], problem["code"], problem["type"]) == (status, code, "about:blank")
        assert problem["title"]
        assert problem["detail"]
        assert problem["request_id"] == response.headers["X-Request-ID"]
        assert len(text) < 5000
        assert "Traceback" not in text
        assert str(shared_daemon.data_dir) not in text
        if status == 405:
            assert response.headers["Allow"]
        _assert_safe(response.headers)


def _unnormalised(daemon: RunningDaemon, path: str) -> Any:
    return URL(daemon.url + path, encoded=path.isascii())


def _assert_safe(headers: Mapping[str, str]) -> None:
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "public" not in headers["Cache-Control"]
    assert headers["Server"] == "Lumilio"


async def test_a_cut_off_query_body_or_head_is_refused_without_a_trace(shared_daemon: RunningDaemon) -> None:
    for garbage in (
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    ):
        client = await connect(shared_daemon)
        await client.send(garbage)
        answer = await client.answer()
        assert answer.status in {400, 404, 431}
        assert b"Traceback" not in answer.body
        assert b"/site-packages/" not in answer.body
        await client.abort()


async def test_head_answers_as_get_does_without_the_body(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client:
        await upload(client, "head.jpg", photo)
        for path in ("/health/live", "/api/v1/assets?limit=1", "/api/v1/openapi.json", "/docs"):
            async with client.get(path) as got:
                body = await got.read()
            async with client.head(path) as asked:
                assert asked.status == got.status
                assert asked.content_type == got.content_type
                assert int(asked.headers["Content-Length"]) == len(body)
                assert await asked.read() == b""
        async with client.head("/api/v1/assets/no-uuid") as response:
            assert response.status == 404


async def test_a_body_is_invited_only_after_the_access_decision(shared_daemon: RunningDaemon) -> None:
    lines = ("Content-Type: application/json", "Content-Length: 2", "Expect: 100-continue")
    known = await connect(shared_daemon)
    await known.send(head_of(shared_daemon, "POST", "/api/v1/assets/check", *lines))
    assert (await known.answer(with_body=False)).status == 100
    await known.send(b"{}")
    assert (await known.answer()).status == 400
    await known.abort()
    stranger = await connect(shared_daemon)
    head = head_of(shared_daemon, "POST", "/api/v1/assets/check", *lines)
    await stranger.send(re.sub(rb"Authorization: [^\r]+\r\n", b"", head))
    assert (await stranger.answer()).problem()["code"] == "auth.unauthenticated"
    await stranger.abort()
    odd = await connect(shared_daemon)
    await odd.send(head_of(shared_daemon, "POST", "/api/v1/assets/check", *lines[:2], "Expect: magic") + b"{}")
    assert (await odd.answer()).problem()["code"] == "request.invalid"
    await odd.abort()


async def test_the_request_id_of_the_client_is_kept_when_it_is_harmless(shared_daemon: RunningDaemon) -> None:
    async with shared_daemon.session() as client:
        async with client.get("/health/live", headers={"X-Request-ID": "trace-1.2_3"}) as response:
            assert response.headers["X-Request-ID"] == "trace-1.2_3"
        for hostile in ("a b", "x" * 65, "<script>", "é"):
            async with client.get("/health/live", headers={"X-Request-ID": hostile}) as response:
                assert re.fullmatch(r"[0-9a-f]{16}", response.headers["X-Request-ID"])


async def test_the_documentation_is_served_whole_from_here(shared_daemon: RunningDaemon) -> None:
    async with session_of(shared_daemon, None) as client:
        async with client.get("/docs") as response:
            page = await response.text()
            assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        links = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert links
        for link in links:
            assert link.startswith("/docs/")
            async with client.get(link) as response:
                assert response.status == 200
                assert await response.read()


async def test_secrets_in_answers_are_not_to_be_stored(shared_daemon: RunningDaemon) -> None:
    login = {"username": "admin", "password": shared_daemon.admin_password}
    async with (
        session_of(shared_daemon, None) as client,
        client.post("/api/v1/auth/login", json=login) as response,
    ):
        assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")


async def test_a_deep_or_wide_body_costs_a_refusal_and_not_the_daemon(shared_daemon: RunningDaemon) -> None:
    wide = json.dumps({"hashes": ["a" * 64], **{f"k{n}": n for n in range(5_000)}}).encode()
    async with shared_daemon.session() as client:
        async with client.post("/api/v1/assets/check", data=wide, headers=JSON) as response:
            assert response.status == 400
            problem = await response.json(content_type=None)
            assert len(problem["errors"]) == 21
            assert problem["errors"][-1] == "and 4980 more"
        async with client.get("/health/live") as response:
            assert response.status == 200
