//! The client of `bench/egress.sh`: HTTP/1.1 over TLS, with or without a CONNECT in front, on one thread. It does as little
//! as it can for each request, so that what is measured is the other side. The result is one line of JSON.
//!
//! `tunnel` is the yardstick that relays bytes: what a proxy costs that looks at nothing.

mod client;
mod numbers;
mod phases;
mod tunnel;

use std::collections::HashMap;
use std::io;
use std::time::Duration;

/// What the command line says.
struct Options {
    named: HashMap<String, String>,
    rest: Vec<String>,
}

impl Options {
    fn read(args: impl Iterator<Item = String>) -> Self {
        let mut args = args;
        let (mut named, mut rest) = (HashMap::new(), Vec::new());
        while let Some(word) = args.next() {
            match word.strip_prefix("--") {
                Some("") => {
                    rest.extend(args);
                    break;
                }
                Some(name) => drop(named.insert(name.to_owned(), args.next().unwrap_or_default())),
                None => rest.push(word),
            }
        }
        Self { named, rest }
    }

    fn text(&self, name: &str) -> io::Result<&str> {
        let value = self.named.get(name).map(String::as_str);
        value.ok_or_else(|| io::Error::other(format!("--{name} is missing")))
    }

    fn number(&self, name: &str, default: u64) -> io::Result<u64> {
        let Some(text) = self.named.get(name) else { return Ok(default) };
        text.parse().map_err(|_| io::Error::other(format!("--{name} is no number: `{text}`")))
    }

    fn seconds(&self) -> io::Result<Duration> {
        Ok(Duration::from_millis(self.number("ms", 3000)?))
    }
}

async fn run(command: &str, options: &Options) -> io::Result<String> {
    match command {
        "keepalive" => phases::keep_alive(options).await,
        "new" => phases::new_connections(options).await,
        "download" => phases::download(options).await,
        "upload" => phases::upload(options).await,
        "idle" => phases::idle(options).await,
        "start" => phases::start(options).await,
        "tunnel" => tunnel::serve(options.text("listen")?).await,
        other => Err(io::Error::other(format!(
            "no such command: `{other}`; there are keepalive, new, download, upload, idle, start and tunnel"
        ))),
    }
}

fn main() -> std::process::ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let options = Options::read(args);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(run(&command, &options))) {
        Ok(line) => {
            println!("{line}");
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
