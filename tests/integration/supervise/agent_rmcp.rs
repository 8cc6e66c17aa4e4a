//! The agent's side with the client of the Rust SDK.

use rmcp::ServiceExt as _;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use serde_json::{Value, json};

use super::operator_support::{Supervise, text};

async fn call(
    client: &RunningService<RoleClient, ()>,
    tool: &'static str,
    arguments: Value,
) -> CallToolResult {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await.expect("it answers")
}

fn said(result: &CallToolResult) -> Value {
    result.structured_content.clone().expect("a structured answer")
}

#[test]
fn the_rust_client_asks_waits_and_hears_of_the_approval() {
    let world = Supervise::start();
    world.report();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let transport = StreamableHttpClientTransport::from_uri(format!("http://{}/mcp", world.agent));
        let client = ().serve(transport).await.expect("it is initialised");
        let tools = client.list_all_tools().await.expect("the tools");
        let names: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
        assert_eq!(
            names,
            ["policy", "request_route", "request_push", "request_exception", "wait", "withdraw"]
        );
        let ask = json!({ "host": "api.example.org", "methods": ["POST"], "reason": "to post a message" });
        let asked = said(&call(&client, "request_route", ask).await);
        let id = text(&asked, "/id").to_owned();
        let waited = said(&call(&client, "wait", json!({ "id": id, "seconds": 1 })).await);
        assert_eq!((&waited["state"], &waited["live"]), (&json!("pending"), &Value::Null));
        world.requests(&["approve", &id, "--words=go on", "--yes"]).run().ok();
        world.report();
        let waited = said(&call(&client, "wait", json!({ "id": id, "seconds": 50 })).await);
        assert_eq!((&waited["state"], &waited["live"]), (&json!("approved"), &json!(true)), "{waited}");
        assert_eq!(waited["words"], "go on");
        let refused = call(&client, "request_route", json!({ "host": "*", "reason": "all of it" })).await;
        assert_eq!((refused.is_error, said(&refused)["code"].as_str()), (Some(true), Some("ask-invalid")));
        client.cancel().await.expect("it ends");
    });
}
