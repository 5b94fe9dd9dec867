"""Every route of Lumilio, and the application that serves them."""

from datetime import timedelta

from aiohttp import web

from lumilio.api import (
    assets,
    auth,
    events,
    job_documents,
    jobs,
    ops,
    playback,
    problems,
    queues,
    schemas,
    sidecars,
    tasks,
    time_changes,
    upload,
)
from lumilio.api.context import CONTEXT, Access, Context
from lumilio.api.feed import Feed
from lumilio.api.middleware import add_headers, check_expectation, decide_access, observe, translate_errors
from lumilio.api.openapi import DOCUMENT, FILE_HEADERS, document, openapi_document
from lumilio.api.routes import Route, RouteHandler

V1 = "/api/v1"
MAX_BODY_BYTES = 1 << 17
"""Bodies that are read as a whole; files are streamed and have their own limit."""


def _route(method: str, path: str, handler: RouteHandler, access: Access, **more: object) -> Route:
    return Route(method=method, path=path, handler=handler, access=access, **more)  # type: ignore[arg-type]


_PUBLIC, _GUEST, _USER, _ADMIN = Access.PUBLIC, Access.GUEST, Access.USER, Access.ADMIN

ROUTES: tuple[Route, ...] = (
    _route("POST", f"{V1}/auth/login", auth.login, _PUBLIC, body=schemas.LoginBody, answers={200: schemas.Tokens}),
    _route("POST", f"{V1}/auth/refresh", auth.refresh, _PUBLIC, body=schemas.RefreshBody,
           answers={200: schemas.Tokens}),
    _route("GET", f"{V1}/assets", assets.list_assets, _GUEST, query=assets.ListQuery,
           answers={200: schemas.AssetItems}),
    _route("POST", f"{V1}/assets", upload.upload_asset, _USER, multipart="one",
           headers=FILE_HEADERS, answers={202: schemas.Upload, 200: schemas.Upload}),
    _route("POST", f"{V1}/assets/batch", upload.upload_batch, _USER, multipart="many",
           answers={200: schemas.BatchResults}),
    _route("POST", f"{V1}/assets/check", assets.check_assets, _USER, body=schemas.CheckBody,
           answers={200: schemas.CheckResults}),
    _route("GET", f"{V1}/assets/{{asset_id}}", assets.get_asset, _GUEST, answers={200: schemas.AssetDocument}),
    _route("DELETE", f"{V1}/assets/{{asset_id}}", assets.delete_asset, _USER, answers={204: None}),
    _route("POST", f"{V1}/assets/{{asset_id}}/restore", assets.restore_asset, _USER,
           answers={200: schemas.AssetDocument}),
    _route("POST", f"{V1}/assets/{{asset_id}}/render", assets.render_asset_again, _USER, body=schemas.RenderBody,
           answers={202: schemas.RenderOrder}),
    _route("GET", f"{V1}/assets/{{asset_id}}/thumbnail", assets.get_thumbnail, _GUEST, query=assets.ThumbnailQuery,
           answers={200: "image/webp", 206: "image/webp", 304: None}),
    _route("GET", f"{V1}/assets/{{asset_id}}/original", assets.get_original, _GUEST,
           answers={200: "application/octet-stream", 206: "application/octet-stream", 304: None}),
    _route("PUT", f"{V1}/assets/{{asset_id}}/sidecars/{{kind}}", sidecars.put_sidecar, _USER,
           query=sidecars.SidecarQuery, raw=True, answers={200: schemas.AssetDocument, 201: schemas.AssetDocument}),
    _route("GET", f"{V1}/assets/{{asset_id}}/sidecars/{{kind}}", sidecars.get_sidecar, _GUEST,
           answers={200: "application/octet-stream"}),
    _route("DELETE", f"{V1}/assets/{{asset_id}}/sidecars/{{kind}}", sidecars.delete_sidecar, _USER,
           answers={204: None}),
    _route("GET", f"{V1}/assets/{{asset_id}}/playback", playback.get_playback, _GUEST,
           answers={200: "application/octet-stream", 206: "application/octet-stream", 302: None, 304: None}),
    _route("GET", f"{V1}/tasks", tasks.list_tasks, _GUEST, query=tasks.TasksQuery, answers={200: schemas.Tasks}),
    _route("GET", f"{V1}/tasks/{{task_id}}", tasks.get_task, _GUEST, answers={200: schemas.Task}),
    _route("GET", f"{V1}/jobs", jobs.list_jobs, _GUEST, query=jobs.JobsQuery, answers={200: job_documents.JobItems}),
    _route("POST", f"{V1}/jobs/retry", jobs.retry_jobs, _USER, body=jobs.RetryBody, answers={200: jobs.RetryCounts}),
    _route("POST", f"{V1}/jobs/cancel", jobs.cancel_jobs, _USER, body=jobs.CancelBody,
           answers={200: jobs.CancelCounts}),
    _route("GET", f"{V1}/jobs/{{job_id}}", jobs.get_job, _GUEST, answers={200: job_documents.JobDocument}),
    _route("POST", f"{V1}/jobs/{{job_id}}/retry", jobs.retry_job, _USER, answers={200: job_documents.JobDocument}),
    _route("POST", f"{V1}/jobs/{{job_id}}/cancel", jobs.cancel_job, _USER, answers={200: jobs.CancelOutcome}),
    _route("GET", f"{V1}/problems", problems.list_problems, _GUEST, query=problems.ProblemsQuery,
           answers={200: problems.ListedProblemItems}),
    _route("POST", f"{V1}/problems/retry", problems.try_problems_again, _USER, body=problems.RetryProblemsBody,
           answers={200: problems.RetriedProblems}),
    _route("POST", f"{V1}/problems/ignore", problems.ignore_problems, _USER, body=problems.IgnoreProblemsBody,
           answers={200: problems.IgnoredProblems}),
    _route("GET", f"{V1}/time-changes", time_changes.list_time_changes, _GUEST, query=time_changes.TimeChangesQuery,
           answers={200: time_changes.TimeChangeItems}),
    _route("POST", f"{V1}/time-changes", time_changes.begin_time_change, _USER, body=time_changes.ChangeTimesBody,
           answers={200: time_changes.MatchingAssets, 202: time_changes.BegunTimeChange}),
    _route("GET", f"{V1}/queues", queues.list_queues, _ADMIN, answers={200: queues.Queues}),
    _route("POST", f"{V1}/queues/{{name}}/pause", queues.pause_queue, _ADMIN, answers={200: queues.QueueItem}),
    _route("POST", f"{V1}/queues/{{name}}/resume", queues.resume_queue, _ADMIN, answers={200: queues.QueueItem}),
    _route("GET", f"{V1}/events", events.stream_events, _GUEST, query=events.EventsQuery,
           headers={events.RESUME_HEADER: "the id of the last event that came: go on from there"},
           answers={200: events.MEDIA_TYPE}),
    _route("GET", "/health/live", ops.live, _PUBLIC, answers={200: schemas.Health}),
    _route("GET", "/health/ready", ops.ready, _PUBLIC, answers={200: schemas.Health, 503: schemas.Health}),
    _route("GET", "/metrics", ops.expose_metrics, _ADMIN, answers={200: "text/plain"}),
    _route("GET", f"{V1}/openapi.json", openapi_document, _PUBLIC, answers={200: "application/json"}),
    _route("GET", "/docs", ops.docs_page, _PUBLIC, answers={200: "text/html"}),
    _route("GET", "/docs/{name}", ops.docs_file, _PUBLIC, answers={200: "application/octet-stream"}),
)  # fmt: skip


def build_app(context: Context) -> web.Application:
    """The application with its one access decision a route."""
    access: dict[web.AbstractRoute, Access] = {}
    app = web.Application(
        middlewares=[observe, translate_errors, decide_access(access)], client_max_size=MAX_BODY_BYTES
    )
    app[CONTEXT] = context
    app[ops.READINESS] = ops.Readiness(context)
    keep = timedelta(hours=context.config.queue.keep_completed_hours)
    app[events.FEED] = Feed(context.library.db, keep=keep)
    app.on_shutdown.append(events.close_feed)
    app.on_response_prepare.append(add_headers)
    app[DOCUMENT] = document(ROUTES)
    for route in ROUTES:
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
            added = app.router.add_route(method, route.path, route.handler, expect_handler=check_expectation)
            access[added] = route.access
    return app
