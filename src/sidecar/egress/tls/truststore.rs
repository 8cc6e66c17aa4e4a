//! The authority's certificate as Java reads it: a truststore of the type JKS.
//!
//! Java takes no PEM file as its truststore, and has read this format since 1.2; it tells it from PKCS #12 by itself.
//! The format is that of `sun.security.provider.JavaKeyStore`: numbers are big-endian, texts have their length before
//! them, and at the end stands a hash over a password and all that precedes it. The password hides nothing.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

/// The password that Java's own stores have, and that tools try first.
const PASSWORD: &str = "changeit";

/// The name of the certificate in the store.
const ALIAS: &str = "bottle";

/// Writes a store that holds one certificate.
pub(super) fn jks(certificate: &[u8], milliseconds: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(certificate.len() + 128);
    out.extend(0xFEED_FEED_u32.to_be_bytes());
    out.extend(2_u32.to_be_bytes());
    out.extend(1_u32.to_be_bytes());
    // The entry: 2 stands for a trusted certificate.
    out.extend(2_u32.to_be_bytes());
    text(&mut out, ALIAS);
    out.extend(milliseconds.to_be_bytes());
    text(&mut out, "X.509");
    out.extend(u32::try_from(certificate.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(certificate);
    // Not for security: the format knows no other hash.
    let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for unit in PASSWORD.encode_utf16() {
        hash.update(&unit.to_be_bytes());
    }
    hash.update(b"Mighty Aphrodite");
    hash.update(&out);
    out.extend(hash.finish().as_ref());
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(text.as_bytes());
}
