use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::super::EVERY;
use super::*;
use crate::fs;

fn of_file(path: &Path, now: Instant) -> Credentials {
    let source = SecretSource::File(path.to_str().expect("text").to_owned());
    credentials(source, Inject::Header("x-api-key".to_owned()), None::<OsString>, now)
}

fn write(path: &Path, text: &str) {
    fs::write_atomic(path, text.as_bytes(), 0o600).expect("it is ours");
}

fn value(credentials: &Credentials, now: Instant) -> Result<String, String> {
    sent(credentials, "x-api-key", now).map(|(value, _)| value).map_err(|refusal| refusal.detail)
}

/// Writes a file in its place.
fn overwrite(path: &Path, text: &str) -> File {
    let mut file = File::options().write(true).truncate(true).open(path).expect("it is ours");
    file.write_all(text.as_bytes()).expect("it is ours");
    file
}

/// Lets a file look as if it had been written a while ago.
fn age(path: &Path) {
    let file = File::options().write(true).open(path).expect("it is ours");
    file.set_modified(SystemTime::now() - Duration::from_mins(1)).expect("it is ours");
}

#[test]
fn one_line_break_at_the_end_is_no_part_of_the_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("token");
    let now = Instant::now();
    for end in ["", "\n", "\r\n"] {
        write(&path, &format!("{SECRET}{end}"));
        assert_eq!(value(&of_file(&path, now), now), Ok(SECRET.to_owned()));
    }
    for bad in ["first1\nanother", "secret\n\n", "secret\r\n\r\n", "\nsecret", "", "\n", "\r\n"] {
        write(&path, bad);
        let told = value(&of_file(&path, now), now).expect_err("no secret");
        assert!(told.contains("token") && !told.contains("another"), "{told}");
    }
}

#[test]
fn a_file_is_read_again_when_it_changes_and_only_then() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("token");
    let now = Instant::now();
    write(&path, "secret-one");
    age(&path);
    let credentials = of_file(&path, now);
    write(&path, "secret-two");
    age(&path);
    assert_eq!(value(&credentials, now), Ok("secret-one".to_owned()), "it was looked at just now");
    assert_eq!(value(&credentials, now + EVERY), Ok("secret-two".to_owned()));

    // Written in place, of the same length and with the same time of its last change.
    let modified = fs::metadata(&path).map(|data| data.modified()).expect("a file").expect("a time");
    let file = overwrite(&path, "secret-six");
    file.set_modified(modified).expect("it is ours");
    assert_eq!(value(&credentials, now + EVERY * 2), Ok("secret-six".to_owned()));
}

#[test]
fn a_file_that_was_just_written_is_read_again_even_if_nothing_shows_a_change() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("token");
    let now = Instant::now();
    write(&path, "secret-one");
    let credentials = of_file(&path, now);
    // Both writes may have the same time, where the clock of the file system is coarse.
    overwrite(&path, "secret-two");
    assert_eq!(value(&credentials, now + EVERY), Ok("secret-two".to_owned()));
}

#[test]
fn a_file_that_goes_takes_the_credential_with_it_until_it_comes_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("token");
    let now = Instant::now();
    let credentials = of_file(&path, now);
    value(&credentials, now).expect_err("not there yet");
    write(&path, SECRET);
    assert_eq!(value(&credentials, now + EVERY), Ok(SECRET.to_owned()));
    fs::remove_file(&path).expect("it is ours");
    value(&credentials, now + EVERY * 2).expect_err("gone");
    write(&path, SECRET);
    assert_eq!(value(&credentials, now + EVERY * 3), Ok(SECRET.to_owned()));
}

#[test]
fn a_link_that_leaves_the_directory_is_not_followed() {
    let directory = tempfile::tempdir().expect("a directory");
    let (inside, outside) = (directory.path().join("secrets"), directory.path().join("other"));
    fs::create_dir_all(&inside).expect("it is ours");
    write(&outside, SECRET);
    let path = inside.join("token");
    let now = Instant::now();
    for target in [outside.as_path(), Path::new("../other"), Path::new("/proc/self/environ")] {
        symlink(target, &path).expect("it is ours");
        let told = value(&of_file(&path, now), now).expect_err("another file");
        assert!(told.contains("leaves its directory"), "{told}");
        fs::remove_file(&path).expect("it is ours");
    }
    // Not even when it becomes one.
    write(&path, "secret-one");
    let credentials = of_file(&path, now);
    assert_eq!(value(&credentials, now), Ok("secret-one".to_owned()));
    fs::remove_file(&path).expect("it is ours");
    symlink(&outside, &path).expect("it is ours");
    value(&credentials, now + EVERY).expect_err("another file");
}

#[test]
fn links_within_the_directory_are_followed_and_their_change_is_seen() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    let now = Instant::now();
    for (version, secret) in [("..1", "secret-one"), ("..2", "secret-two")] {
        fs::create_dir_all(&root.join(version)).expect("it is ours");
        write(&root.join(version).join("token"), secret);
        age(&root.join(version).join("token"));
    }
    symlink("..1", root.join("..data")).expect("it is ours");
    symlink("..data/token", root.join("token")).expect("it is ours");
    let credentials = of_file(&root.join("token"), now);
    assert_eq!(value(&credentials, now), Ok("secret-one".to_owned()));
    symlink("..2", root.join("..next")).expect("it is ours");
    fs::rename(&root.join("..next"), &root.join("..data")).expect("it is ours");
    assert_eq!(value(&credentials, now + EVERY), Ok("secret-two".to_owned()));
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let directory = tempfile::tempdir().expect("a directory");
    let now = Instant::now();
    let told = value(&of_file(directory.path(), now), now).expect_err("a directory");
    assert!(told.contains("no regular file"), "{told}");
    let pipe = directory.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).expect("it is ours");
    let told = value(&of_file(&pipe, now), now).expect_err("a pipe");
    assert!(told.contains("no regular file"), "{told}");
}
