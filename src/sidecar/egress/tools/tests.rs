use proptest::prelude::*;
use serde_json::{Value, json};

use super::strip::strip;

fn tools() -> Vec<String> {
    ["web_search", "google_search", "url_context", "mcp_servers", "mcp"].map(str::to_owned).to_vec()
}

/// What is left of a text.
#[track_caller]
fn left(text: &str) -> String {
    strip(text, &tools()).unwrap().map_or_else(|| text.to_owned(), |left| String::from_utf8(left).unwrap())
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "each is made for it")]
fn left_of(value: Value) -> Value {
    serde_json::from_str(&left(&value.to_string())).unwrap()
}

#[test]
fn a_tool_of_the_server_goes_and_those_of_the_agent_stay_byte_for_byte() {
    let text = r#"{ "model": "m",  "tools": [ {"name":"read","input_schema":{}}, {"type":"web_search_20250305","name":"web_search"} ] , "max_tokens": 1e3 }"#;
    assert_eq!(
        left(text),
        r#"{ "model": "m",  "tools": [ {"name":"read","input_schema":{}} ] , "max_tokens": 1e3 }"#
    );
    let text = r#"{"tools":[{"type":"web_search_20250305"},{"name":"read"},{"type":"web_search"},{"name":"write"}]}"#;
    assert_eq!(left(text), r#"{"tools":[{"name":"read"},{"name":"write"}]}"#);
}

#[test]
fn a_body_without_such_tools_stays_as_it_is() {
    for text in [
        "{}",
        "[]",
        "\"web_search\"",
        r#"{"tools":[]}"#,
        r#"{"tools":[{"type":"function","function":{"name":"web_search"}}]}"#,
        r#"{"tools":[{"name":"web_search","input_schema":{"properties":{"web_search":{},"tools":["web_search"]}}}]}"#,
        r#"{"messages":[{"role":"user","content":[{"tools":[{"type":"web_search"}]}]}]}"#,
        r#"{"input":[{"type":"web_search_call","web_search":1}],"contents":[{"google_search":{}}]}"#,
        r#"{"prompt":"use \"tools\": [{\"type\": \"web_search\"}]"}"#,
    ] {
        assert_eq!(strip(text, &tools()), Ok(None), "{text}");
    }
}

#[test]
fn the_shapes_of_the_providers_are_known() {
    // Anthropic.
    let body = json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search", "max_uses": 5 }], "mcp_servers": [{ "url": "https://a.example.org" }], "tool_choice": { "type": "auto" }, "model": "m" });
    assert_eq!(left_of(body), json!({ "model": "m" }));
    let body = json!({ "tools": [{ "name": "read" }, { "type": "web_search_20250305", "name": "web_search" }], "tool_choice": { "type": "tool", "name": "web_search" } });
    assert_eq!(left_of(body), json!({ "tools": [{ "name": "read" }] }));
    let body = json!({ "tools": [{ "type": "mcp_toolset", "mcp_server_name": "a" }, { "name": "read" }] });
    assert_eq!(left_of(body), json!({ "tools": [{ "name": "read" }] }));
    // OpenAI: responses, and chat completions.
    let body = json!({ "tools": [{ "type": "web_search_preview", "search_context_size": "low" }, { "type": "function", "name": "f" }], "tool_choice": { "type": "web_search_preview" } });
    assert_eq!(left_of(body), json!({ "tools": [{ "type": "function", "name": "f" }] }));
    let body = json!({ "model": "m", "web_search_options": { "user_location": {} } });
    assert_eq!(left_of(body), json!({ "model": "m" }));
    let body = json!({ "tools": [{ "type": "function", "name": "f" }], "tool_choice": { "type": "allowed_tools", "tools": [{ "type": "web_search" }, { "type": "function", "name": "f" }] } });
    let rest = json!({ "tools": [{ "type": "function", "name": "f" }], "tool_choice": { "type": "allowed_tools", "tools": [{ "type": "function", "name": "f" }] } });
    assert_eq!(left_of(body), rest);
    // Gemini.
    let body = json!({ "tools": [{ "google_search": {} }, { "urlContext": {}, "functionDeclarations": [{ "name": "f" }] }] });
    assert_eq!(left_of(body), json!({ "tools": [{ "functionDeclarations": [{ "name": "f" }] }] }));
    assert_eq!(left_of(json!({ "tools": { "googleSearchRetrieval": {} } })), json!({}));
}

#[test]
fn tools_that_a_message_brings_are_looked_into_and_what_it_says_is_not() {
    let text = r#"{"input":[{"type":"additional_tools","role":"developer","tools":[{"type":"web_search"},{"type":"function","name":"f"}]},{"role":"user","content":"tools: web_search","web_search":1}]}"#;
    assert_eq!(left(text), text.replace(r#"{"type":"web_search"},"#, ""));
    for key in ["input", "messages", "contents"] {
        let text = format!(r#"{{"{key}":[[{{"a":1,"to\u006fls":[{{"type":"web_search"}}]}}],{{"b":"x"}}]}}"#);
        assert_eq!(left(&text), format!(r#"{{"{key}":[[{{"a":1}}],{{"b":"x"}}]}}"#));
    }
}

#[test]
fn a_long_conversation_is_no_burden() {
    let item = r#"{"role":"user","content":"x"},"#.repeat(200_000);
    let text = format!(r#"{{"messages":[{item}{{}}],"tools":[{{"type":"web_search"}}]}}"#);
    assert_eq!(left(&text), format!(r#"{{"messages":[{item}{{}}]}}"#));
}

/// Work in proportion to the length: each place is looked at a few times.
#[test]
fn many_parts_that_are_taken_out_take_no_time_for_each_other() {
    let text = format!(r#"{{{}"x":1}}"#, r#""web_search":0,"#.repeat(60_000));
    assert_eq!(left(&text), r#"{"x":1}"#);
}

#[test]
fn requests_in_a_request_are_looked_into() {
    let tools = json!([{ "type": "web_search_20250305", "name": "web_search" }]);
    let body = json!({ "requests": [{ "custom_id": "1", "params": { "tools": tools, "model": "m" } }] });
    assert_eq!(left_of(body), json!({ "requests": [{ "custom_id": "1", "params": { "model": "m" } }] }));
    assert_eq!(left_of(json!([{ "session": { "tools": tools } }])), json!([{ "session": {} }]));
}

#[test]
fn no_notation_hides_a_tool() {
    for text in [
        r#"{"to\u006fls":[{"type":"web_search"}]}"#,
        r#"{"tools":[{"ty\u0070e":"web\u005fsearch_20250305"}]}"#,
        r#"{"Tools":[{"Type":"WEB_SEARCH"}]}"#,
        r#"{"TOOL\u017f":[{"type":"web_search"}]}"#,
        r#"{"tools":[{"type":"function","type":"web_search"}]}"#,
        r#"{"tools":[{"type":"web_search","type":"function"}]}"#,
        r#"{"tools":[],"tools":[{"type":"web_search"}]}"#,
        r#"{"tools":[{"type":"web_search"}],"tools":[]}"#,
        r#"{"tools":[[{"type":"web_search"}]]}"#,
        r#"{"tools":"web_search"}"#,
        r#"{"tools":["web_search"]}"#,
        r#"{"web\u005fsearch_options":{}}"#,
        r#"{"a":{"b":[{"tools":[{"type":"web_search"}]}]}}"#,
        r#"{"tools":[{"type":"namespace","tools":[{"type":"web_search"}]}]}"#,
        r#"{"tools":[{"type":"server_tool_9","name":"web_search"}]}"#,
        r#"{"messages":{"tools":[{"type":"web_search"}]}}"#,
    ] {
        let left = left(text);
        let plain = serde_json::from_str::<Value>(&left).unwrap().to_string().to_lowercase();
        assert!(!plain.contains("web_search"), "{text}: {left}");
    }
}

#[test]
fn what_is_left_is_json_wherever_the_tools_stand() {
    let tool = r#"{"type":"web_search"}"#;
    for kept in 0..16_u8 {
        let list: Vec<_> = (0..4).map(|at| if kept >> at & 1 == 1 { "1" } else { tool }).collect();
        let text = format!("{{\"a\":0 , \"tools\" : [ {} ], \"b\":1}}", list.join(" , "));
        let value: Value = serde_json::from_str(&left(&text)).unwrap();
        let ones = value["tools"].as_array().map_or(0, Vec::len);
        assert_eq!(ones, kept.count_ones() as usize, "{text}");
        assert_eq!((&value["a"], &value["b"]), (&json!(0), &json!(1)));
        // The same for the members of an object.
        let keys: Vec<_> = (0..4)
            .map(|at| if kept >> at & 1 == 1 { format!("\"k{at}\":1") } else { "\"mcp\":[1]".to_owned() })
            .collect();
        let value: Value = serde_json::from_str(&left(&format!("{{ {} }}", keys.join(" ,")))).unwrap();
        assert_eq!(value.as_object().unwrap().len(), kept.count_ones() as usize);
    }
}

fn bodies() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("web_search".to_owned()),
        Just("web_search_preview".to_owned()),
        Just("tools".to_owned()),
        Just("type".to_owned()),
        Just("tool_choice".to_owned()),
        Just("function".to_owned()),
        "[a-c\"\\\\é]{0,3}",
    ];
    let leaf = prop_oneof![
        word.clone().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(Value::Null)
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Whether a tool is left anywhere in a list of tools.
fn has_tool(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(key, value)| {
            let is_tool =
                |tool: &Value| tool["type"].as_str().is_some_and(|kind| kind.starts_with("web_search"));
            key == "tools" && value.as_array().is_some_and(|tools| tools.iter().any(is_tool))
        }),
        _ => false,
    }
}

proptest! {
    #[test]
    fn whatever_is_taken_out_the_rest_is_json_and_has_nothing_more_to_take_out(body in bodies()) {
        for text in [body.to_string(), serde_json::to_string_pretty(&body).unwrap()] {
            let once = left(&text);
            let value: Value = serde_json::from_str(&once).unwrap();
            prop_assert!(!has_tool(&value), "{once}");
            prop_assert_eq!(left(&once), once);
        }
    }
}
