//! The port of the operator's page, and who has it.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use super::{Finding, Outcome, Subject};
use crate::fs;
use crate::policy::reason::Reason;
use crate::sidecar::text::neutral;

pub(super) fn operator(subject: &Subject<'_>) -> Outcome {
    let Some(supervise) = &subject.plan.supervise else { return Ok(Vec::new()) };
    let port = supervise.port;
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => return Ok(Vec::new()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {}
        Err(error) => return Err(format!("127.0.0.1:{port} can't be tried: {error}")),
    }
    let engine = subject.engine.as_ref().ok();
    let container = engine.and_then(|engine| {
        engine.containers.iter().find(|container| container.published().any(|taken| taken == port))
    });
    let who = match container {
        Some(container) if container.project() == Some(&subject.names.project) => return Ok(Vec::new()),
        Some(container) => format!("the container `{}`", container.name),
        None => process(port).unwrap_or_else(|| "a program of another user".to_owned()),
    };
    let what = format!("127.0.0.1:{port} is taken by {who}");
    Ok(vec![Finding::problem(Reason::PortTaken, what)])
}

/// The process that listens on a port: its sockets are links among its files (proc(5)).
fn process(port: u16) -> Option<String> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(Path::new(table)).ok())
        .flat_map(|table| listening(&table, port))
        .collect();
    let processes = fs::file_names(Path::new("/proc")).ok()?.into_iter();
    let mut processes = processes.filter(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
    let holds = |process: &OsStr| {
        let files = Path::new("/proc").join(process).join("fd");
        let names = fs::file_names(&files).unwrap_or_default();
        names.iter().filter_map(|name| rustix::fs::readlink(files.join(name), Vec::new()).ok()).any(|link| {
            link.to_str().is_ok_and(|link| sockets.iter().any(|socket| link == format!("socket:[{socket}]")))
        })
    };
    let process = processes.find(|process| holds(process))?;
    let name = fs::read(&Path::new("/proc").join(&process).join("comm")).unwrap_or_default();
    Some(format!("`{}` (process {})", neutral(&name), process.to_string_lossy()))
}

/// The numbers of the sockets that listen on a port, in the kernel's table.
fn listening(table: &str, port: u16) -> Vec<String> {
    /// `TCP_LISTEN` of the kernel.
    const LISTEN: &str = "0A";
    let end = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let rows = rows
        .filter(|row| row.get(1).is_some_and(|local| local.ends_with(&end)) && row.get(3) == Some(&LISTEN));
    rows.filter_map(|row| row.get(9).map(|inode| (*inode).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::process;

    #[test]
    fn whoever_listens_on_a_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let who = process(port).unwrap();
        assert!(who.ends_with(&format!("(process {})", std::process::id())), "{who}");
        drop(listener);
    }
}
