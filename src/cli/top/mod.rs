//! `bottle top`: what waits, what is in force and what goes through, on one screen.
//!
//! [`model`] is what is known and what a key means, [`screen`] draws it, [`source`] asks supervise, in the background: a
//! screen whose keys wait for the network would make people press them twice.

mod model;
mod screen;
mod source;
#[cfg(test)]
mod tests;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};

use self::model::{Model, Wish};
use self::source::Source;
use super::EXIT_OK;
use super::requests::client::Client;

/// How long a key is waited for before what has come from supervise is shown.
const PERIOD: Duration = Duration::from_millis(100);

/// Show requests, grants and traffic as they change, and decide
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The address of supervise [default: that of the Compose project in the working directory]
    #[arg(long, value_name = "URL", requires = "token_file")]
    url: Option<String>,

    /// The file with supervise's token
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
}

/// Runs until the person at the terminal has seen enough.
pub(super) fn run(args: Args) -> Result<u8> {
    let Args { url, token_file } = args;
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        bail!("`bottle top` needs a terminal; without one, use `bottle requests`");
    }
    let client = match (url, token_file) {
        (Some(url), Some(file)) => Client::at(&url, &file)?,
        _ => Client::of_project()?,
    };
    // One that can't be reached is better told where it can be read.
    client.get("/api/health")?;
    let source = Source::start(client)?;
    let ended = ended()?;
    // It restores the terminal when the program panics, too.
    let mut terminal = ratatui::try_init().context("could not set the terminal up")?;
    let shown = show(&mut terminal, &source, &ended);
    ratatui::try_restore().context("could not set the terminal back")?;
    shown.map(|()| EXIT_OK)
}

fn show(terminal: &mut DefaultTerminal, source: &Source, ended: &AtomicBool) -> Result<()> {
    let mut model = Model::default();
    while !ended.load(Ordering::Relaxed) {
        while let Some(news) = source.news() {
            model.take(news);
        }
        terminal.draw(|frame| screen::draw(&model, frame))?;
        if !event::poll(PERIOD)? {
            continue;
        }
        if let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            match model.press(key) {
                None => {}
                Some(Wish::Quit) => return Ok(()),
                Some(Wish::Ask(order)) => source.ask(order),
            }
        }
    }
    Ok(())
}

/// Becomes true when a signal wants the program to end: the terminal is to be set back before.
fn ended() -> Result<Arc<AtomicBool>> {
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _entered = runtime.enter();
        [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()].map(signal)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let [Ok(terminate), Ok(hangup), Ok(interrupt)] = &mut signals else { return };
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
                _ = interrupt.recv() => {}
            }
            told.store(true, Ordering::Relaxed);
        });
    })?;
    Ok(ended)
}
