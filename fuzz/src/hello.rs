//! What comes after CONNECT: a TLS ClientHello, or what only looks like one.

use std::sync::{Arc, LazyLock};

use super::cut;
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// A ClientHello as clients send it, to put faults into.
static HELLO: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of the provider")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = "api.example.org".try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a vector takes all");
    bytes
});

/// Checks it for these bytes.
///
/// # Panics
///
/// Where it isn't so.
pub fn run(data: &[u8]) {
    let (size, data) = cut(data);
    judge(data, size);
    // The same bytes as a fault in a ClientHello: at this place, in place of as many others or between them.
    let [high, low, replaces, fault @ ..] = data else { return };
    let at = usize::from(u16::from_be_bytes([*high, *low])) % HELLO.len();
    let end = if replaces % 2 == 0 { (at + fault.len()).min(HELLO.len()) } else { at };
    let bytes = [&HELLO[..at], fault, &HELLO[end..]].concat();
    if fault.is_empty() {
        assert_eq!(read(&bytes, size), Read::Hello(Some("api.example.org".to_owned())));
    }
    judge(&bytes, size);
}

#[derive(Debug, Eq, PartialEq)]
enum Read {
    Hello(Option<String>),
    Incomplete,
    Refused,
}

/// Reads as the session does: until there is a ClientHello, or a fault.
fn read(bytes: &[u8], size: usize) -> Read {
    let mut acceptor = Acceptor::default();
    for mut piece in bytes.chunks(size) {
        while !piece.is_empty() {
            match acceptor.read_tls(&mut piece) {
                Ok(0) | Err(_) => return Read::Refused,
                Ok(_) => {}
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    return Read::Hello(accepted.client_hello().server_name().map(str::to_owned));
                }
                Ok(None) => {}
                Err(_) => return Read::Refused,
            }
        }
    }
    Read::Incomplete
}

fn judge(bytes: &[u8], size: usize) {
    let whole = read(bytes, usize::MAX);
    assert_eq!(whole, read(bytes, size), "it depends on the pieces");
    match whole {
        // The session compares it with the host of CONNECT.
        Read::Hello(Some(name)) => {
            assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "an SNI with other characters");
        }
        Read::Hello(None) | Read::Refused => {}
        // The longest that a handshake message may be: egress doesn't keep more for a client that isn't one yet.
        Read::Incomplete => assert!(bytes.len() < 1 << 17),
    }
    if let Some(first) = bytes.first() {
        // Nothing but a handshake record is waited for.
        assert!(*first == 22 || whole_is_not_hello(bytes), "a ClientHello in another record");
    }
}

fn whole_is_not_hello(bytes: &[u8]) -> bool {
    !matches!(read(bytes, usize::MAX), Read::Hello(_))
}
