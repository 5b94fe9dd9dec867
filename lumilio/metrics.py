"""Every metric of Lumilio, in Prometheus terms. The only module that imports prometheus_client.

Definitions are module-level, as that library intends; nothing is measured at import.
"""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest

REQUESTS = Counter("lumilio_http_requests_total", "HTTP requests answered", ["route", "method", "status"])
REQUEST_SECONDS = Histogram("lumilio_http_request_seconds", "Time to answer an HTTP request", ["route", "method"])
UPLOADED_BYTES = Counter("lumilio_uploaded_bytes_total", "Bytes received and made durable in staging")
UPLOADS = Counter("lumilio_uploads_total", "Files received", ["outcome"])

JOBS_FINISHED = Counter("lumilio_jobs_finished_total", "Attempts that ended", ["kind", "outcome"])
JOB_SECONDS = Histogram(
    "lumilio_job_seconds",
    "Run time of an attempt",
    ["kind"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200),
)
JOBS_RUNNING = Gauge("lumilio_jobs_running", "Jobs that run in this process", ["queue"])
CLAIM_SECONDS = Histogram(
    "lumilio_claim_seconds",
    "Time of one look for jobs of a queue, reports of completed ones included",
    ["queue"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
LISTENER_CONNECTED = Gauge("lumilio_listener_connected", "1 while the connection that listens for jobs answers")
JOBS_RESCUED = Counter("lumilio_jobs_rescued_total", "Jobs taken back from dead or frozen workers")
QUEUE_DEPTH = Gauge("lumilio_queue_jobs", "Jobs that are not final", ["queue", "state"])
QUEUE_OLDEST_SECONDS = Gauge(
    "lumilio_queue_oldest_seconds", "Time since the oldest job was due, or started to run", ["queue", "state"]
)

ASSETS_COMMITTED = Counter("lumilio_assets_committed_total", "Assets that became part of the library", ["kind"])
PROBLEMS = Counter("lumilio_problems_total", "Files for which a step failed", ["code"])


def exposition() -> bytes:
    """All metrics in the Prometheus text format, version 0.0.4."""
    return generate_latest(REGISTRY)
