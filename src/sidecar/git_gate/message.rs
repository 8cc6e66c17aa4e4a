//! What the gate says to the agent: `bottle: <reason-code>: <text>`.
//!
//! Much of the text comes from an upstream or a child process. It is made harmless for a terminal here, and its cause is
//! read from it: `ssh` and `git` have no other way to say why they failed than words, printed with `LC_ALL=C`.

use std::fmt;

use crate::policy::reason::Reason;
use crate::sidecar::text::neutral;

/// The longest text of a failure; a longer one loses its end.
const MAX_TEXT: usize = 1200;

/// Why the gate did not do what it was asked, ready to be shown.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) struct Failure {
    /// The cause.
    pub(crate) reason: Reason,
    /// One line for a person.
    pub(crate) text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bottle: {}: {}", self.reason, self.text)
    }
}

impl Failure {
    /// A failure with a text that is made one harmless line.
    pub(crate) fn new(reason: Reason, text: impl AsRef<[u8]>) -> Self {
        Self { reason, text: shorten(neutral(text.as_ref())) }
    }

    /// A failure inside the gate.
    pub(crate) fn inside(error: impl fmt::Display) -> Self {
        Self::new(Reason::GateFailed, error.to_string())
    }

    /// What a failed operation on an upstream means, read from what the programs printed.
    pub(crate) fn of_upstream(repository: &str, stderr: &[u8]) -> Self {
        let reason = classify(stderr);
        let mut said = essence(stderr);
        if said.is_empty() {
            "the upstream ended the connection without a word".clone_into(&mut said);
        }
        Self::new(reason, format!("{repository}: {said}"))
    }
}

/// How lines begin that report progress or repeat what is known.
const NOISE: &[&str] = &[
    "To ",
    "From ",
    "Total ",
    "Delta compression",
    "Enumerating objects",
    "remote: Enumerating objects",
    "remote: Total ",
    "* [new ",
];

/// The lines of `text` that say something, joined to one: progress and decoration left out.
pub(crate) fn essence(text: &[u8]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = neutral(line);
        let line = line.trim();
        let noise = line.is_empty()
            || line.bytes().all(|byte| byte == b'@')
            || line.contains("% (")
            || line == "and the repository exists."
            || line.starts_with("Please make sure you have the correct access rights")
            || NOISE.iter().any(|start| line.starts_with(start));
        if !noise && lines.last().is_none_or(|last| last != line) {
            lines.push(line.to_owned());
        }
    }
    lines.join(" | ")
}

fn shorten(text: String) -> String {
    if text.len() <= MAX_TEXT {
        return text;
    }
    let cut = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= MAX_TEXT).last().unwrap_or(0);
    let mut text = text;
    text.truncate(cut);
    text.push('…');
    text
}

/// Phrases by their cause, the most telling first.
const PHRASES: &[(Reason, &[&str])] = &[
    (Reason::GateFailed, &["could not ask the broker", "the broker's answer"]),
    (Reason::CredentialMissing, &["bottle: credential-missing"]),
    (
        Reason::HostKeyMismatch,
        &["Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED", "host key is known for"],
    ),
    (
        Reason::UpstreamTls,
        &[
            "server verification failed",
            "SSL certificate",
            "certificate verification failed",
            "certificate verify locations",
            "TLS",
            "SSL_",
        ],
    ),
    (
        Reason::UpstreamAuth,
        &[
            "Permission denied (",
            "Too many authentication failures",
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "requested URL returned error: 401",
            "requested URL returned error: 403",
            "agent refused operation",
        ],
    ),
    (
        Reason::UpstreamDown,
        &[
            "Connection refused",
            "Connection reset",
            "Connection timed out",
            "Connection closed",
            "Connection to ",
            "Could not resolve",
            "Failed to connect",
            "Couldn't connect",
            "Network is unreachable",
            "No route to host",
            "Operation too slow",
            "kex_exchange_identification",
            "the remote end hung up",
            "early EOF",
            "mux_client",
            "Broken pipe",
            "did not answer",
            "requested URL returned error: 5",
        ],
    ),
    (
        Reason::UpstreamRefused,
        &["not found", "does not appear to be a git repository", "access denied", "ERROR:", "remote error:"],
    ),
];

/// Reads the cause from what `ssh` and `git` printed; what is not understood counts as the upstream being down.
fn classify(stderr: &[u8]) -> Reason {
    let text = String::from_utf8_lossy(stderr);
    PHRASES
        .iter()
        .find(|(_, phrases)| phrases.iter().any(|phrase| text.contains(phrase)))
        .map_or(Reason::UpstreamDown, |(reason, _)| *reason)
}

#[cfg(test)]
mod tests {
    use super::{Failure, essence};
    use crate::policy::reason::Reason;

    #[test]
    fn a_failure_is_always_one_line() {
        let failure = Failure::new(Reason::GateFailed, "one\ntwo");
        assert_eq!(failure.to_string(), "bottle: gate-failed: one two");
        assert!(Failure::new(Reason::GateFailed, "é".repeat(5000)).text.len() < 1300);
    }

    #[test]
    fn the_cause_is_read_from_the_words_of_ssh() {
        let cases: &[(&str, Reason)] = &[
            (
                "Host key verification failed.\nfatal: Could not read from remote repository.",
                Reason::HostKeyMismatch,
            ),
            ("git@h: Permission denied (publickey).\nConnection closed by 1.2.3.4", Reason::UpstreamAuth),
            ("ssh: connect to host h port 22: Connection refused", Reason::UpstreamDown),
            ("fatal: '/x' does not appear to be a git repository", Reason::UpstreamRefused),
            (
                "fatal: unable to access 'https://h/': SSL certificate problem: self-signed",
                Reason::UpstreamTls,
            ),
            (
                "fatal: unable to access 'https://h/': server verification failed: certificate signer not trusted.",
                Reason::UpstreamTls,
            ),
            ("fatal: Authentication failed for 'https://h/x'", Reason::UpstreamAuth),
            ("something new", Reason::UpstreamDown),
        ];
        for (text, reason) in cases {
            assert_eq!(Failure::of_upstream("app", text.as_bytes()).reason, *reason, "{text}");
        }
    }

    #[test]
    fn the_essence_leaves_progress_and_decoration_out() {
        let text = b"@@@@@\nremote: Counting objects:  10% (1/10)\rremote: hello\nfatal: no\nfatal: no\n";
        assert_eq!(essence(text), "remote: hello | fatal: no");
    }
}
