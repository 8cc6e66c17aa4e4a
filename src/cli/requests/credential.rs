//! `bottle requests credential`: the secret comes from a prompt or from stdin, never from the command line, and is sealed
//! here for egress.

use std::io::{IsTerminal as _, Read as _, Stdin, Write as _};

use anyhow::{Context as _, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::client::Client;
use crate::sidecar::seal::{Message, seal};

/// The most bytes that are read; egress takes fewer.
const MAX_BYTES: usize = 20 << 10;

/// Lists the credentials, or enters or removes one.
pub(super) fn run(client: &Client, name: Option<&str>, remove: bool) -> Result<Value> {
    let Some(name) = name else { return client.get("/api/credentials") };
    let path = format!("/api/credentials/{}", super::checked(name)?);
    let message = if remove { Message::Remove } else { Message::Enter(secret(name)?) };
    // After the prompt: a key may be gone by the time that somebody has found the secret.
    let listed = client.get("/api/credentials")?;
    let key = listed.pointer("/key").and_then(Value::as_str);
    let key = key.context("egress has not said that it takes credentials; see its health")?;
    let message = seal(key, name, &message).context("the key of egress is none")?;
    client.post(&path, &json!({ "message": message, "remove": remove }))
}

fn secret(name: &str) -> Result<Zeroizing<Vec<u8>>> {
    let stdin = std::io::stdin();
    let secret = if stdin.is_terminal() { prompt(&stdin, name)? } else { piped(&stdin)? };
    if secret.is_empty() {
        bail!("nothing was entered");
    }
    Ok(secret)
}

/// All of stdin, without the line break at its end.
fn piped(stdin: &Stdin) -> Result<Zeroizing<Vec<u8>>> {
    // At its final size from the start: growing would leave a copy behind.
    let mut secret = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 64));
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    stdin.lock().take(most + 1).read_to_end(&mut secret)?;
    if secret.len() > MAX_BYTES {
        bail!("the secret has more than {MAX_BYTES} bytes");
    }
    for end in [b'\n', b'\r'] {
        if secret.last() == Some(&end) {
            secret.pop();
        }
    }
    Ok(secret)
}

/// A line of the terminal that is not shown. Read byte by byte, since the terminal's own lines end after 4096.
fn prompt(stdin: &Stdin, name: &str) -> Result<Zeroizing<Vec<u8>>> {
    let mut stderr = std::io::stderr();
    write!(stderr, "{name} (not shown): ")?;
    stderr.flush()?;
    let silent = Silent::new(stdin)?;
    let mut secret = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 64));
    let mut byte = Zeroizing::new([0]);
    let line = loop {
        if stdin.lock().read(&mut *byte)? == 0 {
            break None;
        }
        let [typed] = *byte;
        match typed {
            b'\r' | b'\n' => break Some(()),
            // Ctrl-C and Ctrl-D.
            3 | 4 => break None,
            8 | 127 => drop(secret.pop()),
            _ if secret.len() == MAX_BYTES => bail!("the secret has more than {MAX_BYTES} bytes"),
            other => secret.push(other),
        }
    };
    drop(silent);
    writeln!(stderr)?;
    line.map(|()| secret).context("nothing was entered")
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Silent<'a> {
    stdin: &'a Stdin,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn new(stdin: &'a Stdin) -> Result<Self> {
        let before = tcgetattr(stdin)?;
        let mut now = before.clone();
        // Signals come as bytes: none of them ends the program while nothing is shown.
        now.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(stdin, OptionalActions::Flush, &now)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // There is nobody to tell if it fails.
        let _ = tcsetattr(self.stdin, OptionalActions::Now, &self.before);
    }
}
