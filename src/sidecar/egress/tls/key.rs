//! The authority's private key: all that has to outlive the process.
//!
//! The certificate is not kept: it is made of the key at each start, always with the same name and key identifier, so
//! that whoever trusts an earlier one goes on trusting what the authority signs. There is never a pair that doesn't
//! match, whatever moment the machine lost its power in, and the certificate never comes near its end.

use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::fs;

/// The most that is read: a key has a quarter of it.
const MOST: u64 = 1 << 10;

/// Reads the key, or makes it where there is no such file.
pub(super) fn open(path: &Path) -> Result<KeyPair> {
    match fs::open(path) {
        Ok(file) => read(file, path),
        Err(error) if error.source.kind() == ErrorKind::NotFound => create(path),
        Err(error) => Err(error.into()),
    }
}

fn create(path: &Path) -> Result<KeyPair> {
    let key = KeyPair::generate().context("could not make the authority's key")?;
    let pem = Zeroizing::new(key.serialize_pem());
    fs::write_atomic(path, pem.as_bytes(), 0o600)?;
    Ok(key)
}

fn read(file: std::fs::File, path: &Path) -> Result<KeyPair> {
    let path = path.display();
    // Of the open file, not of the path, which may name another one by now.
    let metadata = file.metadata().with_context(|| format!("could not look at `{path}`"))?;
    let mode = metadata.permissions().mode() & 0o777;
    if !metadata.is_file() {
        bail!("`{path}` is no regular file; it must be the authority's private key");
    }
    if mode & 0o077 != 0 {
        bail!(
            "the authority's private key `{path}` is open to others (mode {mode:04o}); if nobody else has read it, \
             run `chmod 600` on it, otherwise remove it to get a new authority, and start the bottle again"
        );
    }
    // As much at once as may be needed, so that no smaller buffer with a part of it is left behind unwiped.
    let mut text = Zeroizing::new(Vec::with_capacity(1 << 10));
    file.take(MOST).read_to_end(&mut text).with_context(|| format!("could not read `{path}`"))?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(&text).ok();
    key.and_then(|key| KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256).ok()).with_context(|| {
        format!(
            "`{path}` is not the private key of an authority (P-256, PKCS #8, PEM); put it back from a copy, or \
             remove it to get a new authority, and start the whole bottle again: the agent trusts the old one until then"
        )
    })
}
