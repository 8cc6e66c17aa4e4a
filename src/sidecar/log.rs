//! A sidecar's log: one JSON object a line on stderr, which the engine collects.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

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
