//! `bottle top` on a terminal of its own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

use super::operator_support::{Supervise, eventually};
use crate::support::PROGRAM;

/// The program on a terminal. It ends with the test.
struct Top {
    child: Child,
    /// Its terminal's other side.
    master: File,
    /// The terminal itself, to see how it is left.
    terminal: File,
    /// Everything that it has written.
    written: Arc<Mutex<Vec<u8>>>,
}

impl Top {
    fn start(world: &Supervise) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("it is ours");
        unlockpt(&master).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("a name");
        let path = std::path::PathBuf::from(name.into_string().expect("a path"));
        let terminal = File::options().read(true).write(true).open(path).expect("it opens");
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).expect("a size");
        let descriptor = || Stdio::from(terminal.try_clone().expect("a descriptor"));
        // A session of its own, whose terminal this is: the size is asked of that one.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", PROGRAM, "top", "--token-file=state/token"])
            .arg(format!("--url=http://{}", world.operator))
            .current_dir(world.place.work())
            .env("TERM", "xterm-256color")
            .stdin(descriptor())
            .stdout(descriptor())
            .stderr(descriptor())
            .spawn()
            .expect("the program starts");
        let master = File::from(master);
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let (mut reader, log) = (master.try_clone().expect("a descriptor"), Arc::clone(&written));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                log.lock().expect("unpoisoned").extend_from_slice(bytes.get(..count).unwrap_or_default());
            }
        });
        Self { child, master, terminal, written }
    }

    fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("it reads");
    }

    fn has_written(&self, text: &str) -> bool {
        let written = self.written.lock().expect("unpoisoned");
        written.windows(text.len()).any(|part| part == text.as_bytes())
    }

    /// Waits until it has written this.
    #[track_caller]
    fn writes(&self, text: &str) {
        eventually(&format!("`{text}` on the terminal"), || self.has_written(text).then_some(()));
    }

    fn modes(&self) -> Termios {
        tcgetattr(self.terminal.as_fd()).expect("a terminal")
    }

    #[track_caller]
    fn ends(&mut self) -> bool {
        eventually("it ends", || self.child.try_wait().expect("it is ours")).success()
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_request_is_seen_and_approved_on_a_terminal_that_is_left_as_it_was() {
    let world = Supervise::start();
    let id = world.ask_for("api.example.org", "\u{1b}]0;pwned\u{7}\u{1b}[2Jplease");
    let mut top = Top::start(&world);
    // Only what has changed is written, so that words of several parts may come in pieces.
    top.writes("api.example.org");
    top.writes("?]0;pwned??[2Jplease");
    assert!(!top.has_written("\u{1b}]0;pwned"), "the agent's words steer nothing");
    assert!(!top.modes().local_modes.contains(LocalModes::ICANON), "keys come one by one");
    top.press("a");
    top.writes("minutes");
    top.press("go on\r");
    eventually("it is approved", || world.grants().first().cloned());
    assert!(world.hears(&id).to_string().contains("go on"));
    // Ctrl-C.
    top.press("\u{3}");
    assert!(top.ends());
    top.writes("\u{1b}[?1049l");
    assert!(top.modes().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
}

#[test]
fn without_a_terminal_there_is_one_clear_error() {
    let world = Supervise::start();
    let url = format!("--url=http://{}", world.operator);
    let said = world.place.bottle(["top", &url, "--token-file=state/token"]).run().fails(1);
    assert_eq!(said, "error: `bottle top` needs a terminal; without one, use `bottle requests`\n");
}
