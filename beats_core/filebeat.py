"""What Filebeat's logstash output can be told, and where ours differs: facts about Filebeat, and why.

Which of our options is meant says the table in `options`; the documentation's page about Filebeat is made of both.
Filebeat 9: https://www.elastic.co/docs/reference/beats/filebeat/logstash-output
"""

from __future__ import annotations

from typing import NamedTuple


class FilebeatOption(NamedTuple):
    """An option of the section `output.logstash`.

    Attributes:
        name: With dots. Those below it are meant as well.
        default: As Filebeat writes it; empty where it has none.
        note: What differs; without one, meaning and default are the same here.
        missing: There is none here, and `note` says why.
    """

    name: str
    default: str
    note: str = ""
    missing: bool = False


FILEBEAT_OPTIONS = (
    FilebeatOption("enabled", "true"),
    FilebeatOption("hosts", "", "required there; tried in order here, at random there"),
    FilebeatOption("worker", "1", "`workers` as well"),
    FilebeatOption("loadbalance", "false"),
    FilebeatOption("ttl", "0", "together with `pipelining`, too, where Filebeat ignores it"),
    FilebeatOption("pipelining", "2", "as many windows as it says, one more there; 0 is taken for 1"),
    FilebeatOption("compression_level", "3"),
    FilebeatOption("bulk_max_size", "2048", "at least 1; 0 leaves it to the queue there"),
    FilebeatOption("slow_start", "false"),
    FilebeatOption("timeout", "30s", "can be set for each step: `connect_timeout`, `ack_timeout` and so on"),
    FilebeatOption("backoff.init", "1s"),
    FilebeatOption("backoff.max", "60s"),
    FilebeatOption(
        "max_retries", "3", "events are sent until they are acknowledged; Filebeat ignores it too", missing=True
    ),
    FilebeatOption("index", "filebeat", "the name of the Beat there"),
    FilebeatOption("escape_html", "false", "JSON is never escaped for HTML", missing=True),
    FilebeatOption("proxy_url", "", "`http://` (CONNECT), too; only `socks5://` there"),
    FilebeatOption("proxy_use_local_resolver", "false"),
    FilebeatOption("queue.mem.events", "3200", "memory is bounded in bytes: `queue_mem_bytes`", missing=True),
    FilebeatOption("queue.mem.flush.min_events", "1600", "a window is bounded by `bulk_max_size` alone", missing=True),
    FilebeatOption("queue.mem.flush.timeout", "10s", "an idle line sends at once; this is for busy ones"),
    FilebeatOption("queue.mem.immediate_shutdown", "false", "`shutdown_timeout=0` does it", missing=True),
    FilebeatOption("queue.disk.path", "", "many processes may share it; `diskqueue` in `path.data` there"),
    FilebeatOption("queue.disk.max_size", "", "required there"),
    FilebeatOption("queue.disk.segment_size", "", "a segment has 8 MiB", missing=True),
    FilebeatOption("queue.disk.read_ahead", "512", "memory is bounded in bytes: `queue_mem_bytes`", missing=True),
    FilebeatOption("queue.disk.write_ahead", "2048", "memory is bounded in bytes: `queue_mem_bytes`", missing=True),
    FilebeatOption("queue.disk.retry_interval", "1s", "a disk that failed is tried again each second", missing=True),
    FilebeatOption("queue.disk.max_retry_interval", "30s", "as before", missing=True),
    FilebeatOption("ssl.enabled", "true", "true if there is an `ssl` section, as there"),
    FilebeatOption("ssl.certificate_authorities", "", "without it the system's, as there"),
    FilebeatOption("ssl.certificate", ""),
    FilebeatOption("ssl.key", "", "may be in the certificate's file"),
    FilebeatOption("ssl.key_passphrase", ""),
    FilebeatOption("ssl.key_passphrase_path", ""),
    FilebeatOption("ssl.verification_mode", "full"),
    FilebeatOption("ssl.supported_protocols", "TLSv1.2, TLSv1.3", "nothing older; TLSv1.1 can be had there"),
    FilebeatOption("ssl.cipher_suites", "", "OpenSSL's choice, Go's there; for TLS 1.2 only, as there"),
    FilebeatOption("ssl.curve_types", "", "Python cannot choose curves; OpenSSL does", missing=True),
    FilebeatOption("ssl.renegotiation", "never", "there is none: TLS 1.3 has no renegotiation", missing=True),
    FilebeatOption(
        "ssl.ca_sha256", "", "pins the public key (SubjectPublicKeyInfo), as Filebeat does and does not say"
    ),
    FilebeatOption("ssl.ca_trusted_fingerprint", ""),
    FilebeatOption("ssl.certificate_reload.enabled", "true", "false there before 9.5"),
    FilebeatOption(
        "ssl.certificate_reload.reload_interval", "5s", "files are looked at before each connection", missing=True
    ),
    FilebeatOption(
        "ssl.restart_on_cert_change", "false", "changed files are used at the next connection", missing=True
    ),
)


def why_missing(name: str) -> str:
    """Return why there is no such option of Filebeat's here; nothing if there is, or if Filebeat has none either."""
    for option in FILEBEAT_OPTIONS:
        if option.missing and f"{name}.".startswith(f"{option.name}."):
            return option.note
    return ""
