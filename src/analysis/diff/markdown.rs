//! A comparison as a comment of a pull request.

use super::text::{sentence, word};
use super::{Agents, Diff};
use crate::manifest::source::shown;

/// Writes a comparison as Markdown.
pub fn markdown(diff: &Diff) -> String {
    let Diff { widens, agents, notes } = diff;
    let mut out = "### bottle.yaml\n\n".to_owned();
    out.push_str(match (agents.is_empty(), widens) {
        (true, _) => "Nothing changes of what an agent can do.\n",
        (false, true) => "**This widens what an agent can do.**\n",
        (false, false) => "This widens nothing.\n",
    });
    for Agents { names, changes } in agents {
        let names: Vec<_> = names.iter().map(|name| code(name)).collect();
        out.extend([format!("\n{}\n\n", names.join(", "))]);
        for change in changes {
            let word = word(change);
            let word = if change.widens { format!("**{word}**") } else { word.to_owned() };
            out.extend([format!("- {word}: {}\n", sentence(change, &code))]);
        }
    }
    if !notes.is_empty() {
        out.push('\n');
    }
    out.extend(notes.iter().map(|note| format!("Note: {note}\n")));
    out
}

/// A code span: nothing in it is markup, a mention or a link. It is opened and closed with more backticks than it holds
/// (`CommonMark`, "Code spans").
fn code(text: &str) -> String {
    let text = shown(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let space = if text.starts_with('`') || text.ends_with('`') || text.is_empty() { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn no_text_ends_its_code_span() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("a`b``c"), "```a`b``c```");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(code("a\n# b"), "`a\\n# b`");
    }
}
