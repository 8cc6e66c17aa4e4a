//! Real clients work untouched, with the proxy and the trust bundle in their environment and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::support::{Egress, Nginx, Setup, eventually, find, tool};

/// nginx with some files, and egress in front of it.
fn world(directives: &str) -> (Nginx, Egress) {
    let nginx = Nginx::start(directives);
    fs::write(nginx.www().join("hello.txt"), "hello from nginx\n").unwrap();
    let egress = Setup::new().route(nginx.route()).start();
    (nginx, egress)
}

/// A command with the environment that the agent has, in a directory of its own.
fn agent(egress: &Egress, program: &Path) -> Command {
    let home = egress.path("home");
    fs::create_dir_all(&home).unwrap();
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", &home).current_dir(&home);
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
        command.env(name, egress.url());
    }
    for name in [
        "SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "GIT_SSL_CAINFO",
        "CARGO_HTTP_CAINFO",
        "PIP_CERT",
        "AWS_CA_BUNDLE",
    ] {
        command.env(name, egress.path("trust/bundle.pem"));
    }
    command.stdin(Stdio::null());
    command
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}\n{complaint}", output.status);
    text
}

/// The program, or a word about its absence: these clients need not be on every machine.
fn client(name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        println!("skipped: `{name}` is not on this machine");
    }
    found
}

#[test]
fn curl_with_http1_and_http2() {
    let (nginx, egress) = world("");
    for version in ["--http1.1", "--http2"] {
        let mut command = agent(&egress, &tool("curl"));
        command.args(["--silent", "--show-error", "--fail", version, "-w", " %{http_version}"]);
        let text = run(command.arg(nginx.url("/hello.txt")));
        let version = if version == "--http2" { "2" } else { "1.1" };
        assert_eq!(text, format!("hello from nginx\n {version}"));
    }
}

#[test]
fn curl_shows_why_it_was_refused() {
    let (_nginx, egress) = world("");
    let mut command = agent(&egress, &tool("curl"));
    let text = run(command.args(["--silent", "https://evil.example.net/"]));
    assert!(text.contains("\"route-missing\"") && text.contains("evil.example.net"), "{text}");
}

#[test]
fn curl_uploads_and_downloads_much() {
    let (nginx, egress) =
        world("location /up { client_body_buffer_size 16k; dav_methods PUT; root {root}/www; }");
    let file = egress.path("large");
    fs::write(&file, vec![b'x'; 8 << 20]).unwrap();
    fs::create_dir(nginx.www().join("up")).unwrap();
    let mut command = agent(&egress, &tool("curl"));
    run(command.args(["--silent", "--show-error", "--fail", "-T"]).arg(&file).arg(nginx.url("/up/large")));
    let mut command = agent(&egress, &tool("curl"));
    run(command.args(["--silent", "--show-error", "--fail", "-o", "got"]).arg(nginx.url("/up/large")));
    assert_eq!(fs::metadata(egress.path("home/got")).unwrap().len(), 8 << 20);
}

#[test]
fn wget() {
    let Some(wget) = client("wget") else { return };
    let (nginx, egress) = world("");
    // Debian's is built with GnuTLS, which knows no variable for the trust bundle: it is its own setting.
    let settings = egress.path("wgetrc");
    fs::write(&settings, format!("ca_certificate = {}\n", egress.path("trust/bundle.pem").display()))
        .unwrap();
    let mut command = agent(&egress, &wget);
    let text =
        run(command.env("WGETRC", &settings).args(["--quiet", "-O", "-"]).arg(nginx.url("/hello.txt")));
    assert_eq!(text, "hello from nginx\n");
}

#[test]
fn openssl_s_client() {
    let (nginx, egress) = world("");
    let mut command = agent(&egress, &tool("openssl"));
    command.args([
        "s_client",
        "-proxy",
        &format!("127.0.0.1:{}", egress.port),
        "-connect",
        &nginx.authority(),
    ]);
    command.args([
        "-servername",
        "nginx.test.example",
        "-verify_return_error",
        "-quiet",
        "-verify_quiet",
        "-CAfile",
    ]);
    command
        .arg(egress.path("trust/ca.pem"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let text = format!("GET /hello.txt HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", nginx.authority());
    // It ends with the server's close; its own input stays open until then.
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("hello from nginx"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    drop(stdin);
}

/// fcgiwrap, for git's own CGI program behind nginx.
struct Runner(Child);

impl Drop for Runner {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn git_clones_and_pushes_over_https() {
    let place = tempfile::TempDir::new().unwrap();
    let socket = place.path().join("cgi.sock");
    let mut command = Command::new(tool("fcgiwrap"));
    command.arg("-f").arg("-s").arg(format!("unix:{}", socket.display()));
    let _runner = Runner(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    eventually("fcgiwrap listens", || socket.exists());
    let root = place.path().display();
    let backend = tool("git-http-backend");
    let nginx = Nginx::start(&format!(
        "location /git/ {{\nfastcgi_pass unix:{root}/cgi.sock;\nfastcgi_param SCRIPT_FILENAME {backend};\n\
         fastcgi_param GIT_PROJECT_ROOT {root};\nfastcgi_param GIT_HTTP_EXPORT_ALL 1;\n\
         fastcgi_param GIT_PROTOCOL $http_git_protocol;\nfastcgi_param PATH_INFO $uri;\n\
         fastcgi_param QUERY_STRING $query_string;\nfastcgi_param REQUEST_METHOD $request_method;\n\
         fastcgi_param CONTENT_TYPE $content_type;\nfastcgi_param CONTENT_LENGTH $content_length;\n\
         fastcgi_param REMOTE_USER agent;\nfastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;\n}}",
        backend = backend.display(),
    ));
    let egress = Setup::new().route(nginx.route()).start();
    let git = |directory: &Path, args: &[&str]| {
        let mut command = agent(&egress, Path::new("git"));
        command.current_dir(directory).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), "Agent")
                .env(format!("GIT_{who}_EMAIL"), "agent@example.org");
        }
        run(command.args(args))
    };
    let bare = place.path().join("git/app.git");
    fs::create_dir_all(&bare).unwrap();
    git(&bare, &["init", "--quiet", "--bare", "--initial-branch=main"]);
    git(&bare, &["config", "http.receivepack", "true"]);
    let url = nginx.url("/git/app.git");
    let home = egress.path("home");
    git(&home, &["clone", "--quiet", &url, "work"]);
    let work = home.join("work");
    // More than git's http.postBuffer: so the push is chunked, after a probe.
    fs::write(work.join("large"), bytes(2 << 20)).unwrap();
    git(&work, &["checkout", "--quiet", "-b", "main"]);
    git(&work, &["add", "large"]);
    git(&work, &["commit", "--quiet", "-m", "one"]);
    // Over HTTP/1.1: libcurl 7.88 now and then stops in an upload over HTTP/2, with the updates of its window unread in the
    // socket.
    git(&work, &["-c", "http.version=HTTP/1.1", "push", "--quiet", "origin", "main"]);
    assert_eq!(git(&bare, &["rev-parse", "main"]), git(&work, &["rev-parse", "HEAD"]));
    git(&home, &["clone", "--quiet", &url, "again"]);
    assert!(home.join("again/large").exists());
}

/// Bytes that do not compress.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(&mut next).take(count).collect()
}

/// A wheel by hand: a zip archive with three files, made by Python's own module.
const WHEEL: &str = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    wheel.writestr('demo_pkg/__init__.py', 'value = 42\\n')
    info = 'demo_pkg-1.0.dist-info/'
    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: demo-pkg\\nVersion: 1.0\\n')
    wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: hand\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(info + 'RECORD', '')
";

#[test]
fn pip_downloads_from_an_index() {
    let Some(python) = client("python3") else { return };
    let (nginx, egress) = world("index index.html;");
    let index = nginx.www().join("simple/demo-pkg");
    fs::create_dir_all(&index).unwrap();
    let name = "demo_pkg-1.0-py3-none-any.whl";
    run(Command::new(&python).args(["-c", WHEEL]).arg(index.join(name)));
    fs::write(index.join("index.html"), format!("<!DOCTYPE html><a href=\"{name}\">{name}</a>")).unwrap();
    let mut command = agent(&egress, &python);
    command.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-cache-dir",
        "--disable-pip-version-check",
    ]);
    command.args(["--index-url", &nginx.url("/simple/"), "-d", "out", "demo-pkg"]);
    run(&mut command);
    assert!(egress.path("home/out").join(name).exists());
}

#[test]
fn python_requests_and_urllib() {
    let Some(python) = client("python3") else { return };
    let (nginx, egress) = world("");
    let script = "
import sys, urllib.request
try:
    import requests
except ImportError:
    from pip._vendor import requests
print(requests.get(sys.argv[1]).text, end='')
print(urllib.request.urlopen(sys.argv[1]).read().decode(), end='')
";
    let mut command = agent(&egress, &python);
    let text = run(command.args(["-c", script]).arg(nginx.url("/hello.txt")));
    assert_eq!(text, "hello from nginx\nhello from nginx\n");
}

/// A package by hand.
fn tarball(directory: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let inner = directory.join("build").join(name);
    for (path, text) in files {
        let path = inner.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let archive = directory.join(format!("{name}.tgz"));
    let mut command = Command::new(tool("tar"));
    command.arg("-czf").arg(&archive).arg("-C").arg(directory.join("build")).arg(name);
    run(&mut command);
    archive
}

#[test]
fn npm_installs_a_scoped_package() {
    let Some(npm) = client("npm") else { return };
    let (nginx, egress) = world("default_type application/json;");
    let place = egress.path("made");
    let package = "{\"name\":\"@scope/demo\",\"version\":\"1.0.0\"}";
    let archive =
        tarball(&place, "package", &[("package.json", package), ("index.js", "module.exports = 42\n")]);
    fs::create_dir_all(nginx.www().join("@scope")).unwrap();
    fs::copy(archive, nginx.www().join("demo-1.0.0.tgz")).unwrap();
    let document = serde_json::json!({
        "name": "@scope/demo",
        "dist-tags": { "latest": "1.0.0" },
        "versions": { "1.0.0": {
            "name": "@scope/demo", "version": "1.0.0",
            "dist": { "tarball": nginx.url("/demo-1.0.0.tgz") },
        } },
    });
    fs::write(nginx.www().join("@scope/demo"), document.to_string()).unwrap();
    let mut command = agent(&egress, &npm);
    // What the machine says of certificates for all its users is not the bottle's.
    command.env("npm_config_globalconfig", "/dev/null");
    command.args([
        "install",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        "--fetch-retries=0",
        "--registry",
        &nginx.url("/"),
    ]);
    run(command.arg("@scope/demo"));
    assert!(egress.path("home/node_modules/@scope/demo/index.js").exists());
    let log = fs::read_to_string(nginx.root().join("access.log")).unwrap();
    assert!(log.contains("/@scope%2fdemo"), "{log}");
}

#[test]
fn node_fetches_through_connect() {
    let (nginx, egress) = world("");
    // Node 20 has no proxy setting for fetch; this is what the agents of that age do.
    let script = "
const http = require('http'), https = require('https'), tls = require('tls');
const proxy = new URL(process.env.HTTPS_PROXY), url = new URL(process.argv[1]);
http.request({ host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: url.host, headers: { host: url.host } }).on('connect', (head, socket) => {
  const agent = { createConnection: () => tls.connect({ socket, servername: url.hostname }) };
  https.get(url, agent, (response) => { response.pipe(process.stdout); response.on('end', () => socket.end()); });
}).end();
";
    let mut command = agent(&egress, &tool("node"));
    let text = run(command.args(["-e", script]).arg(nginx.url("/hello.txt")));
    assert_eq!(text, "hello from nginx\n");
}

#[test]
fn cargo_fetches_from_a_sparse_registry() {
    use sha2::Digest as _;
    let (nginx, egress) = world("");
    let place = egress.path("made");
    let manifest = "[package]\nname = \"demo\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
    let archive = tarball(&place, "demo-1.0.0", &[("Cargo.toml", manifest), ("src/lib.rs", "")]);
    let bytes = fs::read(&archive).unwrap();
    let sum =
        sha2::Sha256::digest(&bytes).iter().fold(String::new(), |sum, byte| sum + &format!("{byte:02x}"));
    fs::create_dir_all(nginx.www().join("index/de/mo")).unwrap();
    fs::write(nginx.www().join("demo-1.0.0.crate"), bytes).unwrap();
    let settings = serde_json::json!({ "dl": nginx.url("/{crate}-{version}.crate") });
    fs::write(nginx.www().join("index/config.json"), settings.to_string()).unwrap();
    let entry = serde_json::json!({
        "name": "demo", "vers": "1.0.0", "deps": [], "cksum": sum, "features": {}, "yanked": false,
    });
    fs::write(nginx.www().join("index/de/mo/demo"), format!("{entry}\n")).unwrap();
    let project = egress.path("home");
    fs::create_dir_all(project.join("src")).unwrap();
    fs::create_dir_all(project.join(".cargo")).unwrap();
    fs::write(project.join("src/lib.rs"), "").unwrap();
    let dependent = "[package]\nname = \"user\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
                     [dependencies]\ndemo = { version = \"1\", registry = \"local\" }\n[workspace]\n";
    fs::write(project.join("Cargo.toml"), dependent).unwrap();
    let index = format!("[registries.local]\nindex = \"sparse+{}\"\n", nginx.url("/index/"));
    fs::write(project.join(".cargo/config.toml"), index).unwrap();
    let mut command = agent(&egress, Path::new(env!("CARGO")));
    // The compiler that built this: a shim of rustup's would look for its settings in the home directory.
    command.env("RUSTC", Path::new(env!("CARGO")).with_file_name("rustc"));
    run(command.env("CARGO_HOME", egress.path("cargo")).args(["fetch", "--quiet"]));
    let lock = fs::read_to_string(project.join("Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"demo\""), "{lock}");
}

#[test]
fn java_with_a_keytool_store() {
    let (Some(java), Some(keytool)) = (client("java"), client("keytool")) else { return };
    if client("javac").is_none() {
        return;
    }
    let (nginx, egress) = world("");
    let store = egress.path("store.p12");
    let mut command = agent(&egress, &keytool);
    command.args([
        "-importcert",
        "-noprompt",
        "-alias",
        "bottle",
        "-storetype",
        "PKCS12",
        "-storepass",
        "changeit",
    ]);
    command.arg("-file").arg(egress.path("trust/ca.pem")).arg("-keystore").arg(&store);
    run(&mut command);
    let source = "
import java.net.URI;
import java.net.http.*;
public class Get {
  public static void main(String[] args) throws Exception {
    var client = HttpClient.newBuilder().proxy(java.net.ProxySelector.getDefault()).build();
    var answer = client.send(HttpRequest.newBuilder(URI.create(args[0])).build(), HttpResponse.BodyHandlers.ofString());
    System.out.print(answer.body());
  }
}
";
    fs::write(egress.path("Get.java"), source).unwrap();
    let mut command = agent(&egress, &java);
    command.args([
        "-XX:TieredStopAtLevel=1",
        "-Dhttps.proxyHost=127.0.0.1",
        &format!("-Dhttps.proxyPort={}", egress.port),
    ]);
    command.arg(format!("-Djavax.net.ssl.trustStore={}", store.display()));
    command.arg("-Djavax.net.ssl.trustStorePassword=changeit").arg(egress.path("Get.java"));
    assert_eq!(run(command.arg(nginx.url("/hello.txt"))), "hello from nginx\n");
}

#[test]
fn go_net_http() {
    let Some(go) = client("go") else { return };
    let (nginx, egress) = world("");
    let source = "package main\n\nimport (\n\t\"io\"\n\t\"net/http\"\n\t\"os\"\n)\n\nfunc main() {\n\
                  \tanswer, err := http.Get(os.Args[1])\n\tif err != nil {\n\t\tpanic(err)\n\t}\n\
                  \tio.Copy(os.Stdout, answer.Body)\n}\n";
    fs::write(egress.path("main.go"), source).unwrap();
    let mut command = agent(&egress, &go);
    command.arg("run").arg(egress.path("main.go"));
    assert_eq!(run(command.arg(nginx.url("/hello.txt"))), "hello from nginx\n");
}

#[test]
fn the_trust_files_can_be_read_by_another_user() {
    let (_nginx, egress) = world("");
    for name in ["trust", "trust/ca.pem", "trust/bundle.pem"] {
        let mode = fs::metadata(egress.path(name)).unwrap().permissions().mode();
        assert_ne!(mode & 0o004, 0, "{name}: {mode:o}");
    }
}
