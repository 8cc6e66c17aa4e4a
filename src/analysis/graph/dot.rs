//! A picture for Graphviz.

use super::{Column, Edge, Node, Picture};

/// Writes a picture in the language DOT.
pub fn dot(picture: &Picture) -> String {
    let Picture { title, nodes, edges } = picture;
    let mut out =
        format!("digraph {} {{\n  rankdir=LR;\n  node [shape=box, fontname=\"monospace\"];\n", quoted(title));
    for (number, Node { column, title, lines }) in nodes.iter().enumerate() {
        let style = match column {
            Column::Agent => ", style=dashed",
            Column::Sidecar => ", style=bold",
            Column::Outside => "",
        };
        let text: Vec<&str> = [title].into_iter().chain(lines).map(String::as_str).collect();
        out.extend([format!("  n{number} [label={}{style}];\n", quoted(&text.join("\n")))]);
    }
    for Edge { from, to, label } in edges {
        out.extend([format!("  n{from} -> n{to} [label={}];\n", quoted(label))]);
    }
    out.push_str("}\n");
    out
}

/// A quoted text; a backslash begins an escape of Graphviz's own in it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_text_does_not_end_its_quotes() {
        assert_eq!(quoted("a\"; b\\N\nc"), "\"a\\\"; b\\\\N\\nc\"");
    }
}
