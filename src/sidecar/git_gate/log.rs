//! The gate's log: its own lines, and what its children print.

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

pub(crate) use crate::sidecar::log::line;
use crate::sidecar::text;

/// The longest line of a child that is logged as a whole.
const MAX_LINE: usize = 4096;

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
                let text = text::neutral(&buffer);
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
