use std::os::unix::ffi::OsStringExt as _;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::super::problem::Problem;
use super::*;
use crate::policy::reason::Reason;
use crate::sidecar::egress::scrub;

fn header() -> Inject {
    Inject::Header("x-api-key".to_owned())
}

#[test]
fn each_form_is_sent_as_its_rfc_writes_it() {
    let now = Instant::now();
    let sent = |inject, name| sent(&of_environment(inject, SECRET), name, now).expect("it is there").0;
    assert_eq!(sent(header(), "x-api-key"), SECRET);
    assert_eq!(sent(Inject::Bearer, "authorization"), format!("Bearer {SECRET}"));
    assert_eq!(
        sent(Inject::Basic("x-access-token".to_owned()), "authorization"),
        "Basic eC1hY2Nlc3MtdG9rZW46c2stZXhhbXBsZS0wMTIzNDU2Nzg5"
    );
    assert_eq!(sent(Inject::Basic(String::new()), "authorization"), "Basic OnNrLWV4YW1wbGUtMDEyMzQ1Njc4OQ==");
}

#[test]
fn every_value_of_the_agents_own_is_dropped() {
    let mut headers = HeaderMap::new();
    headers.append("x-api-key", HeaderValue::from_static("one"));
    headers.append("x-api-key", HeaderValue::from_static("two"));
    headers.append("x_api_key", HeaderValue::from_static("three"));
    headers.append("x-api_key", HeaderValue::from_static("four"));
    headers.append("x-api-keys", HeaderValue::from_static("another"));
    let injected = of_environment(header(), SECRET).inject("key", &mut headers).expect("it is there");
    assert!(injected.replaced);
    assert_eq!(headers.len(), 2);
    assert_eq!(headers["x-api-key"], SECRET);
    assert_eq!(headers["x-api-keys"], "another");

    let again = of_environment(Inject::Bearer, SECRET).inject("key", &mut headers).expect("it is there");
    assert!(!again.replaced, "there was no such header");
}

#[test]
fn nothing_that_is_printed_holds_the_secret() {
    let mut headers = HeaderMap::new();
    let credentials = of_environment(Inject::Bearer, SECRET);
    credentials.inject("key", &mut headers).expect("it is there");
    assert!(headers[AUTHORIZATION].is_sensitive());
    let printed = format!("{headers:?} {credentials:?} {:?}", headers.clone());
    assert!(!printed.contains(SECRET), "{printed}");
}

#[test]
fn what_was_sent_does_not_come_back_in_any_form() {
    let secret = "p/ss+w\"rd 1";
    for inject in [Inject::Bearer, Inject::Basic("user".to_owned()), header()] {
        let credentials = of_environment(inject, secret);
        let mut sent = HeaderMap::new();
        let injected = credentials.inject("key", &mut sent).expect("it is there");
        let needles = injected.needles.expect("something to scrub");
        let value = sent.values().next().expect("one").to_str().expect("text").to_owned();
        let token = value.rsplit_once("Basic ").map_or(secret, |(_, token)| token).trim_end_matches('=');
        for shown in [secret, &value, token, "p%2Fss%2Bw%22rd%201", r#"p\/ss+w\"rd 1"#, "p/ss+w&quot;rd 1"] {
            let mut headers = HeaderMap::from_iter([(AUTHORIZATION, shown.parse().expect("a value"))]);
            scrub::headers(&needles, &mut headers);
            let left = headers[AUTHORIZATION].to_str().expect("text");
            assert!(!left.contains("ss+w") && !left.contains("ss%2Bw"), "{shown} became {left}");
            assert!(token == secret || !left.contains(token), "{shown} became {left}");
        }
    }
}

#[test]
fn a_secret_with_its_scheme_does_not_come_back_without_it() {
    let credentials = of_environment(Inject::Header("authorization".to_owned()), &format!("token {SECRET}"));
    let injected = credentials.inject("key", &mut HeaderMap::new()).expect("it is there");
    let mut headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(SECRET))]);
    scrub::headers(&injected.needles.expect("something to scrub"), &mut headers);
    assert!(!headers[AUTHORIZATION].to_str().expect("text").contains(SECRET));
}

#[test]
fn a_secret_that_could_be_more_than_one_header_is_refused_and_not_quoted() {
    let long = "hush".repeat(5_000);
    let cases: [(&[u8], Problem); 9] = [
        (b"", Problem::Unset),
        (b"hush", Problem::TooShort),
        (long.as_bytes(), Problem::TooLong),
        (b"hush-hush\r\nhost: other", Problem::ControlCharacter),
        (b"hush-hush\n", Problem::ControlCharacter),
        (b"hush\0hush", Problem::ControlCharacter),
        (b"hush\thush", Problem::ControlCharacter),
        (b"hush-hush\x7f", Problem::ControlCharacter),
        (b" hush-hush", Problem::Space),
    ];
    for (value, problem) in cases {
        let value = OsString::from_vec(value.to_vec());
        let source = SecretSource::Env("KEY".to_owned());
        let credentials = credentials(source, Inject::Bearer, Some(value), Instant::now());
        let mut headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("the agent's"))]);
        let refusal = credentials.inject("key", &mut headers).err().expect("unfit");
        assert_eq!(refusal.reason, Reason::CredentialMissing);
        assert_eq!(refusal.detail, format!("credential `key`: environment variable `KEY`: {problem}"));
        assert_eq!(refusal.rule.as_deref(), Some("bottle.yaml:7"));
        assert!(!format!("{refusal:?} {:?}", credentials.missing()).contains("hush"));
    }
}

#[test]
fn a_credential_that_is_missing_is_told_by_its_name_and_place() {
    let source = SecretSource::Env("KEY".to_owned());
    let credentials = credentials(source, Inject::Bearer, None::<OsString>, Instant::now());
    let told = "environment variable `KEY`: it is not set, or empty".to_owned();
    assert_eq!(credentials.missing(), [("key".to_owned(), told)]);
    let refusal = credentials.inject("key", &mut HeaderMap::new()).err().expect("missing");
    let hint = refusal.hint.expect("a hint");
    assert!(hint.contains("`key` (bottle.yaml:7)") && hint.contains("docker compose up"), "{hint}");
    assert_eq!(of_environment(Inject::Bearer, SECRET).missing(), []);
}

#[test]
fn a_name_that_the_policy_does_not_have_is_refused() {
    let refusal = Credentials::default().inject("key", &mut HeaderMap::new()).err().expect("unknown");
    assert_eq!(refusal.reason, Reason::CredentialMissing);
}

#[test]
fn a_header_that_frames_or_routes_a_message_carries_no_secret() {
    for name in ["host", "content-length", "transfer-encoding", "proxy-authorization", "a b", "", "x\r\ny"] {
        let credentials = of_environment(Inject::Header(name.to_owned()), SECRET);
        let mut headers = HeaderMap::new();
        credentials.inject("key", &mut headers).err().expect("unfit");
        assert!(headers.is_empty());
        assert_eq!(credentials.missing().len(), 1);
    }
    let credentials = of_environment(Inject::Basic("a:b".to_owned()), SECRET);
    credentials.inject("key", &mut HeaderMap::new()).err().expect("the user's name would end at the colon");
}
