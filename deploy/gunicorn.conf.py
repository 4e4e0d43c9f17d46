"""How gunicorn serves the cloud: on SQLite one process, on PostgreSQL one for each core; eight threads in each.

On SQLite one process because one lock inside it orders the writers (measured p99 4 ms, against 35 ms when SQLite's own
busy wait orders them); threads because the commit's fsync releases the interpreter. On PostgreSQL the server orders
them, by station (AQUASMART_WORKERS for another number of processes). Evaluated before anything is started, so that a
bad configuration ends here with status 78 and every fault named.
"""

import os

from aquasmart_cloud.config import Config

_config = Config.or_exit()
bind = _config.bind
_usual = 1 if _config.database_url.startswith("sqlite") else os.cpu_count() or 1
workers = int(os.environ.get("AQUASMART_WORKERS") or _usual)
# gthread with an end to slow reads and writes, whose threads wait some milliseconds for their sender's next request.
worker_class = "aquasmart_cloud.web.gunicorn_worker.AttentiveWorker"
logger_class = "aquasmart_cloud.web.gunicorn_worker.ProblemsOnly"
threads = int(os.environ.get("AQUASMART_THREADS", "8"))
# Each worker opens its own connections after the fork: SQLite's must not cross one.
preload_app = False
keepalive = 75
timeout = 60
graceful_timeout = 5
# A station's signed target is the request line as sent; long ones are refused there.
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 4094
# Said, though they are the defaults: what proxies and we could read differently is refused, not mended.
permit_obsolete_folding = False
strip_header_spaces = False
permit_unconventional_http_method = False
permit_unconventional_http_version = False
header_map = "drop"
# Nobody may set the path behind our back; X-Forwarded-For is read as AQUASMART_PROXIES says, by the application.
forwarder_headers = ""
http_protocols = "h1"
worker_connections = 1000
accesslog = None
control_socket_disable = True
errorlog = "-"
# One line for every problem that was answered, with its trace id; never a body, a key or a token.
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "WARNING", "handlers": ["stderr"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
        "gunicorn.access": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
        "aquasmart.cloud": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
    },
}
proc_name = "aquasmart-cloud"
