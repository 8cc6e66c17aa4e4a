//! The gate's log: one JSON object a line on stderr, which the engine collects.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use super::message;

/// The longest line of a child that is logged as a whole.
const MAX_LINE: usize = 4096;

/// Writes one line to the log; `part` names who speaks, as a container's log mixes several processes.
pub(crate) fn line(part: &str, text: &str) {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let entry = serde_json::json!({
        "time": format!("{}.{:03}", time.as_secs(), time.subsec_millis()),
        "part": part,
        "message": text,
    });
    // There is nowhere left to report that the log itself is gone.
    drop(writeln!(std::io::stderr(), "{entry}"));
}

/// Copies what a child prints to the log until it closes the pipe.
pub(crate) async fn copy(part: String, from: impl AsyncRead + Unpin) {
    let mut reader = BufReader::new(from);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match reader.read_until(b'\n', &mut buffer).await {
            Ok(0) => return,
            Ok(_) => {
                buffer.truncate(MAX_LINE);
                let text = message::neutral(&buffer);
                if !text.is_empty() {
                    line(&part, &text);
                }
            }
            Err(error) => {
                line(&part, &format!("could not read what a child printed: {error}"));
                return;
            }
        }
    }
}
