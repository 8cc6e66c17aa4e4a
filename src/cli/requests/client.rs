//! A client of supervise's operator side: HTTP/1.0 on this machine, one request a connection.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::engine::compose::{self, SUPERVISE};
use crate::fs::{self, Links};
use crate::sidecar::text::neutral;

/// Where the token is in the container.
const TOKEN: &str = "/var/lib/bottle/supervise/token";
/// The digits of a token.
const TOKEN_LENGTH: usize = 64;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes of an answer, and of a line of a stream.
const MAX_ANSWER: u64 = 16 << 20;
const MAX_LINE: u64 = 64 << 10;

/// Where the operator's side is, and what opens it.
#[derive(Debug)]
pub(in crate::cli) struct Client {
    port: u16,
    token: Zeroizing<String>,
}

impl Client {
    /// The one at a URL of this machine.
    pub(in crate::cli) fn at(url: &str, token_file: &Path) -> Result<Self> {
        let rest = url.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let port = rest.and_then(|rest| {
            let (host, port) = rest.rsplit_once(':')?;
            port.parse().ok().filter(|_| matches!(host, "127.0.0.1" | "localhost"))
        });
        let port = port.context("`--url` is not of the form `http://127.0.0.1:PORT`")?;
        Self::new(port, &Zeroizing::new(fs::read_regular(token_file, 1024, Links::Followed)?))
    }

    /// The one of the Compose project in the working directory.
    pub(in crate::cli) fn of_project() -> Result<Self> {
        let found = || -> Result<Self> {
            let token = Zeroizing::new(compose::exec(SUPERVISE, &["cat", TOKEN])?);
            Self::new(compose::published(SUPERVISE)?, &token)
        };
        found().context(
            "no bottle with `supervise` runs here; go to the directory of its compose.yaml, or name `--url` and `--token-file`",
        )
    }

    fn new(port: u16, token: &[u8]) -> Result<Self> {
        let token = std::str::from_utf8(token).unwrap_or_default().trim();
        if token.len() != TOKEN_LENGTH || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!("what should be the token of supervise is none");
        }
        Ok(Self { port, token: Zeroizing::new(token.to_owned()) })
    }

    /// The URL of a path.
    pub(in crate::cli) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(in crate::cli) fn get(&self, path: &str) -> Result<Value> {
        self.call("GET", path, None)
    }

    pub(in crate::cli) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call("POST", path, Some(body))
    }

    /// Calls `told` at each change of a request or a grant, until that fails or the stream ends.
    pub(in crate::cli) fn events(&self, mut told: impl FnMut() -> Result<()>) -> Result<()> {
        let mut stream = self.send("GET", "/api/events", None)?;
        // Between two events there may be hours; the server says every 15 seconds that it is there.
        stream.set_read_timeout(Some(PATIENCE * 2))?;
        let mut reader = BufReader::new(&mut stream);
        let mut first = true;
        loop {
            let mut line = Vec::new();
            if (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if first && !line.windows(5).any(|part| part == b" 200 ") {
                bail!("supervise answered `{}`", neutral(&line));
            }
            first = false;
            if line.trim_ascii_end() == b"event: desk" {
                told()?;
            }
        }
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut answer = Vec::new();
        self.send(method, path, body)?.take(MAX_ANSWER).read_to_end(&mut answer)?;
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = head.parse(&answer).context("the answer is not HTTP")?
        else {
            bail!("the answer has no end");
        };
        let value: Value = serde_json::from_slice(answer.get(length..).unwrap_or_default())
            .context("the answer is not from supervise")?;
        if head.code == Some(200) {
            return Ok(value);
        }
        let text = |name: &str| {
            let text = value.pointer(&format!("/error/{name}")).and_then(Value::as_str).unwrap_or("?");
            neutral(text.as_bytes())
        };
        bail!("{} ({}); {}", text("message"), text("code"), text("hint"))
    }

    /// Sends a request, as HTTP/1.0: then the end of an answer is the end of the connection, also for a stream.
    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<TcpStream> {
        let unreachable = || format!("supervise can't be reached at 127.0.0.1:{}", self.port);
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).with_context(unreachable)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Zeroizing::new(format!(
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            self.token.as_str(),
            body.len()
        ));
        stream.write_all(request.as_bytes())?;
        Ok(stream)
    }
}
