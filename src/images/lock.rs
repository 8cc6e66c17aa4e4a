//! The lock file: which image each sidecar is, by its digest.
//!
//! A tag is what its registry says today; a digest is the image's own. The file is committed beside the manifest, so that
//! the bundle stays the same bytes until somebody locks anew, and a review shows when that was.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{IMAGES, repository};

/// The version of the format.
const VERSION: u32 = 1;
/// How the file begins.
const HEAD: &str = "# Written by `bottle images lock`; commit it.\n";

/// Whether a file is a lock file of ours, which may be written over.
pub(crate) fn is_ours(bytes: &[u8]) -> bool {
    bytes.starts_with(HEAD.as_bytes())
}

/// The lock file's content.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    /// The version of bottle whose images these are.
    bottle: String,
    /// The registry and path before the images' names.
    registry: String,
    /// The digest of each image by its sidecar.
    #[serde(deserialize_with = "each_once")]
    images: BTreeMap<String, String>,
}

/// Reads a map in which no key stands twice: what a review has seen is not replaced further down.
fn each_once<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    struct Once;
    impl<'de> serde::de::Visitor<'de> for Once {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a map of digests")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = entries.next_entry::<String, String>()? {
                if map.contains_key(&key) {
                    return Err(serde::de::Error::custom(format_args!("`{key}` stands twice")));
                }
                map.insert(key, value);
            }
            Ok(map)
        }
    }
    deserializer.deserialize_map(Once)
}

/// Why a lock file can't be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// It is none, or of another version of the format.
    #[error("it is no lock file of this version of bottle: {0}")]
    Malformed(String),
    /// It is of another version of bottle.
    #[error("it is of bottle {0}, and this is bottle {version}", version = env!("CARGO_PKG_VERSION"))]
    Old(String),
    /// It is of another registry.
    #[error("it is of the registry `{0}`, and the manifest names another one")]
    Registry(String),
    /// An image has no digest.
    #[error("it has no digest of `{0}`")]
    Missing(String),
    /// What should be a digest is none.
    #[error("the digest of `{0}` is not of the form `sha256:` and 64 hexadecimal digits")]
    Digest(String),
}

impl Lock {
    /// The lock of these digests.
    ///
    /// # Errors
    ///
    /// One that is none, or that is missing.
    pub(crate) fn new(registry: &str, images: BTreeMap<String, String>) -> Result<Self, Invalid> {
        let (bottle, registry) = (env!("CARGO_PKG_VERSION").to_owned(), registry.to_owned());
        Self { version: VERSION, bottle, registry: registry.clone(), images }.checked(&registry)
    }

    /// Reads a lock file for a registry.
    ///
    /// # Errors
    ///
    /// It can't be used for it, or with this version of bottle.
    pub fn read(bytes: &[u8], registry: &str) -> Result<Self, Invalid> {
        let malformed = |error: serde_yaml::Error| Invalid::Malformed(error.to_string());
        serde_yaml::from_slice::<Self>(bytes).map_err(malformed)?.checked(registry)
    }

    fn checked(self, wanted: &str) -> Result<Self, Invalid> {
        let Self { version, bottle, registry, images } = &self;
        if *version != VERSION {
            return Err(Invalid::Malformed(format!("its format is version {version}")));
        }
        if bottle != env!("CARGO_PKG_VERSION") {
            return Err(Invalid::Old(crate::manifest::source::shown(bottle)));
        }
        if registry != wanted {
            return Err(Invalid::Registry(crate::manifest::source::shown(registry)));
        }
        for (name, digest) in images {
            let digits = digest.strip_prefix("sha256:").unwrap_or_default();
            if digits.len() != 64 || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(Invalid::Digest(crate::manifest::source::shown(name)));
            }
            if !IMAGES.iter().any(|(image, _)| image == name) {
                let name = crate::manifest::source::shown(name);
                return Err(Invalid::Malformed(format!("there is no image `{name}`")));
            }
        }
        match IMAGES.iter().find(|(image, _)| !images.contains_key(*image)) {
            Some((image, _)) => Err(Invalid::Missing((*image).to_owned())),
            None => Ok(self),
        }
    }

    /// The file's text: the same for the same digests.
    ///
    /// # Errors
    ///
    /// None that is known of; writing YAML can fail.
    pub(crate) fn text(&self) -> Result<String, serde_yaml::Error> {
        Ok(format!("{HEAD}{}", serde_yaml::to_string(self)?))
    }

    /// The image of a sidecar, by its digest.
    pub(crate) fn image(&self, sidecar: &str) -> Option<String> {
        let digest = self.images.get(sidecar)?;
        Some(format!("{}@{digest}", repository(&self.registry, sidecar)))
    }
}

#[cfg(test)]
mod tests {
    use super::{IMAGES, Invalid, Lock};

    const REGISTRY: &str = "registry.example.org/acme";

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn lock() -> Lock {
        let images = IMAGES.iter().map(|(image, _)| ((*image).to_owned(), digest('a'))).collect();
        Lock::new(REGISTRY, images).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again_and_names_images_by_digest() {
        let text = lock().text().unwrap();
        assert_eq!(text, lock().text().unwrap());
        let read = Lock::read(text.as_bytes(), REGISTRY).unwrap();
        assert_eq!(read, lock());
        assert_eq!(read.image("egress"), Some(format!("{REGISTRY}/bottle-egress@{}", digest('a'))));
        assert_eq!(read.image("agent"), None);
    }

    #[test]
    fn a_lock_that_does_not_fit_is_refused_with_the_reason() {
        let text = lock().text().unwrap();
        let read = |text: &str| Lock::read(text.as_bytes(), REGISTRY).unwrap_err();
        let with = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            read(&text.replacen(from, to, 1))
        };
        let old = with(&format!("bottle: {}", env!("CARGO_PKG_VERSION")), "bottle: 0.0.1");
        assert_eq!(old, Invalid::Old("0.0.1".to_owned()));
        assert_eq!(with("/acme", "/evil"), Invalid::Registry("registry.example.org/evil".to_owned()));
        let egress = format!("  egress: {}\n", digest('a'));
        assert_eq!(with(&egress, ""), Invalid::Missing("egress".to_owned()));
        for digest in ["latest", "\"sha256:\"", "sha256:AAAA", "md5:aa", "\"sha256:\\nx\""] {
            assert_eq!(
                with(&egress, &format!("  egress: {digest}\n")),
                Invalid::Digest("egress".to_owned()),
                "{digest}"
            );
        }
        for (from, to) in [
            ("version: 1", "version: 2"),
            ("version: 1", "version: 1\nmore: 1"),
            (egress.as_str(), &format!("{egress}  agent: {}\n", digest('b'))),
            (egress.as_str(), &format!("{egress}{egress}")),
            ("images:", "imagez:"),
        ] {
            assert!(matches!(with(from, to), Invalid::Malformed(_)), "{to}");
        }
        for text in ["", "[]", "\u{0}", "a: &a [*a]"] {
            assert!(matches!(read(text), Invalid::Malformed(_)), "{text:?}");
        }
    }
}
