//! The secrets that open the operator's side: the token, the single-use links and the sessions that they begin.
//!
//! What is presented is compared by its keyed digest, in constant time, and only digests are kept.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::sidecar::text::hex;

/// How long a link can be used.
const LINK: Duration = Duration::from_mins(2);
/// The most links that nobody has used yet; a new one ends the oldest.
const MAX_LINKS: usize = 4;
/// How long a session lasts.
const SESSION: Duration = Duration::from_hours(12);
/// The most sessions; a new one ends the oldest.
const MAX_SESSIONS: usize = 16;
/// The time over which wrong secrets are counted, and the most of them that are told apart from too many.
const WINDOW: Duration = Duration::from_mins(1);
const MAX_WRONG: u32 = 30;

/// All secrets.
#[derive(Debug)]
pub(super) struct Secrets {
    key: hmac::Key,
    token: hmac::Tag,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    links: VecDeque<Link>,
    sessions: VecDeque<Session>,
    /// When the count began, and the count.
    wrong: (Instant, u32),
}

#[derive(Debug)]
struct Link {
    code: hmac::Tag,
    until: Instant,
}

#[derive(Debug)]
struct Session {
    cookie: hmac::Tag,
    key: hmac::Tag,
    until: Instant,
}

/// What a browser gets at its login.
#[derive(Debug)]
pub(super) struct Login {
    /// The cookie's value: it lets the page read.
    pub(super) cookie: String,
    /// The key, which the page keeps where no other port can see it: without it the cookie decides nothing. A browser
    /// sends the cookies of 127.0.0.1 to every port there, so to whatever the operator looks at beside this page.
    pub(super) key: String,
}

/// What a session allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Access {
    /// To read.
    Read,
    /// To decide as well.
    Decide,
}

impl Secrets {
    pub(super) fn new(token: &str) -> Option<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok()?;
        let token = hmac::sign(&key, token.as_bytes());
        let inner = Inner { links: VecDeque::new(), sessions: VecDeque::new(), wrong: (Instant::now(), 0) };
        Some(Self { key, token, inner: Mutex::new(inner) })
    }

    /// Whether this is the token.
    pub(super) fn is_token(&self, presented: &[u8]) -> bool {
        self.is(presented, &self.token)
    }

    /// Makes a link's code; none if the system gives no random numbers.
    pub(super) fn link(&self) -> Option<String> {
        let code = random()?;
        let link = Link { code: hmac::sign(&self.key, code.as_bytes()), until: Instant::now() + LINK };
        let mut inner = self.lock();
        inner.links.push_back(link);
        if inner.links.len() > MAX_LINKS {
            inner.links.pop_front();
        }
        Some(code)
    }

    /// Uses a link's code up and begins a session.
    pub(super) fn login(&self, code: &[u8]) -> Option<Login> {
        let (cookie, key) = (random()?, random()?);
        let now = Instant::now();
        let mut inner = self.lock();
        inner.links.retain(|link| link.until > now);
        let at = inner.links.iter().position(|link| self.is(code, &link.code))?;
        inner.links.remove(at);
        let sign = |text: &str| hmac::sign(&self.key, text.as_bytes());
        inner.sessions.push_back(Session { cookie: sign(&cookie), key: sign(&key), until: now + SESSION });
        if inner.sessions.len() > MAX_SESSIONS {
            inner.sessions.pop_front();
        }
        Some(Login { cookie, key })
    }

    /// What this cookie, with this key, allows.
    pub(super) fn access(&self, cookie: &[u8], key: Option<&[u8]>) -> Option<Access> {
        let now = Instant::now();
        let mut inner = self.lock();
        inner.sessions.retain(|session| session.until > now);
        let session = inner.sessions.iter().find(|session| self.is(cookie, &session.cookie))?;
        let decides = key.is_some_and(|key| self.is(key, &session.key));
        Some(if decides { Access::Decide } else { Access::Read })
    }

    /// Ends the session with this cookie.
    pub(super) fn logout(&self, cookie: &[u8]) {
        self.lock().sessions.retain(|session| !self.is(cookie, &session.cookie));
    }

    /// Counts a wrong secret, and says whether there have been too many. The right one stays good: who doesn't have it
    /// can't keep the operator out, and no count makes 256 bits any harder to guess.
    pub(super) fn too_many_wrong(&self) -> bool {
        let mut inner = self.lock();
        let (since, count) = &mut inner.wrong;
        if since.elapsed() > WINDOW {
            (*since, *count) = (Instant::now(), 0);
        }
        *count = count.saturating_add(1);
        *count > MAX_WRONG
    }

    fn is(&self, presented: &[u8], tag: &hmac::Tag) -> bool {
        hmac::verify(&self.key, presented, tag.as_ref()).is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 256 random bits as hexadecimal digits.
fn random() -> Option<String> {
    let mut random = [0; 32];
    SystemRandom::new().fill(&mut random).ok()?;
    Some(hex(&random))
}

#[cfg(test)]
mod tests {
    use super::{Access, MAX_LINKS, MAX_WRONG, Secrets};

    #[test]
    fn a_link_begins_one_session_and_only_its_key_decides() {
        let secrets = Secrets::new("token").expect("random numbers");
        assert!(secrets.is_token(b"token") && !secrets.is_token(b"toke") && !secrets.is_token(b""));
        let code = secrets.link().expect("random numbers");
        let login = secrets.login(code.as_bytes()).expect("the link is new");
        assert!(secrets.login(code.as_bytes()).is_none(), "the link was used twice");
        let other = secrets.login(secrets.link().unwrap().as_bytes()).expect("another link");
        let cookie = login.cookie.as_bytes();
        assert_eq!(secrets.access(cookie, None), Some(Access::Read));
        assert_eq!(secrets.access(cookie, Some(other.key.as_bytes())), Some(Access::Read));
        assert_eq!(secrets.access(cookie, Some(login.key.as_bytes())), Some(Access::Decide));
        assert_eq!(secrets.access(login.key.as_bytes(), Some(login.key.as_bytes())), None);
        secrets.logout(cookie);
        assert_eq!(secrets.access(cookie, Some(login.key.as_bytes())), None);
        assert_eq!(secrets.access(other.cookie.as_bytes(), None), Some(Access::Read));
    }

    #[test]
    fn links_and_wrong_secrets_are_bounded() {
        let secrets = Secrets::new("token").expect("random numbers");
        let first = secrets.link().expect("random numbers");
        for _ in 0..MAX_LINKS {
            secrets.link().expect("random numbers");
        }
        assert!(secrets.login(first.as_bytes()).is_none(), "the oldest link is over");
        let answers: Vec<bool> = (0..=MAX_WRONG).map(|_| secrets.too_many_wrong()).collect();
        assert_eq!(answers.iter().filter(|many| **many).count(), 1);
        assert!(secrets.is_token(b"token"), "the right one stays good");
    }
}
