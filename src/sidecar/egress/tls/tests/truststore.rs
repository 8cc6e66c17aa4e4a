use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::truststore::jks;

/// What `keytool -importcert -alias bottle -storetype JKS -storepass changeit` of Java wrote for a certificate.
const BY_KEYTOOL: &str = "\
    /u3+7QAAAAIAAAABAAAAAgAGYm90dGxlAAABogH8qIkABVguNTA5AAABfTCCAXkwggEfoAMCAQICFEgy/kV5MXku8WaiqDAqNSJY\
    K/cyMAoGCCqGSM49BAMCMBIxEDAOBgNVBAMMB2V4YW1wbGUwHhcNMjYxMTIyMDY0MTA0WhcNMzYxMTE5MDY0MTA0WjASMRAwDgYD\
    VQQDDAdleGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEzFmAt4UCyYoBt8t9yzw4N0stwjZt1keS3yMgvLhHDFNh/+mm\
    EpCEvvcNs9NGhg9UmXOLdg+prmANPRf5m4vBqaNTMFEwHQYDVR0OBBYEFMz2Xa1k/N8R8qHv5i+e44g+38MTMB8GA1UdIwQYMBaA\
    FMz2Xa1k/N8R8qHv5i+e44g+38MTMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgBh7Bzpta0bKBF0goH2AWOs73\
    uVnlwmXLqk0n+eLPdboCIQC92AxS2SRGEw17ardQL5r4Nh9ukvLzKqPhlNSL3fP7AqFLPW0l73RTAzJeuV0bxiWTZGqj";

/// Where the certificate begins in it, and the hash after it.
const CERTIFICATE: std::ops::Range<usize> = 43..424;

#[test]
fn a_truststore_is_what_javas_own_tool_writes() {
    let expected = STANDARD.decode(BY_KEYTOOL).expect("base64");
    assert_eq!(jks(&expected[CERTIFICATE], 0x01a2_01fc_a889), expected);
}
