//! A picture for Mermaid.

use super::{Column, Edge, Node, Picture};

/// Writes a picture as a flowchart of Mermaid.
pub fn mermaid(picture: &Picture) -> String {
    let Picture { title, nodes, edges } = picture;
    let mut out = format!("---\ntitle: {title}\n---\nflowchart LR\n");
    for (number, Node { column, title, lines }) in nodes.iter().enumerate() {
        let text: Vec<String> = [title].into_iter().chain(lines).map(|line| escaped(line)).collect();
        let class = match column {
            Column::Agent => "agent",
            Column::Sidecar => "sidecar",
            Column::Outside => "outside",
        };
        out.extend([format!("  n{number}[\"{}\"]:::{class}\n", text.join("<br>"))]);
    }
    for Edge { from, to, label } in edges {
        out.extend([format!("  n{from} -- \"{}\" --> n{to}\n", escaped(label))]);
    }
    out.push_str("  classDef agent stroke-dasharray: 4 3\n  classDef sidecar stroke-width: 3px\n  classDef outside stroke-width: 1px\n");
    out
}

/// Everything that has a meaning within a label as a number: quotes, tags, Markdown, and the `#` of such a number itself.
fn escaped(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || " .,:/-$~=@+".contains(c);
    text.chars().map(|c| if plain(c) { c.to_string() } else { format!("#{};", u32::from(c)) }).collect()
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_label_is_nothing_but_text() {
        assert_eq!(escaped("\"<b>`*#;"), "#34;#60;b#62;#96;#42;#35;#59;");
        assert_eq!(escaped("https://a.example:443"), "https://a.example:443");
    }
}
