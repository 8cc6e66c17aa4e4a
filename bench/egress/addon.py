"""What egress does, as an addon of mitmproxy's: it judges host, method and path, and injects a credential."""

from mitmproxy import http


def request(flow: http.HTTPFlow) -> None:
    allowed = (
        flow.request.host == "localhost"
        and flow.request.method in ("GET", "HEAD")
        and flow.request.path.startswith("/bench/")
    )
    if not allowed:
        flow.response = http.Response.make(403, b"")
        return
    flow.request.headers["x-api-key"] = "bench-secret-0123456789"
