//! Certificates as text (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How many bytes become one line of 64 characters, as RFC 7468, section 2, wants them.
const LINE: usize = 48;

/// Appends a certificate, without any text around it.
pub(super) fn push_certificate(out: &mut String, der: &[u8]) {
    out.reserve(der.len().div_ceil(LINE) * 65 + 64);
    out.push_str("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(LINE) {
        STANDARD.encode_string(line, out);
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
}
