//! Answers the hooks.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::super::control::{Demand, MAX_LINE, Reply};
use super::super::log;
use super::super::message::Failure;
use super::Gate;
use crate::sidecar::text::neutral;

/// How long a question may take to arrive.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);

/// Answers until the process ends.
pub(super) async fn serve(gate: Arc<Gate>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(answer(Arc::clone(&gate), stream));
            }
            Err(error) => {
                log::line("control", &format!("could not accept a hook: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(gate: Arc<Gate>, stream: UnixStream) {
    let mut reader = BufReader::new(stream).take(MAX_LINE);
    let mut line = String::new();
    match tokio::time::timeout(QUESTION_LIMIT, reader.read_line(&mut line)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            return log::line("control", &format!("a question can't be read: {error}"));
        }
        Err(_) => return log::line("control", "a question did not arrive in time"),
    }
    let reply = match serde_json::from_str(&line) {
        Ok(Demand::Now) => Reply::Now(u64::try_from(gate.grants.now().as_millis()).unwrap_or(u64::MAX)),
        Ok(demand) => work(&gate, demand).await.into(),
        Err(error) => Err(Failure::inside(format!("a question was not understood: {error}"))).into(),
    };
    let mut answer = match serde_json::to_vec(&reply) {
        Ok(answer) => answer,
        Err(error) => return log::line("control", &format!("an answer can't be written: {error}")),
    };
    answer.push(b'\n');
    let mut stream = reader.into_inner().into_inner();
    if let Err(error) = stream.write_all(&answer).await {
        log::line("control", &format!("a hook left before its answer: {error}"));
    }
}

async fn work(gate: &Gate, demand: Demand) -> Result<(), Failure> {
    match demand {
        Demand::Note { connection, text } => {
            log::line("hook", &format!("connection {connection}: {}", neutral(text.as_bytes())));
            Ok(())
        }
        Demand::Lock { connection, repository } => {
            let connection = gate.connection(connection)?;
            connection.pushes_to(&repository)?;
            let guard = gate.repository(&repository)?.lock().await?;
            connection.keep(guard);
            Ok(())
        }
        Demand::Decision { connection, decision } => {
            gate.connection(connection)?.decided(gate, &decision);
            Ok(())
        }
        Demand::Now => Ok(()),
    }
}
