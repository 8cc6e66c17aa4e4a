//! The Model Context Protocol at `/mcp`.
//!
//! There are no sessions. A session would hold nothing that the desk doesn't, a flood could fill them, and a client would
//! lose its own when supervise restarts. Clients that begin with `initialize` are answered by every revision's rules, which
//! let a server give out no session id; those of 2026-07-28 have none to begin with.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::any;
use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData, Implementation, JsonObject,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::ask::{Ask, ExceptionAsk, PushAsk, RouteAsk};
use super::counter::{Counter, MAX_WAIT};
use super::guard::{MAX_BODY, Names};
use super::problem::Problem;

/// When to ask and how to wait, in two sentences.
pub(super) const INSTRUCTIONS: &str = "When egress or the git gate refuses something that your task needs, ask for exactly \
     that with `request_route`, `request_push` or `request_exception`, and say in `reason` what it is for: a person decides. \
     Then call `wait` with the id until the state is no longer `pending`, and when it is `approved` with `live: true` send \
     again what was refused; when it is rejected, go on as the operator's words say.";

/// The tools, with what a model reads to choose one.
#[derive(Clone, Copy)]
enum Name {
    Policy,
    RequestRoute,
    RequestPush,
    RequestException,
    Wait,
    Withdraw,
}

/// Nothing is named.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Which request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// The request's id, `r-` and letters, as the tool that asked has answered it.
    id: String,
}

/// Which request, and how long.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wait {
    /// The request's id, `r-` and letters, as the tool that asked has answered it.
    id: String,
    /// How long to wait at most, in seconds; 50 unless it is named, and never more.
    #[serde(default = "longest")]
    seconds: u64,
}

fn longest() -> u64 {
    MAX_WAIT
}

/// The tools of one server.
#[derive(Clone)]
struct Server {
    counter: Arc<Counter>,
    tools: Arc<[Tool]>,
}

/// The path of MCP.
pub(super) fn router(counter: &Arc<Counter>, names: &Names) -> Router {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_allowed_hosts(names.list())
        .with_max_request_body_bytes(MAX_BODY);
    let server = Server { counter: Arc::clone(counter), tools: Name::ALL.map(Name::tool).into() };
    let sessions = Arc::new(NeverSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(server.clone()), sessions, config);
    let handle = move |request: Request| {
        let service = service.clone();
        async move { service.handle(request).await.map(Body::new) }
    };
    Router::new().route("/mcp", any(handle))
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let about = Implementation::new("bottle-supervise", env!("CARGO_PKG_VERSION"))
            .with_title("bottle: ask the operator");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(about)
            .with_instructions(INSTRUCTIONS)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.to_vec()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(name) = Name::ALL.into_iter().find(|name| name.text() == request.name) else {
            let problem = Problem::invalid("there is no such tool", "list the tools");
            return Err(ErrorData::invalid_params("there is no such tool", Some(problem.json())));
        };
        let arguments = request.arguments.unwrap_or_default();
        let answer = tokio::select! {
            answer = self.call(name, arguments) => answer,
            // Nobody listens any more; what waits gives its place to another.
            () = context.ct.cancelled() => return Err(ErrorData::internal_error("cancelled", None)),
        };
        Ok(match answer {
            Ok(value) => CallToolResult::structured(value),
            Err(problem) => CallToolResult::structured_error(problem.json()),
        }
        .into())
    }
}

impl Server {
    async fn call(&self, name: Name, arguments: JsonObject) -> Result<Value, Problem> {
        let counter = &self.counter;
        match name {
            Name::Policy => {
                let Nothing {} = parse(arguments)?;
                counter.policy().await
            }
            Name::RequestRoute => {
                let (ask, reason) = asked::<RouteAsk>(arguments)?;
                counter.ask(Ask::Route(ask), &reason).await
            }
            Name::RequestPush => {
                let (ask, reason) = asked::<PushAsk>(arguments)?;
                counter.ask(Ask::Push(ask), &reason).await
            }
            Name::RequestException => {
                let (ask, reason) = asked::<ExceptionAsk>(arguments)?;
                counter.ask(Ask::Exception(ask), &reason).await
            }
            Name::Wait => {
                let Wait { id, seconds } = parse(arguments)?;
                counter.wait(&id, seconds).await
            }
            Name::Withdraw => {
                let Which { id } = parse(arguments)?;
                counter.withdraw(&id).await
            }
        }
    }
}

fn parse<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, Problem> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| Problem::invalid(error.to_string(), "see the tool's schema"))
}

/// Takes the reason out of what is asked for.
fn asked<T: DeserializeOwned>(mut arguments: JsonObject) -> Result<(T, String), Problem> {
    match arguments.remove("reason") {
        Some(Value::String(reason)) => Ok((parse(arguments)?, reason)),
        _ => Err(Problem::invalid("there is no reason", "say in `reason` what it is needed for")),
    }
}

impl Name {
    const ALL: [Self; 6] = [
        Self::Policy,
        Self::RequestRoute,
        Self::RequestPush,
        Self::RequestException,
        Self::Wait,
        Self::Withdraw,
    ];

    fn text(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::RequestRoute => "request_route",
            Self::RequestPush => "request_push",
            Self::RequestException => "request_exception",
            Self::Wait => "wait",
            Self::Withdraw => "withdraw",
        }
    }

    fn tool(self) -> Tool {
        let (title, about, schema) = match self {
            Self::Policy => (
                "What is allowed",
                "Says what you may reach through egress and push through the git gate, what is never allowed whatever is \
                 approved, and the grants in force with their time left. Look here before you ask.",
                schema::<Nothing>(false),
            ),
            Self::RequestRoute => (
                "Ask to reach a host",
                "Asks the operator to let you reach a host. Ask for no more than you need: the exact host, the methods, and \
                 paths such as `/v1/**`; little is approved sooner. Answers with the request's id at once; call `wait` with it.",
                schema::<RouteAsk>(true),
            ),
            Self::RequestPush => (
                "Ask to push",
                "Asks the operator to let you push refs to a repository of the git gate. Answers with the request's id at \
                 once; call `wait` with it.",
                schema::<PushAsk>(true),
            ),
            Self::RequestException => (
                "Ask to let a finding pass",
                "Asks the operator to let one secret finding pass, by the id that the refusal named: for a push with the \
                 `repository` (`f-` and 16 digits), for a request with the `host`. Only for what is no secret, such as a \
                 made-up key in a test: a real one must be taken out. Answers with the request's id at once; call `wait` with it.",
                schema::<ExceptionAsk>(true),
            ),
            Self::Wait => (
                "Wait for the decision",
                "Waits until a request is decided and in force, for 50 seconds at most, and says its state: `pending` (call \
                 again), `approved` (with `live: true` once it works), `rejected` with the operator's words, `withdrawn` or \
                 `expired`.",
                schema::<Wait>(false),
            ),
            Self::Withdraw => (
                "Withdraw a request",
                "Takes back a request that is still pending, when you don't need it any more.",
                schema::<Which>(false),
            ),
        };
        let reads = matches!(self, Self::Policy | Self::Wait);
        let annotations = ToolAnnotations::with_title(title)
            .read_only(reads)
            .destructive(false)
            .idempotent(!matches!(self, Self::Withdraw))
            .open_world(false);
        Tool::new(self.text(), about, schema).with_title(title).with_annotations(annotations)
    }
}

/// The schema of a tool's arguments, in one piece, with a reason where one is needed.
fn schema<T: JsonSchema>(reason: bool) -> JsonObject {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    if reason {
        let about = "What it is needed for, in a sentence or two: the operator reads it as your words.";
        let object = schema.ensure_object();
        if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("reason".to_owned(), json!({ "type": "string", "description": about }));
        }
        if let Some(required) = object.get_mut("required").and_then(Value::as_array_mut) {
            required.push(json!("reason"));
        }
    }
    match schema.to_value() {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}
