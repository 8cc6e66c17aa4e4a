//! Comparing the keys and values of a body with the names of tools.
//!
//! Servers differ in how they read a key: some take it in any case of its letters, some in camel case as well. What any
//! of them would take for the name is taken for it here.

/// The names of the tools that are taken out.
#[derive(Clone, Copy)]
pub(super) struct Names<'a>(pub(super) &'a [String]);

impl Names<'_> {
    /// Whether a text names one of the tools, perhaps with a version or a variant behind it: `web_search` is named by
    /// `web_search_20250305`, `web_search_preview` and `webSearchOptions`.
    pub(super) fn has(self, text: &str) -> bool {
        let is_name = |text: &str, name: &str| {
            text.strip_prefix(name)
                .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_lowercase()))
        };
        let (folded, snake) = (folded(text), snake(text));
        self.0.iter().any(|name| is_name(&folded, name) || is_name(&snake, name))
    }
}

/// Whether a key is the one with this name, in small letters with `_`.
pub(super) fn is(key: &str, name: &str) -> bool {
    key == name || folded(key) == name || snake(key) == name
}

/// In small letters: also those that some readers take for a small letter of ASCII.
fn folded(text: &str) -> String {
    text.trim().chars().map(fold).collect()
}

fn fold(letter: char) -> char {
    match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '-' => '_',
        letter => letter.to_ascii_lowercase(),
    }
}

/// `urlContext` as `url_context`.
fn snake(text: &str) -> String {
    let mut snake = String::with_capacity(text.len() + 4);
    let mut small = false;
    for letter in text.trim().chars() {
        if small && letter.is_ascii_uppercase() {
            snake.push('_');
        }
        small = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        snake.push(fold(letter));
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::{Names, is};

    #[test]
    fn a_tool_is_named_with_its_versions_and_variants_and_in_every_spelling() {
        let names = ["web_search".to_owned(), "url_context".to_owned(), "mcp".to_owned()];
        let names = Names(&names);
        for text in [
            "web_search",
            "web_search_20250305",
            "web_search_preview",
            "web_search_options",
            "webSearchOptions",
            "WEB_SEARCH",
            "Web_\u{17f}earch",
            "web-search",
            " web_search",
            "urlContext",
            "mcp",
            "mcp_servers",
            "mcp_toolset",
        ] {
            assert!(names.has(text), "{text}");
        }
        for text in ["", "web", "web_searching", "my_web_search", "function", "mcpx", "custom"] {
            assert!(!names.has(text), "{text}");
        }
        assert!(
            is("tools", "tools")
                && is("TOOLS", "tools")
                && is("tOOLS", "tools")
                && is("toolChoice", "tool_choice")
        );
        assert!(!is("tool", "tools"));
    }
}
