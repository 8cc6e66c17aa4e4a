//! A real sshd on loopback, with its own configuration and keys made at run time.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::support::{Ran, eventually, free_port, kill_tree, tool, write};

/// An SSH server for one key and one purpose.
pub(super) struct Sshd {
    child: Option<Child>,
    config: PathBuf,
    pub(super) port: u16,
}

impl Sshd {
    /// Makes the keys of both sides below `root` and starts.
    pub(super) fn new(root: &Path) -> Self {
        let directory = root.join("sshd");
        fs::create_dir_all(directory.join("trace")).unwrap();
        keygen(&directory.join("host"));
        keygen(&root.join("etc/identity/app"));
        let public = fs::read_to_string(root.join("etc/identity/app.pub")).unwrap();
        let shell = directory.join("shell");
        let trace = directory.join("trace");
        let text = format!(
            "#!/bin/sh\nexport GIT_TRACE_PACKET={0}/$$\necho \"$SSH_ORIGINAL_COMMAND\" >> {1}/commands\n\
             [ ! -e {1}/hook ] || . {1}/hook\nexec sh -c \"$SSH_ORIGINAL_COMMAND\"\n",
            trace.display(),
            directory.display(),
        );
        write(&shell, &text, 0o755);
        let line = format!("command=\"{}\",no-pty {public}", shell.display());
        write(&directory.join("authorized_keys"), &line, 0o600);
        let port = free_port();
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nAcceptEnv GIT_PROTOCOL\nSetEnv HOME=/nonexistent\n\
             PermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\n",
            directory.display()
        );
        let config = directory.join("config");
        write(&config, &text, 0o600);
        let mut sshd = Self { child: None, config, port };
        sshd.start();
        sshd
    }

    pub(super) fn start(&mut self) {
        // Debian's sshd wants the directory when it runs as root.
        drop(fs::create_dir_all("/run/sshd"));
        let log = fs::File::create(self.config.with_file_name("log")).unwrap();
        let mut command = Command::new(tool("sshd"));
        command
            .args(["-D", "-e", "-f"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
        let port = self.port;
        eventually("sshd listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// Stops the server and every connection to it.
    pub(super) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill_tree(&mut child);
        }
    }

    /// A shell script that the server runs before each command from now on.
    pub(super) fn hook(&self, text: &str) {
        write(&self.config.with_file_name("hook"), text, 0o644);
    }

    /// How many of the sessions so far have asked for objects.
    pub(super) fn fetches(&self) -> usize {
        let traces = fs::read_dir(self.config.with_file_name("trace")).unwrap();
        let asked =
            |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).contains("command=fetch");
        traces.filter(|entry| asked(entry.as_ref().unwrap().path())).count()
    }

    /// The commands of all sessions so far.
    pub(super) fn commands(&self) -> String {
        fs::read_to_string(self.config.with_file_name("commands")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(super) fn keygen(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut command = Command::new(tool("ssh-keygen"));
    Ran::from(command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).output().unwrap()).success();
}
