//! What the agent may ask for. It is parsed from JSON, unknown keys are errors; a refusal names the very one that would
//! allow what was refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::egress::Scheme;
use super::gate::PushOperation;

/// One request of the agent, as it was sent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Ask {
    /// To reach a host.
    Route(RouteAsk),
    /// To push refs.
    Push(PushAsk),
    /// To have a secret finding pass the gate, or egress.
    Exception(ExceptionAsk),
}

impl Ask {
    /// The tool of the agent's side that sends it.
    pub fn tool(&self) -> &'static str {
        match self {
            Self::Route(_) => "request_route",
            Self::Push(_) => "request_push",
            Self::Exception(_) => "request_exception",
        }
    }
}

/// To reach a host.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RouteAsk {
    /// The host's name, such as `api.example.org`; `*.example.org` for everything below it.
    pub host: String,
    /// The scheme; `https` unless it is named.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub scheme: Scheme,
    /// The TCP port; the scheme's own unless it is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The methods; GET and HEAD unless they are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Patterns over the path: `*` is one segment, `**` any number of them. All paths unless they are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Whether a WebSocket is to be opened.
    #[serde(default, skip_serializing_if = "is_false")]
    pub websocket: bool,
}

/// To push refs.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PushAsk {
    /// The repository's name at the gate.
    pub repository: String,
    /// A pattern over refs, such as `agent/**`; a short one is a branch.
    pub refs: String,
    /// What is to be done to them: `create`, `fast-forward`, `force`, `delete`.
    pub operations: Vec<PushOperation>,
}

/// To have a secret finding pass the gate, or egress.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExceptionAsk {
    /// The repository's name at the gate, for a push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The host, for a request to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The finding's id, as the refusal says it.
    pub finding: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_usual(scheme: &Scheme) -> bool {
    *scheme == Scheme::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::{Ask, RouteAsk};
    use crate::policy::egress::Scheme;

    #[test]
    fn what_is_usual_is_not_written_and_comes_back_all_the_same() {
        let ask = Ask::Route(RouteAsk {
            host: "api.example.org".to_owned(),
            scheme: Scheme::Https,
            port: None,
            methods: vec!["POST".to_owned()],
            paths: Vec::new(),
            websocket: false,
        });
        let text = serde_json::to_string(&ask).unwrap();
        assert_eq!(text, r#"{"route":{"host":"api.example.org","methods":["POST"]}}"#);
        assert_eq!(serde_json::from_str::<Ask>(&text).unwrap(), ask);
    }
}
