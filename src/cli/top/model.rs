//! What the screen knows, and what a key means.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::source::{News, Order, Seen, approve, reject, revoke};
use crate::cli::requests::checked;
use crate::cli::requests::text::{at, list};
use crate::sidecar::text::neutral;

/// The most characters of words to the agent; supervise takes no more.
const MAX_WORDS: usize = 2_000;
/// The most characters of a reason code.
const MAX_CODE: usize = 40;

/// One of the three panes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Pane {
    #[default]
    Requests,
    Grants,
    Traffic,
}

/// What is being decided. It is bound to what was on the screen when it was begun.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Dialog {
    /// A request, the place in [`scopes`], and the words to the agent.
    Approve {
        request: Value,
        scope: usize,
        words: String,
    },
    Reject {
        request: Value,
        words: String,
    },
    Revoke {
        grant: Value,
    },
    Filter {
        code: String,
    },
}

/// What a key leads to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wish {
    Quit,
    Ask(Order),
}

/// What is known and chosen.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) seen: Seen,
    /// Whether anything has come yet.
    pub(super) is_there: bool,
    /// Why what is shown may be old.
    pub(super) failure: Option<String>,
    /// What became of the last order.
    pub(super) told: Option<String>,
    pub(super) pane: Pane,
    /// The ids of the chosen request and grant: others may come and go around them.
    request: String,
    grant: String,
    /// The first line of traffic that is shown.
    pub(super) line: usize,
    /// What the traffic is filtered by.
    pub(super) code: String,
    pub(super) dialog: Option<Dialog>,
}

/// For how long something can be approved: what is said, and what the interface calls it.
pub(super) fn scopes() -> [(&'static str, Value); 5] {
    [
        ("once", json!("once")),
        ("15 minutes", json!({ "seconds": 900 })),
        ("8 hours", json!({ "seconds": 28800 })),
        ("while this bottle runs", json!("bottle")),
        ("always", json!("always")),
    ]
}

impl Model {
    /// Takes what has come.
    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Seen(seen) => {
                // The place is kept where the chosen one is gone: another one is there then.
                let (request, grant) = (self.request_at(), self.grant_at());
                self.seen = *seen;
                self.is_there = true;
                self.failure = None;
                self.request = choose(&self.requests(), &self.request, request);
                self.grant = choose(&self.grants(), &self.grant, grant);
                self.line = self.line.min(self.traffic().len().saturating_sub(1));
            }
            News::Done(told) => self.told = Some(told),
            News::Failed(failure) if self.is_there => self.told = Some(neutral(failure.as_bytes())),
            News::Failed(failure) => self.failure = Some(neutral(failure.as_bytes())),
        }
    }

    /// The requests that wait, the oldest first: what comes later moves nothing.
    pub(super) fn requests(&self) -> Vec<&Value> {
        list(&self.seen.requests, "/requests").iter().rev().collect()
    }

    pub(super) fn grants(&self) -> Vec<&Value> {
        list(&self.seen.grants, "/grants").iter().collect()
    }

    pub(super) fn traffic(&self) -> &[Value] {
        list(&self.seen.traffic, "/lines")
    }

    /// The place of the chosen request.
    pub(super) fn request_at(&self) -> usize {
        place(&self.requests(), &self.request)
    }

    /// The place of the chosen grant.
    pub(super) fn grant_at(&self) -> usize {
        place(&self.grants(), &self.grant)
    }

    /// The chosen request.
    pub(super) fn request(&self) -> Option<&Value> {
        self.requests().get(self.request_at()).copied()
    }

    /// Does what a key means.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Wish> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return (key.code == KeyCode::Char('c')).then_some(Wish::Quit);
        }
        self.told = None;
        match self.dialog.take() {
            Some(dialog) => self.press_in(dialog, key.code),
            None => self.press_on(key.code),
        }
    }

    fn press_on(&mut self, code: KeyCode) -> Option<Wish> {
        match code {
            KeyCode::Char('q') => return Some(Wish::Quit),
            KeyCode::Tab => {
                self.pane = match self.pane {
                    Pane::Requests => Pane::Grants,
                    Pane::Grants => Pane::Traffic,
                    Pane::Traffic => Pane::Requests,
                };
            }
            KeyCode::Char('1') => self.pane = Pane::Requests,
            KeyCode::Char('2') => self.pane = Pane::Grants,
            KeyCode::Char('3') => self.pane = Pane::Traffic,
            KeyCode::Char('j') | KeyCode::Down => self.step(true),
            KeyCode::Char('k') | KeyCode::Up => self.step(false),
            KeyCode::Char('f') => self.dialog = Some(Dialog::Filter { code: self.code.clone() }),
            KeyCode::Char('a') if self.pane == Pane::Requests => {
                self.dialog = self.request().map(|request| Dialog::Approve {
                    request: request.clone(),
                    scope: 0,
                    words: String::new(),
                });
            }
            KeyCode::Char('r') if self.pane == Pane::Requests => {
                let request = self.request();
                self.dialog =
                    request.map(|request| Dialog::Reject { request: request.clone(), words: String::new() });
            }
            KeyCode::Char('x') if self.pane == Pane::Grants => {
                let grant = self.grants().get(self.grant_at()).copied();
                self.dialog = grant.map(|grant| Dialog::Revoke { grant: grant.clone() });
            }
            _ => {}
        }
        None
    }

    fn press_in(&mut self, mut dialog: Dialog, code: KeyCode) -> Option<Wish> {
        match (&mut dialog, code) {
            (_, KeyCode::Esc) => return None,
            (_, KeyCode::Enter) => return self.finish(dialog),
            (Dialog::Approve { scope, .. }, KeyCode::Down | KeyCode::Right | KeyCode::Tab) => {
                *scope = (*scope + 1) % scopes().len();
            }
            (Dialog::Approve { scope, .. }, KeyCode::Up | KeyCode::Left | KeyCode::BackTab) => {
                *scope = scope.checked_sub(1).unwrap_or(scopes().len() - 1);
            }
            (
                Dialog::Approve { words, .. } | Dialog::Reject { words, .. } | Dialog::Filter { code: words },
                KeyCode::Backspace,
            ) => drop(words.pop()),
            (Dialog::Approve { words, .. } | Dialog::Reject { words, .. }, KeyCode::Char(c))
                if words.chars().count() < MAX_WORDS =>
            {
                words.push(c);
            }
            // A reason code has no others.
            (Dialog::Filter { code }, KeyCode::Char(c @ ('a'..='z' | '0'..='9' | '-')))
                if code.len() < MAX_CODE =>
            {
                code.push(c);
            }
            _ => {}
        }
        self.dialog = Some(dialog);
        None
    }

    /// Does what a dialog is about.
    fn finish(&mut self, dialog: Dialog) -> Option<Wish> {
        // What supervise calls an id is one; a path is made of it.
        let id = |value: &Value| checked(&at(value, "/id")).ok().map(str::to_owned);
        match dialog {
            Dialog::Approve { request, scope, words } => {
                let scopes = scopes();
                let (_, scope) = scopes.get(scope)?;
                Some(Wish::Ask(approve(&id(&request)?, &request, scope, words.trim())))
            }
            Dialog::Reject { request, words } if words.trim().is_empty() => {
                self.told = Some("say why: the words go to the agent".to_owned());
                self.dialog = Some(Dialog::Reject { request, words });
                None
            }
            Dialog::Reject { request, words } => Some(Wish::Ask(reject(&id(&request)?, words.trim()))),
            Dialog::Revoke { grant } => Some(Wish::Ask(revoke(&id(&grant)?))),
            Dialog::Filter { code } => {
                self.code.clone_from(&code);
                self.line = 0;
                Some(Wish::Ask(Order::Filter(code)))
            }
        }
    }

    fn step(&mut self, down: bool) {
        let next = |place: usize, count: usize| {
            if down { (place + 1).min(count.saturating_sub(1)) } else { place.saturating_sub(1) }
        };
        match self.pane {
            Pane::Requests => {
                let requests = self.requests();
                self.request = id(&requests, next(self.request_at(), requests.len()));
            }
            Pane::Grants => {
                let grants = self.grants();
                self.grant = id(&grants, next(self.grant_at(), grants.len()));
            }
            Pane::Traffic => self.line = next(self.line, self.traffic().len()),
        }
    }
}

/// The id of what is at a place.
fn id(of: &[&Value], place: usize) -> String {
    of.get(place).map(|value| at(value, "/id")).unwrap_or_default()
}

/// The place of what has an id; the first one where that is gone.
fn place(of: &[&Value], id: &str) -> usize {
    of.iter().position(|value| at(value, "/id") == id).unwrap_or_default()
}

/// The id that stays chosen: the same, or that of what is in its place now.
fn choose(of: &[&Value], chosen: &str, place: usize) -> String {
    if of.iter().any(|value| at(value, "/id") == chosen) {
        return chosen.to_owned();
    }
    id(of, place.min(of.len().saturating_sub(1)))
}
