//! Which parts of a body are tools of the server, and the body without them.
//!
//! Known are the shapes of the providers' own documentation: an element of `tools` whose `type` is the tool, one that has
//! the tool as a key, and a member of the request itself that is the tool. They are looked for at every depth, since some
//! requests hold others; in arrays of messages, which are the conversation, only among the tools that a message brings; not in
//! the schema of a function.

use std::ops::Range;

use super::json::{Keys, Member, NotJson, Value, What, read};
use super::words::{Names, is};

/// Arrays that are the conversation.
const CONVERSATION: [&str; 3] = ["messages", "input", "contents"];

/// Types of tools that the agent itself runs, whatever their name is.
const OWN: [&str; 2] = ["function", "custom"];

/// Members that mean nothing without any tool, and that some servers refuse then.
const WITHOUT_TOOLS: [&str; 3] = ["tool_choice", "parallel_tool_calls", "max_tool_calls"];

/// The body without the tools; none where it has none of them.
pub(super) fn strip(text: &str, tools: &[String]) -> Result<Option<Vec<u8>>, NotJson> {
    let keys = Keys {
        is_conversation: |key| CONVERSATION.iter().any(|name| is(key, name)),
        is_tools: |key| is(key, "tools"),
    };
    let value = read(text, keys)?;
    let mut edits = Edits { names: Names(tools), gone: Vec::new() };
    edits.value(&value);
    let mut gone = edits.gone;
    if gone.is_empty() {
        return Ok(None);
    }
    gone.sort_by_key(|gone| gone.start);
    let mut left = Vec::with_capacity(text.len());
    let mut at = 0;
    for gone in gone {
        // What was to be taken out of something goes with it.
        left.extend_from_slice(text.as_bytes().get(at..gone.start).unwrap_or_default());
        at = at.max(gone.end);
    }
    left.extend_from_slice(text.as_bytes().get(at..).unwrap_or_default());
    Ok(Some(left))
}

/// What is taken out: ranges, some of which may lie in others.
struct Edits<'a> {
    names: Names<'a>,
    gone: Vec<Range<usize>>,
}

/// What became of a list of tools.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Left {
    /// All that was there, which may be nothing.
    All,
    /// Some of it.
    Some,
    /// Nothing of it.
    Nothing,
}

impl Edits<'_> {
    /// Looks through any value but a tool.
    fn value(&mut self, value: &Value) {
        match &value.what {
            What::Object(members) => self.request(members),
            What::Item(members) => self.item(members),
            What::Array(values) => values.iter().for_each(|value| self.value(value)),
            What::Text(_) | What::Other => {}
        }
    }

    /// Looks through an item of a conversation: it may bring tools, and what else it holds is what was said.
    fn item(&mut self, members: &[Member]) {
        let mut gone = vec![false; members.len()];
        for (member, gone) in members.iter().zip(&mut gone).filter(|(member, _)| is(&member.key, "tools")) {
            *gone = self.tools(&member.value, &mut Vec::new()) == Left::Nothing;
        }
        self.take_out(members.iter().map(|member| &member.place).zip(&gone));
    }

    /// Looks through an object that may be a request.
    fn request(&mut self, members: &[Member]) {
        let mut gone = vec![false; members.len()];
        let (mut names, mut any_left, mut any_gone) = (Vec::new(), false, false);
        for (member, gone) in members.iter().zip(&mut gone) {
            if self.names.has(&member.key) {
                *gone = true;
            } else if is(&member.key, "tools") {
                let left = self.tools(&member.value, &mut names);
                *gone = left == Left::Nothing;
                any_gone |= left == Left::Nothing;
                any_left |= left != Left::Nothing;
            } else {
                self.value(&member.value);
            }
        }
        for (member, gone) in members.iter().zip(&mut gone) {
            let needless = any_gone && !any_left && WITHOUT_TOOLS.iter().any(|name| is(&member.key, name));
            let chosen = is(&member.key, "tool_choice") && self.chooses(&member.value, &names);
            *gone |= needless || chosen;
        }
        self.take_out(members.iter().map(|member| &member.place).zip(&gone));
    }

    /// Looks through a list of tools, and gives the names of those that are taken out.
    fn tools(&mut self, value: &Value, names: &mut Vec<String>) -> Left {
        let one = std::slice::from_ref(value);
        let (values, is_list) = match &value.what {
            What::Array(values) => (values.as_slice(), true),
            _ => (one, false),
        };
        let gone: Vec<bool> = values.iter().map(|value| self.tool(value, names)).collect();
        if gone.iter().all(|gone| *gone) && !gone.is_empty() {
            return Left::Nothing;
        }
        if is_list {
            self.take_out(values.iter().map(|value| &value.place).zip(&gone));
        }
        if gone.contains(&true) { Left::Some } else { Left::All }
    }

    /// Whether a tool is taken out as a whole; if it isn't, parts of it may be.
    fn tool(&mut self, value: &Value, names: &mut Vec<String>) -> bool {
        let members = match &value.what {
            What::Object(members) => members,
            What::Text(text) => return self.names.has(text),
            What::Array(values) => {
                // A list in a list is no shape of anybody's, and may be read as one.
                return !values.is_empty() && self.tools(value, names) == Left::Nothing;
            }
            What::Item(_) | What::Other => return false,
        };
        let texts = |key: &'static str| {
            members.iter().filter(move |member| is(&member.key, key)).filter_map(|member| member.value.text())
        };
        let typed = texts("type").any(|kind| self.names.has(kind));
        let foreign = texts("type").any(|kind| !OWN.iter().any(|own| is(kind, own)));
        let called = foreign && texts("name").any(|name| self.names.has(name));
        if typed || called {
            names.extend(texts("name").chain(texts("type")).map(str::to_owned));
            return true;
        }
        let mut gone = vec![false; members.len()];
        for (member, gone) in members.iter().zip(&mut gone) {
            *gone = self.names.has(&member.key)
                || (is(&member.key, "tools") && self.tools(&member.value, names) == Left::Nothing);
        }
        if gone.iter().all(|gone| *gone) && !gone.is_empty() {
            return true;
        }
        self.take_out(members.iter().map(|member| &member.place).zip(&gone));
        false
    }

    /// Whether a choice is for a tool that is taken out.
    fn chooses(&self, value: &Value, taken: &[String]) -> bool {
        match &value.what {
            What::Text(text) => self.names.has(text) || taken.contains(text),
            What::Object(members) => members.iter().any(|Member { key, value, place: _ }| {
                let text = value.text().unwrap_or_default();
                let is_kind = is(key, "type") && self.names.has(text);
                let is_name = is(key, "name") && taken.iter().any(|name| name == text);
                let inner = matches!(value.what, What::Object(_)) && self.chooses(value, taken);
                is_kind || is_name || inner
            }),
            What::Array(_) | What::Item(_) | What::Other => false,
        }
    }

    /// Takes parts of a list out, each with the comma that goes with it.
    fn take_out<'p>(&mut self, parts: impl Iterator<Item = (&'p Range<usize>, &'p bool)>) {
        let parts: Vec<_> = parts.collect();
        let (mut before, mut kept) = (None, false);
        for (at, (place, gone)) in parts.iter().enumerate() {
            if **gone {
                let behind = parts.get(at + 1).map_or(place.end, |(next, _)| next.start);
                let whole = match before {
                    Some(end) if kept => end..place.end,
                    _ => place.start..behind,
                };
                self.gone.push(whole);
            }
            kept |= !**gone;
            before = Some(place.end);
        }
    }
}

impl Value {
    fn text(&self) -> Option<&str> {
        match &self.what {
            What::Text(text) => Some(text),
            _ => None,
        }
    }
}
