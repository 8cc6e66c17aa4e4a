//! Drawing. Every text comes through [`text`], which makes it harmless: none of it steers the terminal.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, List, ListState, Paragraph, Row, Table, Wrap};
use serde_json::Value;

use super::model::{Dialog, Model, Pane, scopes};
use crate::cli::requests::text::{self, at, lines, list, number};

/// Draws all of it.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let [top, requests, grants, traffic, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(3),
        Constraint::Length(5),
        Constraint::Fill(2),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(header(model), top);
    draw_requests(model, frame, requests);
    draw_grants(model, frame, grants);
    draw_traffic(model, frame, traffic);
    frame.render_widget(footer(model), bottom);
    if let Some(dialog) = &model.dialog {
        draw_dialog(dialog, frame);
    }
}

fn header(model: &Model) -> Line<'static> {
    let mut spans = vec!["bottle top ".bold()];
    for sidecar in list(&model.seen.health, "/sidecars") {
        let status = at(sidecar, "/status");
        let colour = match status.as_str() {
            "ok" => Color::Green,
            "failing" => Color::Red,
            _ => Color::Yellow,
        };
        spans.push(format!(" {} ", at(sidecar, "/name")).into());
        spans.push(Span::styled(status, colour));
        let generation = at(sidecar, "/generation");
        if !generation.is_empty() {
            spans.push(format!(" generation {generation}").dim());
        }
        let problem = at(sidecar, "/problem");
        if !problem.is_empty() {
            spans.push(format!(": {problem}").red());
        }
        spans.push(" ".into());
    }
    match &model.failure {
        Some(failure) => spans.push(format!(" not live: {failure}").red()),
        None if !model.is_there => spans.push(" looking".dim()),
        None => {}
    }
    Line::from(spans)
}

fn footer(model: &Model) -> Line<'static> {
    if let Some(told) = &model.told {
        return Line::from(told.clone().yellow());
    }
    let keys = match (&model.dialog, model.pane) {
        (Some(Dialog::Approve { .. }), _) => {
            "up/down: for how long   type: words to the agent   Enter: approve   Esc: back"
        }
        (Some(Dialog::Reject { .. }), _) => "type: words to the agent   Enter: reject   Esc: back",
        (Some(Dialog::Revoke { .. }), _) => "Enter: revoke   Esc: back",
        (Some(Dialog::Filter { .. }), _) => {
            "type: a reason code, `refused` or nothing   Enter: show   Esc: back"
        }
        (None, Pane::Requests) => "Tab: pane  j/k: move  a: approve  r: reject  f: filter  q: quit",
        (None, Pane::Grants) => "Tab: pane  j/k: move  x: revoke  f: filter  q: quit",
        (None, Pane::Traffic) => "Tab: pane  j/k: move  f: filter  q: quit",
    };
    Line::from(keys.dim())
}

fn block(model: &Model, pane: Pane, title: String) -> Block<'static> {
    let style = if model.pane == pane { Style::new().cyan() } else { Style::new().dim() };
    Block::bordered().border_style(style).title(Span::from(title).bold())
}

fn draw_requests(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let requests = model.requests();
    let block = block(model, Pane::Requests, format!(" 1 waiting for you ({}) ", requests.len()));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let Some(chosen) = model.request() else {
        frame.render_widget("nothing waits for you".dim(), inside);
        return;
    };
    let [left, right] = Layout::horizontal([Constraint::Percentage(38), Constraint::Fill(1)]).areas(inside);
    let rows = requests.iter().map(|request| format!("{} {}", at(request, "/kind"), at(request, "/subject")));
    let rows = List::new(rows).highlight_style(Modifier::REVERSED).highlight_symbol("> ");
    let mut state = ListState::default().with_selected(Some(model.request_at()));
    frame.render_stateful_widget(rows, left, &mut state);
    frame.render_widget(
        Paragraph::new(details(chosen, &model.seen.requests)).wrap(Wrap { trim: false }),
        right,
    );
}

/// What a decision needs to know, the exact rule first.
fn details(request: &Value, answer: &Value) -> Vec<Line<'static>> {
    let mut shown: Vec<Line<'static>> =
        lines(request, "/manifest").into_iter().map(|line| Line::from(line.bold())).collect();
    let each = |pointer: &str| list(request, pointer).iter().map(|value| at(value, "")).collect::<Vec<_>>();
    shown.extend(each("/warnings").into_iter().map(|warning| Line::from(format!("! {warning}").yellow())));
    shown.push(Line::from(format!("+ {}", each("/adds").join("; ")).green()));
    let reason = at(request, "/reason");
    shown.push(Line::from(vec!["the agent says: ".dim(), format!("\u{201c}{reason}\u{201d}").italic()]));
    for rule in list(request, "/now") {
        shown.extend(lines(rule, "").pop().map(|rule| Line::from(format!("now {rule}").dim())));
    }
    let credential = at(request, "/credential");
    if !credential.is_empty() {
        shown.push(Line::from(format!("with the credential {credential}").yellow()));
    }
    let now = number(answer, "/now");
    let last = text::ago(now, number(request, "/last"));
    shown.push(Line::from(
        format!("{} asked {} time(s), last {last}", at(request, "/id"), at(request, "/count")).dim(),
    ));
    for line in list(request, "/refusals") {
        shown.push(Line::from(
            format!("refused {} {} {}", at(line, "/method"), at(line, "/path"), at(line, "/reason")).dim(),
        ));
    }
    shown
}

fn draw_grants(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let grants = model.grants();
    let block = block(model, Pane::Grants, format!(" 2 in force ({}) ", grants.len()));
    if grants.is_empty() {
        frame.render_widget(Paragraph::new("nothing beside what bottle.yaml says".dim()).block(block), area);
        return;
    }
    let rows = grants.iter().map(|grant| {
        let live = grant.pointer("/live") == Some(&Value::Bool(true));
        let live = if live { "live".green() } else { "not yet".yellow() };
        Row::new([
            Line::from(at(grant, "/subject")),
            Line::from(live),
            Line::from(text::left(grant)),
            Line::from(at(grant, "/id").dim()),
        ])
    });
    let widths = [Constraint::Fill(1), Constraint::Length(7), Constraint::Length(24), Constraint::Length(12)];
    let mut state = ratatui::widgets::TableState::default().with_selected(Some(model.grant_at()));
    let table = Table::new(rows, widths).block(block).row_highlight_style(highlight(model, Pane::Grants));
    frame.render_stateful_widget(table, area, &mut state);
}

fn highlight(model: &Model, pane: Pane) -> Style {
    if model.pane == pane { Style::new().reversed() } else { Style::new() }
}

fn draw_traffic(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let filter = if model.code.is_empty() { String::new() } else { format!("with {} ", model.code) };
    let block = block(model, Pane::Traffic, format!(" 3 traffic {filter}"));
    let rows = model.traffic().iter().map(|line| {
        let decision = at(line, "/decision");
        let (word, colour) = match decision.as_str() {
            "allow" => ("allowed".to_owned(), Color::Green),
            "deny" => ("refused".to_owned(), Color::Red),
            "" => (at(line, "/event"), Color::Gray),
            _ => ("failed".to_owned(), Color::Yellow),
        };
        let time: String = at(line, "/time").chars().skip(11).take(8).collect();
        Row::new([
            Line::from(time.dim()),
            Line::from(Span::styled(word, colour)),
            Line::from(at(line, "/reason")),
            Line::from(about(line)),
        ])
    });
    let widths = [Constraint::Length(8), Constraint::Length(8), Constraint::Length(18), Constraint::Fill(1)];
    let mut state = ratatui::widgets::TableState::default().with_selected(Some(model.line));
    let table = Table::new(rows, widths).block(block).row_highlight_style(highlight(model, Pane::Traffic));
    frame.render_stateful_widget(table, area, &mut state);
}

/// What a line of traffic is about.
fn about(line: &Value) -> String {
    let words = ["/method", "/operations/0", "/repository", "/refs/0"].map(|word| at(line, word));
    let mut about: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    about.push(format!("{}{}", at(line, "/host"), at(line, "/path")));
    about.push(at(line, "/problem"));
    about.join(" ").trim().to_owned()
}

fn draw_dialog(dialog: &Dialog, frame: &mut Frame<'_>) {
    let mut shown = Vec::new();
    let title = match dialog {
        Dialog::Approve { request, scope, words } => {
            shown.extend(lines(request, "/manifest").into_iter().map(|line| Line::from(line.bold())));
            shown.push(Line::default());
            for (place, (name, _)) in scopes().into_iter().enumerate() {
                let line = if place == *scope {
                    format!("(*) {name}").reversed()
                } else {
                    format!("( ) {name}").into()
                };
                shown.push(Line::from(line));
            }
            shown.extend([Line::default(), typed("words to the agent: ", words)]);
            format!(" approve {} ", at(request, "/id"))
        }
        Dialog::Reject { request, words } => {
            shown.extend(lines(request, "/manifest").into_iter().map(Line::from));
            shown.extend([Line::default(), typed("words to the agent: ", words)]);
            format!(" reject {} ", at(request, "/id"))
        }
        Dialog::Revoke { grant } => {
            shown.extend(lines(grant, "/manifest").into_iter().map(Line::from));
            shown.push(Line::from("what is open is cut"));
            format!(" revoke {} ", at(grant, "/id"))
        }
        Dialog::Filter { code } => {
            shown.push(typed("reason code: ", code));
            " show of the traffic ".to_owned()
        }
    };
    let area = frame.area();
    let width = area.width.saturating_sub(4).min(76);
    let inside = usize::from(width.saturating_sub(2)).max(1);
    // Wrapped at words, a line may need one more than its width says.
    let rows = |line: &Line<'_>| match line.width().div_ceil(inside) {
        0 | 1 => 1,
        rows => rows + 1,
    };
    let height = u16::try_from(shown.iter().map(rows).sum::<usize>()).unwrap_or(u16::MAX);
    let paragraph = Paragraph::new(shown).wrap(Wrap { trim: false });
    let area = area
        .centered(Constraint::Length(width), Constraint::Length(height.saturating_add(2).min(area.height)));
    frame.render_widget(Clear, area);
    let block = Block::bordered().border_style(Style::new().cyan()).title(Span::from(title).bold());
    frame.render_widget(paragraph.block(block), area);
}

/// What somebody types, with a cursor.
fn typed(name: &'static str, words: &str) -> Line<'static> {
    Line::from(vec![name.dim(), crate::sidecar::text::neutral(words.as_bytes()).into(), " ".reversed()])
}
