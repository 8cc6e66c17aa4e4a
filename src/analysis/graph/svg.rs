//! A picture as SVG, laid out here.
//!
//! All measures follow from the number of lines and from characters of one width, so that the same picture is the same
//! bytes everywhere. The colours follow the reader's: light or dark.

use unicode_width::UnicodeWidthChar as _;

use super::{Column, Edge, Node, Picture};

/// The height of a line of text, and the width of a character.
const LINE: usize = 16;
const CHARACTER: usize = 8;
/// The room around a text in a box, between boxes, and around the picture.
const PADDING: usize = 10;
const GAP: usize = 16;
const MARGIN: usize = 20;
/// Where the columns begin, how wide their boxes are, and how wide the picture is.
const COLUMNS: [(usize, usize); 3] = [(20, 210), (330, 280), (750, 430)];
const WIDTH: usize = 1200;

const STYLE: &str = "\
.back{fill:#ffffff}.box{fill:#f6f8fa;stroke:#57606a}.agent{stroke-dasharray:5 3}.sidecar{stroke-width:2}\
text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#24292f}.title{font-weight:bold}.label{fill:#0a5cad;text-anchor:end}\
.edge{stroke:#57606a;fill:none}.tip{fill:#57606a}\
@media(prefers-color-scheme:dark){.back{fill:#0d1117}.box{fill:#161b22;stroke:#8b949e}text{fill:#e6edf3}\
.label{fill:#79c0ff}.edge{stroke:#8b949e}.tip{fill:#8b949e}}";

/// A box with its place.
struct Placed<'a> {
    node: &'a Node,
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl Placed<'_> {
    fn middle(&self) -> usize {
        self.y + self.height / 2
    }
}

/// Writes a picture as SVG.
pub fn svg(picture: &Picture) -> String {
    let Picture { title, nodes, edges } = picture;
    let (placed, height) = place(nodes, edges);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <!-- Drawn by bottle graph. -->\n<title>{}</title>\n<style>{STYLE}</style>\n<rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>\n",
        escaped(title)
    );
    for Edge { from, to, label } in edges {
        if let (Some(from), Some(to)) = (placed.get(*from), placed.get(*to)) {
            arrow(&mut out, from, to, label);
        }
    }
    for Placed { node: Node { column, title, lines }, x, y, width, height } in &placed {
        let class = match column {
            Column::Agent => "box agent",
            Column::Sidecar => "box sidecar",
            Column::Outside => "box",
        };
        out.extend([format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n"
        )]);
        for (number, line) in [title].into_iter().chain(lines).enumerate() {
            let class = if number == 0 { " class=\"title\"" } else { "" };
            let (x, y) = (x + PADDING, y + PADDING + 12 + number * LINE);
            let text = escaped(&fitting(line, (width - 2 * PADDING) / CHARACTER));
            out.extend([format!("<text{class} x=\"{x}\" y=\"{y}\">{text}</text>\n")]);
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Places the boxes: those on the right below each other, each sidecar in the middle of what it leads to, and the agent in
/// the middle of all.
fn place<'a>(nodes: &'a [Node], edges: &[Edge]) -> (Vec<Placed<'a>>, usize) {
    let mut placed: Vec<Placed<'a>> = nodes
        .iter()
        .map(|node| {
            let (x, width) = match (node.column, COLUMNS) {
                (Column::Agent, [first, _, _]) => first,
                (Column::Sidecar, [_, second, _]) => second,
                (Column::Outside, [_, _, third]) => third,
            };
            Placed { node, x, y: 0, width, height: 2 * PADDING + LINE * (node.lines.len() + 1) }
        })
        .collect();
    let mut y = MARGIN;
    for sidecar in
        (0..nodes.len()).filter(|at| nodes.get(*at).is_some_and(|node| node.column == Column::Sidecar))
    {
        let top = y;
        let mut right = y;
        for edge in edges.iter().filter(|edge| edge.from == sidecar) {
            if let Some(node) = placed.get_mut(edge.to) {
                node.y = right;
                right += node.height + GAP;
            }
        }
        if let Some(node) = placed.get_mut(sidecar) {
            let room = right.saturating_sub(top + GAP);
            node.y = top + room.saturating_sub(node.height) / 2;
            y = right.max(node.y + node.height + GAP);
        }
    }
    let total = y.max(MARGIN + GAP);
    for node in placed.iter_mut().filter(|placed| placed.node.column == Column::Agent) {
        node.y = MARGIN + (total - MARGIN - GAP).saturating_sub(node.height) / 2;
    }
    let bottom = placed.iter().map(|placed| placed.y + placed.height).max().unwrap_or_default();
    (placed, bottom + MARGIN)
}

/// A line with a corner on each side, a label before the end, and a tip.
fn arrow(out: &mut String, from: &Placed<'_>, to: &Placed<'_>, label: &str) {
    let (left, right) = (from.x + from.width, to.x);
    let (start, end) = (from.middle(), to.middle());
    let bend = left + 20;
    let text = right.saturating_sub(12);
    let label = escaped(&fitting(label, 14));
    out.extend([format!(
        "<path class=\"edge\" d=\"M{left} {start}H{bend}V{end}H{}\"/>\n\
         <path class=\"tip\" d=\"M{right} {end}l-8 -4v8z\"/>\n\
         <text class=\"label\" x=\"{text}\" y=\"{}\">{label}</text>\n",
        right - 8,
        end.saturating_sub(4)
    )]);
}

/// A text cut to so many characters of one width.
fn fitting(text: &str, most: usize) -> String {
    let width = |c: char| c.width().unwrap_or(0);
    if text.chars().map(width).sum::<usize>() <= most {
        return text.to_owned();
    }
    let mut left = most.saturating_sub(1);
    let mut cut: String = text
        .chars()
        .take_while(|c| {
            let fits = width(*c) <= left;
            left = left.saturating_sub(width(*c));
            fits
        })
        .collect();
    cut.push('…');
    cut
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::{escaped, fitting};

    #[test]
    fn a_text_is_no_markup() {
        assert_eq!(escaped("<a b='\"&\">"), "&lt;a b=&#39;&quot;&amp;&quot;&gt;");
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_by_its_width() {
        assert_eq!(fitting("abc", 3), "abc");
        assert_eq!(fitting("abcd", 3), "ab…");
        assert_eq!(fitting("漢字漢字", 4), "漢…");
    }
}
