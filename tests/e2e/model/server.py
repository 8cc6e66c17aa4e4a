"""A model server of our own: it speaks as much of the two providers' streaming protocols as their clients need, and its answers
make the client call tools.

What it answers is no model's: the number of tool results in the conversation says which step of the script comes next. Each
request is a line on stdout, with the headers that carry credentials, so that a test sees what arrived.
"""

import json
import re
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = int(sys.argv[1])
CERTIFICATE = sys.argv[2] if len(sys.argv) > 2 else None

COMMIT = """(env && tr '\\0' '\\n' </proc/$PPID/environ) >/tmp/seen; cd /workspace && git checkout -q -B agent/{client} && echo 'written by {client}' >{client}.txt && git add {client}.txt \
&& git commit -q -m 'agent: a file' && git push -q origin agent/{client} && echo pushed"""
ASK = {"host": "docs.example.org", "reason": "the manual is there"}
END = "All three steps are done."


def log(**line):
    print(json.dumps(line), flush=True)


def anthropic(request):
    """The events of one message (Messages API, streaming)."""
    tools = [tool["name"] for tool in request.get("tools", []) if "name" in tool]
    blocks = [b for m in request["messages"] if isinstance(m["content"], list) for b in m["content"]]
    done = sum(1 for block in blocks if block.get("type") == "tool_result")
    log(results=[block.get("content") for block in blocks if block.get("type") == "tool_result"])
    ask = next((name for name in tools if name.endswith("request_route")), None)
    call = None
    if "Bash" in tools and done == 0:
        call = ("Bash", {"command": COMMIT.format(client="claude"), "description": "Commits a file"})
    elif done == 1 and ask:
        call = (ask, ASK)
    elif done == 1 and "ToolSearch" in tools:
        call = ("ToolSearch", {"query": "select:mcp__bottle__request_route", "max_results": 1})
    elif done == 2 and ask and "ToolSearch" in tools:
        call = (ask, ASK)
    usage = {"input_tokens": 10, "output_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    message = {"id": f"msg_{done}", "type": "message", "role": "assistant", "model": request["model"], "content": [],
               "stop_reason": None, "stop_sequence": None, "usage": usage}
    if call:
        block = {"type": "tool_use", "id": f"toolu_{done}", "name": call[0], "input": {}}
        text = json.dumps(call[1])
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in (text[:9], text[9:])]
    else:
        block = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": part} for part in (END[:9], END[9:])]
    stop = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
    if not request.get("stream"):
        content = {**block, "input": call[1]} if call else {**block, "text": END}
        return {**message, **stop, "content": [content]}
    events = [{"type": "message_start", "message": message}, {"type": "content_block_start", "index": 0, "content_block": block}]
    events += [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    events += [{"type": "content_block_stop", "index": 0},
               {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 9}}, {"type": "message_stop"}]
    return events


def openai(request):
    """The events of one response (Responses API, streaming)."""
    items = request["input"] if isinstance(request["input"], list) else []
    outputs = [item for item in items if str(item.get("type", "")).endswith("_call_output")]
    done = len(outputs)
    log(results=[item.get("output") for item in outputs])
    item = None
    if done == 0:
        item = {"type": "function_call", "name": "exec_command", "arguments": json.dumps({"cmd": COMMIT.format(client="codex")})}
    elif done == 1:
        item = {"type": "function_call", "namespace": "mcp__bottle", "name": "request_route", "arguments": json.dumps(ASK)}
    if item is None:
        item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": END, "annotations": []}]}
    else:
        item["call_id"] = f"call_{done}"
    item |= {"id": f"item_{done}", "status": "completed"}
    response = {"id": f"resp_{done}", "object": "response", "model": request["model"], "status": "in_progress", "output": []}
    usage = {"input_tokens": 10, "output_tokens": 9, "total_tokens": 19, "input_tokens_details": {"cached_tokens": 0},
             "output_tokens_details": {"reasoning_tokens": 0}}
    return [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {**response, "status": "completed", "output": [item], "usage": usage}},
    ]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def do_PUT(self):
        self.answer()

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        sent = {name: self.headers.get(name) for name in ("host", "x-api-key", "authorization", "upgrade", "user-agent")}
        # Words of the instructions and the skills that were mounted.
        marks = sorted(set(re.findall(r"mark-of-[a-z]+", body.decode("utf-8", "replace"))))
        log(method=self.command, path=self.path, marks=marks, **{name: value for name, value in sent.items() if value})
        path = self.path.split("?")[0]
        if self.command == "POST" and path.endswith("/messages"):
            return self.send(anthropic(json.loads(body)))
        if self.command == "POST" and path.endswith("/count_tokens"):
            return self.send({"input_tokens": 10})
        if self.command == "POST" and path.endswith("/responses"):
            return self.send(openai(json.loads(body)))
        return self.send({"error": {"type": "not_found_error", "message": "not here"}}, 404)

    def send(self, answer, status=200):
        self.send_response(status)
        if isinstance(answer, list):
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            # Each event as a chunk of its own: the client must get them as they come.
            for event in answer:
                data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
            return
        data = json.dumps(answer).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


server = ThreadingHTTPServer(("", PORT), Handler)
if CERTIFICATE:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE + "/cert.pem", CERTIFICATE + "/key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
