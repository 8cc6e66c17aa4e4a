//! An upstream behind HTTPS: nginx with TLS and a password in front of git's own CGI program.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bottle::policy::gate::{GatePolicy, HttpsCredential, HttpsUpstream, SecretSource, Upstream};
use bottle::policy::whole::END;

use super::support::{World, commit, eventually, free_port, git, kill_tree, tool, write};

/// nginx and the CGI runner, for the repositories below a directory.
struct Web {
    nginx: Child,
    runner: Child,
    port: u16,
}

impl Drop for Web {
    fn drop(&mut self) {
        kill_tree(&mut self.nginx);
        kill_tree(&mut self.runner);
    }
}

fn run(command: &mut Command) -> String {
    super::support::Ran::from(command.output().unwrap()).success()
}

impl Web {
    fn new(root: &Path) -> Self {
        let web = root.join("web");
        fs::create_dir_all(&web).unwrap();
        let (key, cert) = (web.join("key.pem"), web.join("cert.pem"));
        let mut openssl = Command::new(tool("openssl"));
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ]);
        openssl
            .args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
            .arg(&key);
        run(openssl.arg("-out").arg(&cert));
        let hash = run(Command::new(tool("openssl")).args(["passwd", "-apr1", "correct horse"]));
        write(&web.join("passwords"), &format!("robot:{hash}"), 0o644);
        let port = free_port();
        let user = run(Command::new("id").arg("-un"));
        let text = format!(
            "daemon off;\nuser {user};\npid {0}/pid;\nerror_log {0}/error.log;\nevents {{}}\nhttp {{\n\
             access_log off;\nclient_body_temp_path {0}/body;\nproxy_temp_path {0}/proxy;\nfastcgi_temp_path {0}/fcgi;\n\
             uwsgi_temp_path {0}/uwsgi;\nscgi_temp_path {0}/scgi;\nserver {{\nlisten 127.0.0.1:{port} ssl;\n\
             ssl_certificate {0}/cert.pem;\nssl_certificate_key {0}/key.pem;\nclient_max_body_size 0;\n\
             location /moved/ {{ return 302 https://127.0.0.1:{port}/upstream.git/$is_args$args; }}\n\
             location / {{\nauth_basic git;\nauth_basic_user_file {0}/passwords;\nfastcgi_pass unix:{0}/cgi.sock;\n\
             fastcgi_param SCRIPT_FILENAME {backend};\nfastcgi_param GIT_PROJECT_ROOT {root};\n\
             fastcgi_param GIT_HTTP_EXPORT_ALL 1;\nfastcgi_param GIT_PROTOCOL $http_git_protocol;\n\
             fastcgi_param PATH_INFO $uri;\nfastcgi_param QUERY_STRING $query_string;\n\
             fastcgi_param REQUEST_METHOD $request_method;\nfastcgi_param CONTENT_TYPE $content_type;\n\
             fastcgi_param CONTENT_LENGTH $content_length;\nfastcgi_param REMOTE_USER $remote_user;\n\
             fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;\n}}\n}}\n}}\n",
            web.display(),
            user = user.trim(),
            backend = tool("git-http-backend").display(),
            root = root.display(),
        );
        write(&web.join("nginx.conf"), &text, 0o644);
        let log = || fs::File::options().create(true).append(true).open(web.join("log")).unwrap();
        let socket = web.join("cgi.sock");
        let mut runner = Command::new(tool("fcgiwrap"));
        runner.arg("-f").arg("-s").arg(format!("unix:{}", socket.display()));
        let runner = runner.stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().unwrap();
        eventually("fcgiwrap listens", || socket.exists());
        let mut nginx = Command::new(tool("nginx"));
        nginx.arg("-p").arg(&web).arg("-e").arg(web.join("error.log")).arg("-c").arg(web.join("nginx.conf"));
        let nginx = nginx.stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().unwrap();
        eventually("nginx listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { nginx, runner, port }
    }
}

/// A world whose gate reaches the upstream over HTTPS.
fn world(change: impl Fn(&mut HttpsUpstream)) -> (World, Web) {
    let mut world = World::new();
    world.gate.kill();
    git(&world.path("upstream.git"), &["config", "http.receivepack", "true"]).success();
    let web = Web::new(world.root.path());
    let text = fs::read_to_string(world.path("etc/gate.yaml")).unwrap();
    let mut policy: GatePolicy = serde_yaml::from_str(&text).unwrap();
    let mut https = HttpsUpstream {
        url: format!("https://127.0.0.1:{}/upstream.git", web.port),
        credential: Some(HttpsCredential {
            name: "forge".to_owned(),
            username: "robot".to_owned(),
            source: SecretSource::Env("BOTTLE_TEST_PASSWORD".to_owned()),
        }),
        ca_file: Some(world.path("web/cert.pem").display().to_string()),
    };
    change(&mut https);
    if let Some(app) = policy.repositories.get_mut("app") {
        app.upstream = Upstream::Https(https);
    }
    write(&world.path("etc/gate.yaml"), &(serde_yaml::to_string(&policy).unwrap() + END), 0o644);
    world.restart();
    (world, web)
}

#[test]
fn an_https_upstream_works_like_one_behind_ssh() {
    let (world, _web) = world(|_| {});
    let agent = world.clone_to("agent");
    let tip = commit(&agent, "fix.txt", "one\n");
    git(&agent, &["push", "origin", "HEAD:refs/heads/agent/x"]).success();
    assert_eq!(world.upstream("refs/heads/agent/x"), tip);
    git(&agent, &["push", "origin", "HEAD:refs/heads/main"]).failure(": default-branch-protected");
    assert!(!world.gate.log().contains("correct horse"));
}

#[test]
fn a_wrong_password_is_told() {
    let (world, _web) = world(|https| {
        let wrong = std::env::temp_dir().join(format!("bottle-wrong-{}", std::process::id()));
        write(&wrong, "wrong\n", 0o600);
        if let Some(credential) = &mut https.credential {
            credential.source = SecretSource::File(wrong.display().to_string());
        }
    });
    git(world.root.path(), &["ls-remote", &world.gate.url("app")]).failure("bottle: upstream-auth");
}

#[test]
fn a_missing_password_is_told() {
    let (world, _web) = world(|https| {
        if let Some(credential) = &mut https.credential {
            credential.source = SecretSource::Env("BOTTLE_TEST_NOT_SET".to_owned());
        }
    });
    let text =
        git(world.root.path(), &["ls-remote", &world.gate.url("app")]).failure("bottle: credential-missing");
    assert!(text.contains("`forge`"), "{text}");
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused() {
    let (world, _web) = world(|https| https.ca_file = None);
    git(world.root.path(), &["ls-remote", &world.gate.url("app")]).failure("bottle: upstream-tls");
}

#[test]
fn a_redirect_is_not_followed() {
    let (world, _web) = world(|https| https.url = https.url.replace("/upstream.git", "/moved/upstream.git"));
    git(world.root.path(), &["ls-remote", &world.gate.url("app")]).failure("bottle: ");
}
