//! A secret on its way from the operator to egress, closed to everybody in between.
//!
//! Egress publishes a key (ECDH on P-256), the browser or the terminal derives another one from it (HKDF with SHA-256) and
//! seals with that (AES-256-GCM): all three are in every browser, so that supervise passes on what it can't read. A key
//! opens one message, and is gone then: what was copied on the way can be neither read nor sent again.
//! `templates/supervise/page.js` does the same as [`seal`].

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::text::hex;

/// What the derivation is for: nothing else comes to the same key.
const PURPOSE: &str = "bottle credential 1";
/// The first byte of a message that removes what was entered.
const REMOVE: u8 = 0;
/// The first byte of a message with a secret, which follows it.
const ENTER: u8 = 1;

/// A sealed message, as the operator's side takes it and as it lies in the directory for egress.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sealed {
    /// The key of egress, in hexadecimal digits.
    pub(crate) key: String,
    /// The key that the sender made for it.
    pub(crate) from: String,
    /// The message.
    pub(crate) text: String,
}

/// What the operator wants of egress.
pub(crate) enum Message {
    /// To use this secret.
    Enter(Zeroizing<Vec<u8>>),
    /// To forget what was entered.
    Remove,
}

/// The private key: it opens one message.
pub(crate) struct Opener {
    private: EphemeralPrivateKey,
    public: String,
}

impl Opener {
    /// Makes a key; none where the system gives no random numbers.
    pub(crate) fn new() -> Option<Self> {
        let private = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).ok()?;
        let public = hex(private.compute_public_key().ok()?.as_ref());
        Some(Self { private, public })
    }

    /// The public key, in hexadecimal digits.
    pub(crate) fn public(&self) -> &str {
        &self.public
    }

    /// Opens the message for a credential; none if it was not sealed for this key and this credential.
    pub(crate) fn open(self, credential: &str, sealed: &Sealed) -> Option<Message> {
        let from = bytes(&sealed.from)?;
        let key = key(self.private, &from, [&sealed.key, &sealed.from, credential])?;
        let mut text = Zeroizing::new(bytes(&sealed.text)?);
        let opened = key.open_in_place(nonce(), Aad::empty(), &mut text).ok()?;
        match opened.split_first()? {
            (&ENTER, secret) => Some(Message::Enter(Zeroizing::new(secret.to_vec()))),
            (&REMOVE, []) => Some(Message::Remove),
            _ => None,
        }
    }
}

/// Seals a message about a credential for the key that egress publishes; none if that is no key.
pub(crate) fn seal(public: &str, credential: &str, message: &Message) -> Option<Sealed> {
    let (tag, secret): (u8, &[u8]) = match message {
        Message::Enter(secret) => (ENTER, secret),
        Message::Remove => (REMOVE, &[]),
    };
    let Opener { private, public: from } = Opener::new()?;
    let key = key(private, &bytes(public)?, [public, &from, credential])?;
    // At its final size from the start: growing would leave a copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(1 + secret.len() + AES_256_GCM.tag_len()));
    text.push(tag);
    text.extend_from_slice(secret);
    key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut *text).ok()?;
    Some(Sealed { key: public.to_owned(), from, text: hex(&text) })
}

/// The key of one message.
fn key(private: EphemeralPrivateKey, peer: &[u8], [to, from, credential]: [&str; 3]) -> Option<LessSafeKey> {
    let bound = [PURPOSE, to, from, credential].join("\n");
    agree_ephemeral(private, &UnparsedPublicKey::new(&ECDH_P256, peer), |shared| {
        let secret = Salt::new(HKDF_SHA256, &[]).extract(shared);
        let key = secret.expand(&[bound.as_bytes()], &AES_256_GCM).map(UnboundKey::from);
        key.ok().map(LessSafeKey::new)
    })
    .ok()?
}

/// A key seals one message, so that there is no second one to tell it from.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// The bytes that lower-case hexadecimal digits stand for: one text for one value.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let half = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| <[u8; 2]>::try_from(pair).ok().and_then(|[a, b]| Some(half(a)? << 4 | half(b)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::{Message, Opener, Sealed, seal};

    const SECRET: &[u8] = b"sk-example-0123456789";

    fn sealed(opener: &Opener) -> Sealed {
        let message = Message::Enter(Zeroizing::new(SECRET.to_vec()));
        seal(opener.public(), "key", &message).unwrap()
    }

    #[test]
    fn what_was_sealed_for_a_key_and_a_credential_opens_with_them() {
        let opener = Opener::new().unwrap();
        let message = sealed(&opener);
        assert!(!message.text.contains("736b2d6578616d706c65"), "the secret's own digits");
        assert!(matches!(opener.open("key", &message), Some(Message::Enter(secret)) if *secret == SECRET));
        let opener = Opener::new().unwrap();
        let message = seal(opener.public(), "key", &Message::Remove).unwrap();
        assert!(matches!(opener.open("key", &message), Some(Message::Remove)));
    }

    #[test]
    fn nothing_else_opens() {
        let with = |change: &dyn Fn(&mut Sealed)| {
            let opener = Opener::new().unwrap();
            let mut message = sealed(&opener);
            change(&mut message);
            opener.open("key", &message).is_none()
        };
        assert!(!with(&|_| {}));
        let other = Opener::new().unwrap();
        let of_other = sealed(&other);
        let changes: [&dyn Fn(&mut Sealed); 10] = [
            &|message| message.key = other.public().to_owned(),
            &|message| message.from = of_other.from.clone(),
            &|message| message.text = of_other.text.clone(),
            &|message| *message = of_other.clone(),
            &|message| message.text.replace_range(..2, "00"),
            &|message| message.text.truncate(30),
            &|message| message.text.clear(),
            &|message| message.text.push('x'),
            &|message| message.from = "04".to_owned() + &"0".repeat(128),
            &|message| message.from.make_ascii_uppercase(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert!(with(change), "change {number}");
        }
        let opener = Opener::new().unwrap();
        let message = sealed(&opener);
        assert!(opener.open("other", &message).is_none(), "it is for another credential");
    }

    #[test]
    fn what_is_no_key_seals_nothing() {
        for public in ["", "04", "zz", &"0".repeat(130), &("04".to_owned() + &"f".repeat(128))] {
            assert!(seal(public, "key", &Message::Remove).is_none(), "{public}");
        }
    }
}
