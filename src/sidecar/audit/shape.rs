//! What the lines of the audit logs may have: the one list from which `docs/src/audit.md` is made, and which a debug build
//! holds every line to.

/// One field of a line.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What it means, as a sentence in Markdown.
    pub meaning: &'static str,
}

/// What a value is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A string.
    Text,
    /// An array of strings.
    Texts,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Flag,
    /// An object.
    Object,
}

impl Kind {
    /// What JSON calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Texts => "array of strings",
            Self::Number => "number",
            Self::Flag => "boolean",
            Self::Object => "object",
        }
    }
}

/// The lines of one event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The value of the field `event`.
    pub name: &'static str,
    /// The sidecars that write it.
    pub by: &'static str,
    /// What it tells, in Markdown.
    pub meaning: &'static str,
    /// Its own fields.
    pub fields: &'static [Field],
}

impl Event {
    /// The event of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        EVENTS.iter().find(|event| event.name == name)
    }

    /// Whether its lines may have a field.
    pub fn has(&self, field: &str) -> bool {
        EVERY.iter().chain(self.fields).any(|known| known.name == field)
    }
}

/// What every line begins with.
pub const EVERY: &[Field] = &[
    Field {
        name: "v",
        kind: Kind::Number,
        meaning: "The version of the format: 1. A new version may change or take away a field; new fields and events may come without one.",
    },
    Field {
        name: "time",
        kind: Kind::Text,
        meaning: "When the line was written: RFC 3339, UTC, milliseconds. For a request that is its end.",
    },
    Field {
        name: "event",
        kind: Kind::Text,
        meaning: "What the line tells: of egress `request`, `held`, `credential`, `panic`, of the gate `fetch`, `push`, `connection`, of both `start`, `policy`, `shutdown`, `dropped`.",
    },
];

/// Every event.
pub const EVENTS: &[Event] = &[
    Event {
        name: "request",
        by: "egress",
        meaning: "A request that egress answered or passed on, when it has ended; also a connection that was closed before it had a request, for a reason that egress has a code for.",
        fields: &[
            Field {
                name: "id",
                kind: Kind::Text,
                meaning: "The request's id; a refusal's body has the same.",
            },
            Field {
                name: "generation",
                kind: Kind::Number,
                meaning: "The generation of the policy that decided.",
            },
            Field {
                name: "decision",
                kind: Kind::Text,
                meaning: "`allow`; `deny` where the request was the cause; `fail` where the policy allowed it and something behind egress kept it from its answer (the statuses 502 and 504).",
            },
            Field { name: "reason", kind: Kind::Text, meaning: "The reason code, unless it was allowed." },
            Field {
                name: "rule",
                kind: Kind::Text,
                meaning: "The rule that decided, as `file:line` of the manifest, or what the grant says.",
            },
            Field { name: "detail", kind: Kind::Text, meaning: "What happened, for people." },
            Field { name: "scheme", kind: Kind::Text, meaning: "`https` or `http`." },
            Field { name: "host", kind: Kind::Text, meaning: "The host." },
            Field { name: "port", kind: Kind::Number, meaning: "The TCP port." },
            Field { name: "method", kind: Kind::Text, meaning: "The method." },
            Field {
                name: "path",
                kind: Kind::Text,
                meaning: "The path as it was sent, with stars in the place of a secret; `/***` where pipelock denied the URL. Never the query, which often holds secrets.",
            },
            Field {
                name: "http",
                kind: Kind::Text,
                meaning: "The version that the agent spoke, such as `HTTP/2.0`.",
            },
            Field { name: "status", kind: Kind::Number, meaning: "The status that the agent got." },
            Field {
                name: "credential",
                kind: Kind::Text,
                meaning: "The name of the credential that was put in. Never its value.",
            },
            Field {
                name: "replaced",
                kind: Kind::Flag,
                meaning: "`true` where the agent had sent a value of its own in the credential's header; it was dropped.",
            },
            Field {
                name: "scanner",
                kind: Kind::Text,
                meaning: "What [pipelock](pipelock.md) said in the end: `allow`, `deny`, or `none` where it gave no verdict. Left out where it was not asked.",
            },
            Field { name: "scans", kind: Kind::Number, meaning: "How often it was asked." },
            Field {
                name: "scans_us",
                kind: Kind::Number,
                meaning: "How long that took together, in microseconds.",
            },
            Field {
                name: "findings",
                kind: Kind::Texts,
                meaning: "The ids of the secrets that were found in what the agent sent, at most 20 of each part.",
            },
            Field {
                name: "covered",
                kind: Kind::Texts,
                meaning: "The ids of those that were covered (`on_secret: redact`).",
            },
            Field { name: "passed", kind: Kind::Texts, meaning: "The ids of those that a grant let pass." },
            Field {
                name: "scanned",
                kind: Kind::Number,
                meaning: "Bytes that were searched for secrets: method, host, URL, headers, body, trailers, messages; what was unpacked counts once more.",
            },
            Field {
                name: "unread",
                kind: Kind::Flag,
                meaning: "`true` where the body was in a coding that egress doesn't know, and was searched only as it was sent.",
            },
            Field {
                name: "sent",
                kind: Kind::Number,
                meaning: "Bytes of the request's body that were sent upstream.",
            },
            Field {
                name: "received",
                kind: Kind::Number,
                meaning: "Bytes of the response's body that were sent to the agent.",
            },
            Field {
                name: "head_us",
                kind: Kind::Number,
                meaning: "Microseconds from the request's head to the response's head.",
            },
            Field {
                name: "total_us",
                kind: Kind::Number,
                meaning: "Microseconds from the request's head to its end.",
            },
        ],
    },
    Event {
        name: "held",
        by: "egress",
        meaning: "A request waits while the operator is asked, or was refused with `secret-pending`. Its own `request` line follows when it has ended, with the same `id`.",
        fields: &[
            Field {
                name: "id",
                kind: Kind::Text,
                meaning: "The request's id; its `request` line has the same.",
            },
            Field {
                name: "generation",
                kind: Kind::Number,
                meaning: "The generation of the policy that decided.",
            },
            Field { name: "scheme", kind: Kind::Text, meaning: "`https` or `http`." },
            Field { name: "host", kind: Kind::Text, meaning: "The host." },
            Field { name: "port", kind: Kind::Number, meaning: "The TCP port." },
            Field { name: "method", kind: Kind::Text, meaning: "The method." },
            Field {
                name: "path",
                kind: Kind::Text,
                meaning: "The path as it was sent, with stars in the place of a secret; `/***` where pipelock denied the URL. Never the query, which often holds secrets.",
            },
            Field {
                name: "ask",
                kind: Kind::Object,
                meaning: "What could be approved, as a refusal has it.",
            },
        ],
    },
    Event {
        name: "fetch",
        by: "git-gate",
        meaning: "A fetch whose connection has ended.",
        fields: &[
            Field { name: "id", kind: Kind::Text, meaning: "The connection's id." },
            Field {
                name: "generation",
                kind: Kind::Number,
                meaning: "The generation of the grants that was in force when the line was written. A push reads the grants' files itself, so that it may be judged by a newer one.",
            },
            Field {
                name: "decision",
                kind: Kind::Text,
                meaning: "`allow`; `deny` where the push or fetch was the cause; `fail` where something else kept it from its end, such as the upstream or the scanner.",
            },
            Field {
                name: "reason",
                kind: Kind::Text,
                meaning: "The reason code of the first refusal, unless it was allowed.",
            },
            Field {
                name: "rule",
                kind: Kind::Text,
                meaning: "The rule that decided, as `file:line` of the manifest or `grant NAME`.",
            },
            Field { name: "detail", kind: Kind::Text, meaning: "What happened, for people." },
            Field { name: "repository", kind: Kind::Text, meaning: "The repository's name." },
            Field {
                name: "total_us",
                kind: Kind::Number,
                meaning: "Microseconds from the first line to the decision.",
            },
        ],
    },
    Event {
        name: "push",
        by: "git-gate",
        meaning: "A push that is decided: a refused one before the agent reads it, another one after the upstream has taken it.",
        fields: &[
            Field { name: "id", kind: Kind::Text, meaning: "The connection's id." },
            Field {
                name: "generation",
                kind: Kind::Number,
                meaning: "The generation of the grants that was in force when the line was written. A push reads the grants' files itself, so that it may be judged by a newer one.",
            },
            Field {
                name: "decision",
                kind: Kind::Text,
                meaning: "`allow`; `deny` where the push or fetch was the cause; `fail` where something else kept it from its end, such as the upstream or the scanner.",
            },
            Field {
                name: "reason",
                kind: Kind::Text,
                meaning: "The reason code of the first refusal, unless it was allowed.",
            },
            Field {
                name: "rule",
                kind: Kind::Text,
                meaning: "The rule that decided, as `file:line` of the manifest or `grant NAME`.",
            },
            Field { name: "rules", kind: Kind::Texts, meaning: "All of them, where there is more than one." },
            Field { name: "detail", kind: Kind::Text, meaning: "What happened, for people." },
            Field { name: "repository", kind: Kind::Text, meaning: "The repository's name." },
            Field {
                name: "refs",
                kind: Kind::Texts,
                meaning: "The refs of the push, at most 50. Left out where their names were not scanned; what was found in one stands there as `[redacted]`.",
            },
            Field {
                name: "operations",
                kind: Kind::Texts,
                meaning: "What the push does to them, as far as that is known: `create`, `fast-forward`, `force`, `delete`.",
            },
            Field {
                name: "findings",
                kind: Kind::Texts,
                meaning: "The ids of the secrets that were found, at most 50.",
            },
            Field { name: "allowed", kind: Kind::Texts, meaning: "The ids of those that a grant let pass." },
            Field {
                name: "total_us",
                kind: Kind::Number,
                meaning: "Microseconds from the first line to the decision.",
            },
        ],
    },
    Event {
        name: "connection",
        by: "git-gate",
        meaning: "A first line that was no request of git; the health check's are left out.",
        fields: &[
            Field { name: "id", kind: Kind::Text, meaning: "The connection's id." },
            Field {
                name: "generation",
                kind: Kind::Number,
                meaning: "The generation of the grants that was in force when the line was written. A push reads the grants' files itself, so that it may be judged by a newer one.",
            },
            Field {
                name: "decision",
                kind: Kind::Text,
                meaning: "`allow`; `deny` where the push or fetch was the cause; `fail` where something else kept it from its end, such as the upstream or the scanner.",
            },
            Field {
                name: "reason",
                kind: Kind::Text,
                meaning: "The reason code of the first refusal, unless it was allowed.",
            },
            Field { name: "detail", kind: Kind::Text, meaning: "What happened, for people." },
            Field {
                name: "total_us",
                kind: Kind::Number,
                meaning: "Microseconds from the first line to the decision.",
            },
        ],
    },
    Event {
        name: "start",
        by: "egress, git-gate",
        meaning: "The sidecar listens.",
        fields: &[
            Field { name: "program", kind: Kind::Text, meaning: "The program with its version." },
            Field { name: "generation", kind: Kind::Number, meaning: "The generation of the policy." },
            Field { name: "listen", kind: Kind::Text, meaning: "The address for the agent." },
            Field { name: "admin", kind: Kind::Text, meaning: "The admin address; of egress only." },
        ],
    },
    Event {
        name: "policy",
        by: "egress, git-gate",
        meaning: "Another policy is in force, or what is wrong with its files has changed. For the gate that is about its grants.",
        fields: &[
            Field { name: "generation", kind: Kind::Number, meaning: "The generation in force." },
            Field {
                name: "problem",
                kind: Kind::Text,
                meaning: "What is wrong, with file, line and column; left out when all is well.",
            },
        ],
    },
    Event {
        name: "credential",
        by: "egress",
        meaning: "The operator entered a credential, or removed one that was entered.",
        fields: &[
            Field {
                name: "credential",
                kind: Kind::Text,
                meaning: "Its name; left out where the policy has none of that name.",
            },
            Field { name: "done", kind: Kind::Text, meaning: "`entered` or `removed`." },
            Field { name: "problem", kind: Kind::Text, meaning: "Why it was not taken." },
        ],
    },
    Event {
        name: "panic",
        by: "egress",
        meaning: "A part of egress failed; it took its own connection with it and nothing else.",
        fields: &[Field { name: "place", kind: Kind::Text, meaning: "Where in the program." }],
    },
    Event {
        name: "shutdown",
        by: "egress, git-gate",
        meaning: "The sidecar ended.",
        fields: &[Field {
            name: "graceful",
            kind: Kind::Flag,
            meaning: "Whether every connection came to its own end; of egress only.",
        }],
    },
    Event {
        name: "dropped",
        by: "egress, git-gate",
        meaning: "Lines could not be kept for this target; they would stand before this line.",
        fields: &[Field { name: "count", kind: Kind::Number, meaning: "How many." }],
    },
    Event {
        name: "decision",
        by: "supervise",
        meaning: "A decision, in the log of decisions.",
        fields: &[
            Field { name: "seq", kind: Kind::Number, meaning: "The decision's number, from 1." },
            Field {
                name: "id",
                kind: Kind::Text,
                meaning: "The agent's request; of `enter` and `remove` the credential.",
            },
            Field {
                name: "decision",
                kind: Kind::Text,
                meaning: "`approve`, `reject`, `withdraw` (by the agent), `expire` (a request that nobody decided, or a grant whose time is over), `revoke`, `use` (a grant for one request or push was used), `retire` (the manifest has the rule of an `always` grant); `enter` and `remove` for a credential that was handed to egress, whose `credential` line says what became of it.",
            },
            Field {
                name: "by",
                kind: Kind::Text,
                meaning: "`page`, `terminal`, `agent`, `clock`, `manifest`, or `egress` or `git-gate`, which used a grant.",
            },
            Field { name: "grant", kind: Kind::Text, meaning: "The grant that begins or ends." },
            Field {
                name: "scope",
                kind: Kind::Text,
                meaning: "For how long it was approved: `once`, `seconds`, `bottle` or `always`.",
            },
            Field { name: "until", kind: Kind::Text, meaning: "When the grant ends, where it has an end." },
            Field {
                name: "rule",
                kind: Kind::Text,
                meaning: "The rule in the manifest's notation; its first line is a comment that says where it belongs.",
            },
            Field { name: "words", kind: Kind::Text, meaning: "The operator's words." },
            Field {
                name: "prev",
                kind: Kind::Text,
                meaning: "The `hash` of the line before; 64 zeros in the first line.",
            },
            Field {
                name: "hash",
                kind: Kind::Text,
                meaning: "SHA-256, in hexadecimal digits, of the line's own bytes before `,\"hash\":`. It is always the last field.",
            },
        ],
    },
];
