//! `bottle requests`.

pub(super) mod client;
mod credential;
pub(super) mod text;

use std::collections::HashSet;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use self::client::Client;
use super::EXIT_OK;

/// Decide on what the agent asks for
///
/// Without a command it lists what waits for an answer.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// The address of supervise [default: that of the Compose project in the working directory]
    #[arg(long, value_name = "URL", global = true, requires = "token_file")]
    url: Option<String>,

    /// The file with supervise's token
    #[arg(long, value_name = "FILE", global = true, requires = "url")]
    token_file: Option<PathBuf>,

    /// Print JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the requests
    List {
        /// Those that are closed, too
        #[arg(long)]
        all: bool,
    },
    /// Show a request with the rule, and what it adds
    Show {
        /// The request
        id: String,
    },
    /// Approve a request
    Approve(Approve),
    /// Reject a request
    Reject {
        /// The request
        id: String,
        /// The words to the agent
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// List the grants in force
    Grants,
    /// Enter a credential that egress lacks, from a prompt or stdin
    ///
    /// Without a name it lists them.
    Credential {
        /// The credential
        name: Option<String>,
        /// Remove what was entered
        #[arg(long, requires = "name")]
        remove: bool,
    },
    /// End a grant
    Revoke {
        /// The grant
        id: String,
    },
    /// Show each request as it comes, until interrupted
    Watch,
    /// Print a link that opens the page once
    Open,
}

#[derive(Debug, clap::Args)]
struct Approve {
    /// The request
    id: String,

    /// For how long: `once` (one request or push, within 8 hours), a time such as `15m` or `8h`, `bottle` (while it runs)
    /// or `always`
    #[arg(long = "for", value_name = "TIME", default_value = "15m")]
    scope: Scope,

    /// Only these methods of those asked for
    #[arg(long, value_name = "METHODS", value_delimiter = ',')]
    methods: Vec<String>,

    /// Only these paths
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    paths: Vec<String>,

    /// Only these refs
    #[arg(long, value_name = "PATTERN")]
    refs: Option<String>,

    /// Only these operations of those asked for
    #[arg(long, value_name = "OPERATIONS", value_delimiter = ',')]
    operations: Vec<String>,

    /// What `show` printed as `review`; then nothing is asked, and nothing else is approved
    #[arg(long, value_name = "REVIEW")]
    review: Option<String>,

    /// The words to the agent
    #[arg(long, value_name = "TEXT", default_value = "")]
    words: String,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// For how long, as the interface has it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Scope(Value);

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if matches!(text, "once" | "bottle" | "always") {
            return Ok(Self(Value::from(text)));
        }
        let seconds =
            [("s", 1), ("m", 60), ("h", 3600), ("d", 86400)].into_iter().find_map(|(unit, factor)| {
                text.strip_suffix(unit)?
                    .parse::<u64>()
                    .ok()?
                    .checked_mul(factor)
                    .filter(|seconds| *seconds > 0)
            });
        let seconds = seconds.ok_or("not a time such as `15m` or `8h`, nor `once`, `bottle` or `always`")?;
        Ok(Self(json!({ "seconds": seconds })))
    }
}

/// Asks supervise, and prints what it says.
pub(super) fn run(args: Args) -> Result<u8> {
    let Args { command, url, token_file, json } = args;
    let client = match (url, token_file) {
        (Some(url), Some(file)) => Client::at(&url, &file)?,
        _ => Client::of_project()?,
    };
    let print = |value: &Value, text: &dyn Fn(&Value) -> String| -> Result<()> {
        let text = if json { format!("{}\n", text::json(value)) } else { text(value) };
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(())
    };
    match command.unwrap_or(Command::List { all: false }) {
        Command::List { all } => {
            let state = if all { "all" } else { "pending" };
            print(&client.get(&format!("/api/requests?state={state}"))?, &text::requests)?;
        }
        Command::Show { id } => print(&client.get(&path(&id, "")?)?, &text::request)?,
        Command::Approve(approve) => print(&self::approve(&client, approve)?, &approved)?,
        Command::Reject { id, reason } => {
            let answer = client.post(&path(&id, "/reject")?, &json!({ "words": reason }))?;
            print(&answer, &|answer| format!("{} is rejected\n", text::at(answer, "/request/id")))?;
        }
        Command::Credential { name, remove } => {
            let answer = credential::run(&client, name.as_deref(), remove)?;
            print(&answer, &|answer| match &name {
                None => text::credentials(answer),
                Some(name) if remove => format!("{name} is removed\n"),
                Some(name) => format!("{name} is entered\n"),
            })?;
        }
        Command::Grants => print(&client.get("/api/grants")?, &text::grants)?,
        Command::Revoke { id } => {
            let answer = client.post(&format!("/api/grants/{}/revoke", checked(&id)?), &json!({}))?;
            print(&answer, &|answer| format!("{} is revoked\n", text::at(answer, "/grant/id")))?;
        }
        Command::Watch => watch(&client, json)?,
        Command::Open => {
            let answer = client.post("/api/login-link", &json!({}))?;
            let url = client.url(&text::at(&answer, "/path"));
            print(&json!({ "url": url }), &|_| format!("{url}\n"))?;
        }
    }
    Ok(EXIT_OK)
}

/// An id as it stands in a path.
pub(super) fn checked(id: &str) -> Result<&str> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        bail!("`{}` is no id", crate::sidecar::text::neutral(id.as_bytes()));
    }
    Ok(id)
}

fn path(id: &str, action: &str) -> Result<String> {
    Ok(format!("/api/requests/{}{action}", checked(id)?))
}

fn approve(client: &Client, approve: Approve) -> Result<Value> {
    let Approve { id, scope: Scope(scope), methods, paths, refs, operations, review, words, yes } = approve;
    let seen = client.get(&path(&id, "")?)?;
    let mut rule = seen.pointer("/request/rule").cloned().context("supervise shows no rule")?;
    let mut set = |pointer: &str, option: &str, value: Value| match rule.pointer_mut(pointer) {
        Some(place) => {
            *place = value;
            Ok(())
        }
        None => bail!("{id} has nothing that `{option}` could narrow"),
    };
    for (pointer, option, list) in [
        ("/route/methods", "--methods", methods),
        ("/route/paths", "--paths", paths),
        ("/push/rule/allow", "--operations", operations),
    ] {
        if !list.is_empty() {
            set(pointer, option, json!(list))?;
        }
    }
    if let Some(refs) = refs {
        let full = if refs.starts_with("refs/") { refs } else { format!("refs/heads/{refs}") };
        set("/push/rule/refs", "--refs", Value::from(full))?;
    }
    let review = match review {
        Some(review) => review,
        None if yes || confirmed(&seen, &rule, &scope)? => text::at(&seen, "/request/review"),
        None => bail!("nothing was approved"),
    };
    let body = json!({ "scope": scope, "rule": rule, "review": review, "words": words });
    client.post(&path(&id, "/approve")?, &body)
}

/// Shows what would be approved, and asks.
fn confirmed(seen: &Value, rule: &Value, scope: &Value) -> Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("there is no terminal to ask on; name what you have seen with `--review`, or say `--yes`");
    }
    let mut stderr = std::io::stderr();
    stderr.write_all(text::request(seen).as_bytes())?;
    if seen.pointer("/request/rule") != Some(rule) {
        writeln!(stderr, "narrowed to {}", text::json(rule))?;
    }
    write!(stderr, "approve, for {}? [y/N] ", text::json(scope))?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What is said of an approval: for one that lasts always, the lines for the manifest.
fn approved(answer: &Value) -> String {
    let mut said =
        format!("{} is approved as {}\n", text::at(answer, "/request/id"), text::at(answer, "/grant/id"));
    if answer.pointer("/grant/scope") == Some(&Value::from("always")) {
        for line in text::lines(answer, "/grant/manifest") {
            said.push_str(&line);
            said.push('\n');
        }
    }
    said
}

/// Shows each request once for each state it gets into.
fn watch(client: &Client, json: bool) -> Result<()> {
    let mut seen = HashSet::new();
    loop {
        client.events(|| {
            let answer = client.get("/api/requests?state=all")?;
            for request in text::list(&answer, "/requests").iter().rev() {
                if !seen.insert((text::at(request, "/id"), text::at(request, "/state/is"))) {
                    continue;
                }
                let one = json!({ "now": answer.pointer("/now"), "request": request });
                let text = if json {
                    format!("{}\n", text::json(request))
                } else {
                    format!("{}\n", text::request(&one))
                };
                let mut stdout = std::io::stdout();
                stdout.write_all(text.as_bytes())?;
                stdout.flush()?;
            }
            Ok(())
        })?;
        // The server ends a stream after some minutes.
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Scope, checked};

    #[test]
    fn a_time_has_a_unit_and_an_id_has_no_path() {
        let scope = |text: &str| text.parse::<Scope>().map(|scope| scope.0);
        assert_eq!(scope("15m"), Ok(json!({ "seconds": 900 })));
        assert_eq!(scope("8h"), Ok(json!({ "seconds": 28800 })));
        assert_eq!(scope("always"), Ok(json!("always")));
        assert_eq!(scope("once"), Ok(json!("once")));
        for text in ["", "15", "0m", "m", "-1h", "99999999999999999999d", "bottles"] {
            assert!(scope(text).is_err(), "{text}");
        }
        for id in ["", "../x", "r-1/approve", "r-1?x", "r\r\n"] {
            assert!(checked(id).is_err(), "{id}");
        }
        assert_eq!(checked("r-abc2").ok(), Some("r-abc2"));
    }
}
