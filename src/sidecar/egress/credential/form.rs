//! How a secret is sent, and in which forms it may come back.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::Ready;
use super::problem::Problem;
use crate::policy::egress::{Inject, may_carry_credential};
use crate::sidecar::egress::scrub::Needles;

/// The fewest bytes of a secret. A shorter one is in too many answers by chance to be taken out of them, and what can't
/// be taken out again is not put in.
pub(super) const LEAST: usize = 6;

/// The most bytes of a secret; few servers accept more in one header.
pub(super) const MOST: usize = 16 << 10;

/// How a secret is sent.
pub(super) enum Form {
    Header(HeaderName),
    Bearer,
    Basic(String),
}

impl Form {
    pub(super) fn new(inject: &Inject) -> Result<Self, Problem> {
        match inject {
            Inject::Header(name) => match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) if may_carry_credential(name.as_str()) => Ok(Self::Header(name)),
                _ => Err(Problem::Header),
            },
            Inject::Bearer => Ok(Self::Bearer),
            Inject::Basic(user) if user.contains(|c: char| c == ':' || c.is_control()) => Err(Problem::User),
            Inject::Basic(user) => Ok(Self::Basic(user.clone())),
        }
    }

    pub(super) fn header(&self) -> &HeaderName {
        match self {
            Self::Header(name) => name,
            Self::Bearer | Self::Basic(_) => &AUTHORIZATION,
        }
    }

    /// Makes the header's value, and the texts that must not come back.
    pub(super) fn prepare(&self, secret: &[u8]) -> Result<Ready, Problem> {
        check(secret)?;
        let mut needles = Needles::default();
        needles.add(secret);
        let mut bare = secret;
        let value = match self {
            Self::Header(_) => {
                space(secret)?;
                // A secret may be written with its scheme (RFC 9110, section 11.4); it may come back without.
                if let Some((_, rest)) = split(secret)
                    && rest.len() >= LEAST
                {
                    needles.add(rest);
                    bare = rest;
                }
                join(&[secret])
            }
            Self::Bearer => {
                space(secret)?;
                join(&[b"Bearer ", secret])
            }
            Self::Basic(user) => {
                let pair = join(&[user.as_bytes(), b":", secret]);
                let mut encoded = Zeroizing::new(String::with_capacity(pair.len().div_ceil(3) * 4));
                STANDARD.encode_string(&*pair, &mut encoded);
                // The padding is no part of what must not come back, as some write it without.
                needles.add(encoded.trim_end_matches('=').as_bytes());
                join(&[b"Basic ", encoded.as_bytes()])
            }
        };
        let value = HeaderValue::from_maybe_shared(Bytes::from_owner(value));
        let mut value = value.map_err(|_| Problem::ControlCharacter)?;
        value.set_sensitive(true);
        let secret = Arc::new(Zeroizing::new(bare.to_vec()));
        Ok(Ready { value, needles: Arc::new(needles), secret })
    }
}

fn check(secret: &[u8]) -> Result<(), Problem> {
    if secret.len() > MOST {
        Err(Problem::TooLong)
    } else if secret.iter().any(u8::is_ascii_control) {
        Err(Problem::ControlCharacter)
    } else if secret.len() < LEAST {
        Err(Problem::TooShort)
    } else {
        Ok(())
    }
}

/// Space around a header's value is no part of it (RFC 9110, section 5.5): it would be another secret that arrives.
fn space(secret: &[u8]) -> Result<(), Problem> {
    if secret.first() == Some(&b' ') || secret.last() == Some(&b' ') { Err(Problem::Space) } else { Ok(()) }
}

/// Puts parts together in memory that is wiped, at its final size from the start: growing would leave a copy behind.
fn join(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut whole = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        whole.extend_from_slice(part);
    }
    whole
}

/// Splits at the first space.
fn split(secret: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = secret.splitn(2, |byte| *byte == b' ');
    Some((parts.next()?, parts.next()?))
}
