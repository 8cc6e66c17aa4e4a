//! The recording of the first minutes: commands that run here, drawn as SVG. Its lines come one after another where pictures may
//! move, and stand there all at once where they may not.

use std::fmt::Write as _;

use super::commands::Machine;
use crate::support::project;

/// What is typed. The last ones of a line that is not shown prepare the next one.
const COMMANDS: [&str; 6] = [
    "bottle init --preset claude",
    "bottle render > compose.yaml",
    "bottle explain egress POST https://api.anthropic.com/v1/messages",
    "bottle explain push app main --fast-forward",
    "sed -i 's/# - { host: docs/- { host: docs/' bottle.yaml",
    "bottle diff",
];

/// The height of a line, the width of a character, and the most characters of a line.
const LINE: usize = 18;
const CHARACTER: usize = 8;
const COLUMNS: usize = 118;
/// Milliseconds that a command, and a line of its output, takes to come.
const TYPED: usize = 1400;
const PRINTED: usize = 60;

const STYLE: &str = "\
.back{fill:#0d1117}.bar{fill:#161b22}.dot{fill:#484f58}\
text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#e6edf3;white-space:pre}\
.typed{fill:#7ee787;font-weight:bold}.bad{fill:#ffa198}.good{fill:#a5d6ff}\
@media(prefers-reduced-motion:no-preference){text{animation:come .2s both}}\
@keyframes come{from{opacity:0}}";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn shortened(line: &str) -> String {
    if line.chars().count() <= COLUMNS {
        return line.to_owned();
    }
    line.chars().take(COLUMNS - 1).chain(['…']).collect()
}

fn class(line: &str) -> &'static str {
    let is = |words: &[&str]| words.iter().any(|word| line.trim_start().starts_with(word));
    if is(&["refused", "WIDENS"]) {
        " class=\"bad\""
    } else if is(&["allowed"]) {
        " class=\"good\""
    } else {
        ""
    }
}

/// The picture of some lines, each with its class and when it comes.
fn drawn(lines: &[(String, &str, usize)]) -> String {
    let (width, height) = (COLUMNS * CHARACTER + 40, lines.len() * LINE + 70);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <!-- Recorded by scripts/docs.sh. -->\n<title>The first minutes with bottle</title>\n<style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n<rect class=\"bar\" width=\"{width}\" height=\"32\" rx=\"8\"/>\n"
    );
    for x in [20, 40, 60] {
        writeln!(out, "<circle class=\"dot\" cx=\"{x}\" cy=\"16\" r=\"6\"/>").expect("a string takes it");
    }
    for (at, (text, class, delay)) in lines.iter().enumerate() {
        let y = 60 + at * LINE;
        let text = escaped(text);
        writeln!(out, "<text{class} x=\"20\" y=\"{y}\" style=\"animation-delay:{delay}ms\">{text}</text>")
            .expect("a string takes it");
    }
    out.push_str("</svg>\n");
    out
}

#[test]
fn the_recording_is_what_the_commands_print() {
    let mut machine = Machine::new();
    let (mut lines, mut now) = (Vec::new(), 0);
    for command in COMMANDS {
        now += TYPED;
        lines.push((format!("$ {command}"), " class=\"typed\"", now));
        let (output, _) = machine.run(command);
        for line in output.lines() {
            now += PRINTED;
            lines.push((shortened(line), class(line), now));
        }
        if command.contains("render") {
            // What `diff` compares with.
            let (output, well) = machine.run("git add . && git commit --quiet -m 'a bottle'");
            assert!(well, "{output}");
        }
    }
    let text: Vec<&str> = lines.iter().map(|(text, ..)| text.as_str()).collect();
    for word in
        ["written: bottle.yaml", "allowed: POST", "refused: push app", "  WIDENS: GET, HEAD https://docs"]
    {
        assert!(text.iter().any(|line| line.starts_with(word)), "{word} in {text:#?}");
    }
    super::is_current(&project("docs/src/img/first-minutes.svg"), &drawn(&lines));
}
