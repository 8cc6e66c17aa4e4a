use std::os::unix::fs::{PermissionsExt as _, symlink};

use indexmap::IndexMap;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::{Entered, FILE};
use crate::fs;
use crate::policy::egress::{Credential, Inject};
use crate::policy::gate::SecretSource;
use crate::sidecar::egress::credential::Credentials;
use crate::sidecar::letter::Letter;
use crate::sidecar::seal::{Message, seal};

const SECRET: &str = "sk-example-0123456789";

/// Egress's side of two directories, with the credential `key` of a file that isn't there.
struct Bottle {
    root: TempDir,
    entered: Entered,
    credentials: Credentials,
}

impl Bottle {
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(root: TempDir) -> Self {
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(&path("letters")).unwrap();
        let entered = Entered::open(path("letters"), &path("state")).unwrap();
        let source = SecretSource::File(path("token").to_str().unwrap().to_owned());
        let credential = Credential {
            source: "bottle.yaml:7".to_owned(),
            secret: source,
            inject: Inject::Bearer,
            placeholder: None,
        };
        let policy = IndexMap::from([("key".to_owned(), credential)]);
        let credentials = Credentials::new(&policy, Some(entered.kept()));
        Self { root, entered, credentials }
    }

    /// Egress after it was started anew.
    fn restarted(self) -> Self {
        Self::at(self.root)
    }

    fn letter(&self, credential: &str, message: &Message) -> Letter {
        let key = self.entered.report(&self.credentials).key;
        Letter {
            credential: credential.to_owned(),
            remove: matches!(message, Message::Remove),
            message: seal(&key, credential, message).unwrap(),
        }
    }

    fn enter(&self, secret: &str) -> Letter {
        self.letter("key", &Message::Enter(Zeroizing::new(secret.as_bytes().to_vec())))
    }

    fn leave(&self, letter: &Letter) {
        letter.leave(&self.root.path().join("letters")).unwrap();
    }

    /// Takes the letter that lies there, and tells what became of it.
    fn take(&self) -> Result<&'static str, String> {
        let done = self.entered.take(&self.credentials).expect("a letter lies there");
        assert_eq!(self.letters(), 0, "a letter is taken away, whatever it is");
        done.what
    }

    fn letters(&self) -> usize {
        fs::file_names(&self.root.path().join("letters")).unwrap().len()
    }

    /// What a request carries now.
    fn sent(&self) -> Option<String> {
        self.credentials.open();
        let mut headers = http::HeaderMap::new();
        self.credentials.inject("key", &mut headers).ok()?;
        headers.get("authorization").map(|value| value.to_str().unwrap().to_owned())
    }
}

#[test]
fn a_secret_that_was_entered_is_used_kept_and_for_egress_alone() {
    let bottle = Bottle::new();
    let before = bottle.entered.report(&bottle.credentials);
    assert!(before.open[0].problem.is_some() && !before.open[0].entered);
    assert_eq!(bottle.sent(), None);
    bottle.leave(&bottle.enter(SECRET));
    assert_eq!(bottle.take(), Ok("entered"));
    assert_eq!(bottle.sent().unwrap(), format!("Bearer {SECRET}"));
    let after = bottle.entered.report(&bottle.credentials);
    assert_ne!(after.key, before.key, "each letter has a key of its own");
    let answer = after.answer.as_ref().unwrap();
    assert_eq!((&answer.key, &answer.problem), (&before.key, &None));
    assert!(after.open[0].problem.is_none() && after.open[0].entered);
    let told = format!("{after:?} {:?} {:?}", bottle.entered, bottle.credentials);
    assert!(!told.contains(SECRET), "{told}");
    let kept = fs::metadata(&bottle.entered.kept().join("key")).unwrap();
    assert_eq!(kept.permissions().mode() & 0o777, 0o600);
    let again = bottle.restarted();
    assert_eq!(again.sent().unwrap(), format!("Bearer {SECRET}"));
}

#[test]
fn the_source_of_the_manifest_wins_when_it_has_a_secret() {
    let bottle = Bottle::new();
    bottle.leave(&bottle.enter(SECRET));
    bottle.take().unwrap();
    let token = bottle.root.path().join("token");
    fs::write_atomic(&token, b"from-the-manifest", 0o600).unwrap();
    assert_eq!(bottle.sent().unwrap(), "Bearer from-the-manifest");
    let open = bottle.entered.report(&bottle.credentials).open;
    assert!(open[0].entered, "it can still be removed");
    fs::remove_file(&token).unwrap();
    assert_eq!(bottle.sent().unwrap(), format!("Bearer {SECRET}"));
}

#[test]
fn what_was_entered_can_be_replaced_and_removed() {
    let bottle = Bottle::new();
    for secret in [SECRET, "another-secret"] {
        bottle.leave(&bottle.enter(secret));
        bottle.take().unwrap();
        assert_eq!(bottle.sent().unwrap(), format!("Bearer {secret}"));
    }
    for _ in 0..2 {
        bottle.leave(&bottle.letter("key", &Message::Remove));
        assert_eq!(bottle.take(), Ok("removed"));
        assert_eq!(bottle.sent(), None);
    }
    assert_eq!(bottle.restarted().sent(), None);
}

#[test]
fn a_letter_counts_once() {
    let bottle = Bottle::new();
    let letter = bottle.enter(SECRET);
    bottle.leave(&letter);
    bottle.take().unwrap();
    bottle.leave(&bottle.letter("key", &Message::Remove));
    bottle.take().unwrap();
    bottle.leave(&letter);
    assert!(bottle.take().unwrap_err().contains("a key that is gone"));
    assert_eq!(bottle.sent(), None);
    let unused = bottle.enter(SECRET);
    let again = bottle.restarted();
    again.leave(&unused);
    assert!(again.take().unwrap_err().contains("a key that is gone"));
    assert_eq!(again.sent(), None);
}

#[test]
fn what_no_request_could_carry_is_refused_and_what_was_kept_stays() {
    let bottle = Bottle::new();
    bottle.leave(&bottle.enter(SECRET));
    bottle.take().unwrap();
    let long = "x".repeat((16 << 10) + 1);
    for (bad, why) in [
        ("first-line\nanother", "control character"),
        ("carriage\rreturn", "control character"),
        ("nul\0in-it", "control character"),
        ("", "fewer than 6 bytes"),
        ("short", "fewer than 6 bytes"),
        (" space-before", "begins or ends with a space"),
        (&long, "more than 16384 bytes"),
    ] {
        bottle.leave(&bottle.enter(bad));
        let problem = bottle.take().unwrap_err();
        assert!(problem.contains(why) && !problem.contains("another"), "{problem}");
        let answer = bottle.entered.report(&bottle.credentials).answer.unwrap();
        assert_eq!(answer.problem, Some(problem));
        assert_eq!(bottle.sent().unwrap(), format!("Bearer {SECRET}"));
    }
}

#[test]
fn a_name_that_the_policy_does_not_have_names_no_file() {
    let bottle = Bottle::new();
    for name in ["other", "", ".", "..", "../token", "key/../../token", "/etc/passwd", "KEY", "key\0"] {
        bottle.leave(&bottle.letter(name, &Message::Enter(Zeroizing::new(SECRET.into()))));
        assert_eq!(bottle.take().unwrap_err(), "the policy has no such credential", "{name}");
    }
    // Sealed for one credential, and left for another.
    let letter = Letter { credential: "key".to_owned(), ..bottle.letter("other", &Message::Remove) };
    bottle.leave(&letter);
    assert!(bottle.take().unwrap_err().contains("can't be opened"));
    // Something else than it says.
    bottle.leave(&Letter { remove: true, ..bottle.enter(SECRET) });
    assert!(bottle.take().unwrap_err().contains("can't be opened"));
    let written = fs::walk(bottle.root.path()).unwrap();
    assert_eq!(written, Vec::<std::path::PathBuf>::new());
}

#[test]
fn what_is_no_letter_is_taken_away_and_opens_nothing() {
    let bottle = Bottle::new();
    let path = bottle.root.path().join("letters").join(FILE);
    let good = serde_json::to_string(&bottle.enter(SECRET)).unwrap();
    let huge = good.clone() + &" ".repeat(64 << 10);
    let more = good.replacen('{', "{\"more\":1,", 1);
    for bytes in ["", "{", "null", "garbage\u{1b}[31m", good.trim_start_matches('{'), &huge, &more] {
        fs::write_atomic(&path, bytes.as_bytes(), 0o644).unwrap();
        let problem = bottle.take().unwrap_err();
        assert!(!problem.contains("garbage") && !problem.contains("sealed"), "{problem}");
    }
    let elsewhere = bottle.root.path().join("elsewhere");
    fs::write_atomic(&elsewhere, good.as_bytes(), 0o644).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(bottle.take().unwrap_err().contains("symbolic link"));
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(bottle.take().unwrap_err().contains("not a regular file"));
    assert!(fs::metadata(&elsewhere).is_ok());
    assert_eq!(bottle.sent(), None);
    // None of it has used the key up.
    bottle.leave(&serde_json::from_str(&good).unwrap());
    assert_eq!(bottle.take(), Ok("entered"));
    assert!(bottle.entered.take(&bottle.credentials).is_none());
}
