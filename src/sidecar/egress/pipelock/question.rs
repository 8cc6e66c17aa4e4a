//! What is asked: the body of `POST /api/v1/scan`.

use bytes::Bytes;
use serde::Serialize;

/// A question about something the agent wrote.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) kind: Kind,
    about: String,
}

/// What it is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A URL.
    Url,
    /// Text.
    Text,
}

impl Kind {
    /// As the interface writes it.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Text => "dlp",
        }
    }
}

#[derive(Serialize)]
struct Asked<'a> {
    kind: &'static str,
    input: Input<'a>,
    context: Context<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Input<'a> {
    Url(&'a str),
    Text(&'a str),
}

#[derive(Serialize)]
struct Context<'a> {
    request_id: &'a str,
}

impl Question {
    pub(super) fn url(url: String) -> Self {
        Self { kind: Kind::Url, about: url }
    }

    pub(super) fn text(text: String) -> Self {
        Self { kind: Kind::Text, about: text }
    }

    /// The body of the request. The interface refuses a key that it doesn't know.
    pub(super) fn json(&self, id: &str) -> Bytes {
        let input = match self.kind {
            Kind::Url => Input::Url(&self.about),
            Kind::Text => Input::Text(&self.about),
        };
        let asked = Asked { kind: self.kind.text(), input, context: Context { request_id: id } };
        // Texts always have a JSON form.
        serde_json::to_vec(&asked).unwrap_or_default().into()
    }
}
