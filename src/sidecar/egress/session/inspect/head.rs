//! The head of a request, and its trailers: all there at once.
//!
//! Everything is put into one text and searched in one go, since a search takes longer to begin than to read a header.
//! What is written with percent signs is searched once more as it reads without them, and Basic credentials as what they
//! encode.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::{Answer, COVER, Inspector, Place};
use crate::policy::reason::Reason;
use crate::scan::{Finding, Known, scan};
use crate::sidecar::egress::credential::is_same;
use crate::sidecar::egress::refusal::Refusal;

/// How often a text is read without its percent signs: some origins do so twice.
const READINGS: usize = 2;

/// What most heads have room in.
const TEXT: usize = 2 << 10;

/// What reads base64 as generously as an origin may.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What came of looking.
#[derive(Debug, Default)]
pub(in super::super) struct Looked {
    /// How many bytes were searched.
    pub(in super::super) scanned: u64,
    /// The path and query with what was found covered, where something was found in them: also where the request is refused,
    /// since the path is told.
    pub(in super::super) uri: Option<Uri>,
}

/// A part of the text.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    /// The method or the host, which can't be others.
    Fixed,
    Uri,
    /// So many-th name of a header.
    Name,
    Value(usize),
}

/// Looks at a head. What is found is covered where the route wants that.
pub(in super::super) fn look(
    inspector: &mut Inspector,
    method: &str,
    uri: &Uri,
    headers: &mut HeaderMap,
    own: Option<&HeaderName>,
) -> (Looked, Result<(), Refusal>) {
    let host = inspector.target.host.to_string();
    let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let fixed = [method.as_bytes(), host.as_bytes()];
    let mut text = Text { bytes: Vec::with_capacity(TEXT), parts: Vec::with_capacity(2 * headers.len() + 3) };
    for fixed in fixed {
        text.add(Part::Fixed, fixed);
    }
    text.add(Part::Uri, path.as_bytes());
    text.fields(headers, own);
    let mut looked = Looked { scanned: text.bytes.len() as u64, uri: None };
    let found = text.search(&inspector.search());
    if found.is_empty() {
        return (looked, Ok(()));
    }
    let in_path = found.iter().filter(|(part, ..)| *part == Part::Uri).map(|(_, place, _)| place.clone());
    looked.uri = covered_uri(path, in_path);
    let judged = cover(inspector, found, headers);
    (looked, judged)
}

/// A path with what is found in it covered; nothing where nothing is.
pub(in super::super) fn covered_path(known: &Arc<Known>, path: &str) -> Option<String> {
    let mut text = Text::default();
    text.add(Part::Uri, path.as_bytes());
    let found = text.search(&|text, tell| scan(known, None, text, tell));
    let covered = covered_uri(path, found.into_iter().map(|(_, place, _)| place))?;
    Some(covered.path().to_owned())
}

impl Inspector {
    fn search(&self) -> impl Fn(&[u8], &mut dyn FnMut(Finding)) {
        |text, tell| scan(&self.known, self.own(), text, tell)
    }

    /// Looks at trailers, and gives the bytes that were searched.
    pub(super) fn trailers(&mut self, trailers: &mut HeaderMap) -> Result<u64, Refusal> {
        let mut text = Text::default();
        text.fields(trailers, None);
        let found = text.search(&self.search());
        let scanned = text.bytes.len() as u64;
        if !found.is_empty() {
            cover(self, found, trailers)?;
        }
        Ok(scanned)
    }
}

/// A finding: in which part, where in it, and whether it can be covered there.
type Found = (Part, Range<usize>, (Finding, Place));

/// A search through a text that is all there.
type Scan<'a> = &'a dyn Fn(&[u8], &mut dyn FnMut(Finding));

fn all(scan: Scan<'_>, text: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    scan(text, &mut |finding| findings.push(finding));
    findings
}

/// All parts in one text, a line for each.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    parts: Vec<(Part, Range<usize>)>,
}

impl Text {
    fn add(&mut self, part: Part, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.parts.push((part, start..self.bytes.len()));
        self.bytes.push(b'\n');
    }

    /// Adds the fields but those that the credential replaces.
    fn fields(&mut self, headers: &HeaderMap, own: Option<&HeaderName>) {
        for (at, (name, value)) in headers.iter().enumerate() {
            if !own.is_some_and(|own| is_same(own, name)) {
                self.add(Part::Name, name.as_str().as_bytes());
                self.add(Part::Value(at), value.as_bytes());
            }
        }
    }

    fn search(&self, scan: Scan<'_>) -> Vec<Found> {
        let findings = all(scan, &self.bytes);
        let mut found: Vec<Found> = findings.into_iter().map(|finding| self.placed(finding)).collect();
        for (part, place) in &self.parts {
            let bytes = self.bytes.get(place.clone()).unwrap_or_default();
            if memchr::memchr(b'%', bytes).is_some() {
                percent(scan, part, bytes, &mut found);
            }
            if let Part::Value(_) = part {
                basic(scan, part, bytes, &mut found);
            }
        }
        found
    }

    /// In which part a finding stands.
    fn placed(&self, finding: Finding) -> Found {
        let number = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let (start, end) = (number(finding.place.start), number(finding.place.end));
        let inside = self.parts.iter().find(|(_, place)| place.start <= start && end <= place.end);
        match inside {
            Some((part @ (Part::Uri | Part::Value(_)), place)) => {
                (part.clone(), start - place.start..end - place.start, (finding, Place::Open))
            }
            // Over the border of two parts, or in what can't be covered.
            Some(_) | None => (Part::Fixed, 0..0, (finding, Place::Fixed)),
        }
    }
}

/// Searches a text as it reads without percent signs.
fn percent(scan: Scan<'_>, part: &Part, bytes: &[u8], found: &mut Vec<Found>) {
    let mut text = bytes.to_vec();
    // Where each byte of the text comes from.
    let mut places: Vec<Range<usize>> = (0..bytes.len()).map(|at| at..at + 1).collect();
    for _ in 0..READINGS {
        let before = text.len();
        (text, places) = decoded(&text, &places);
        if text.len() == before {
            return;
        }
        for finding in all(scan, &text) {
            let number = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            let first = places.get(number(finding.place.start)).map_or(0, |place| place.start);
            let last = places
                .get(number(finding.place.end.saturating_sub(1)))
                .map_or(bytes.len(), |place| place.end);
            let can = if matches!(part, Part::Uri | Part::Value(_)) { Place::Open } else { Place::Fixed };
            found.push((part.clone(), first..last, (finding, can)));
        }
    }
}

fn decoded(text: &[u8], places: &[Range<usize>]) -> (Vec<u8>, Vec<Range<usize>>) {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (mut out, mut from) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len()));
    let mut at = 0;
    while let (Some(byte), Some(place)) = (text.get(at), places.get(at)) {
        let pair = (*byte == b'%').then(|| digit(text.get(at + 1)).zip(digit(text.get(at + 2)))).flatten();
        if let Some((high, low)) = pair
            && let Some(last) = places.get(at + 2)
        {
            out.push(u8::try_from(high << 4 | low).unwrap_or_default());
            from.push(place.start..last.end);
            at += 3;
        } else {
            out.push(*byte);
            from.push(place.clone());
            at += 1;
        }
    }
    (out, from)
}

/// Searches what Basic credentials (RFC 7617) encode.
fn basic(scan: Scan<'_>, part: &Part, bytes: &[u8], found: &mut Vec<Found>) {
    let Some((scheme, encoded)) = bytes.split_at_checked(6) else { return };
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return;
    }
    if let Ok(pair) = BASE64.decode(encoded.trim_ascii()) {
        found.extend(
            all(scan, &pair).into_iter().map(|finding| (part.clone(), 0..0, (finding, Place::Fixed))),
        );
    }
}

/// Covers all that was found, or refuses the request for the first finding that it must be refused for.
fn cover(inspector: &mut Inspector, found: Vec<Found>, headers: &mut HeaderMap) -> Result<(), Refusal> {
    let mut values: Vec<(usize, Range<usize>)> = Vec::new();
    for (part, place, (finding, can)) in found {
        if let (Answer::Cover, Part::Value(at)) = (inspector.judge(&finding, can)?, part) {
            values.push((at, place));
        }
    }
    for (at, place) in values {
        let Some(value) = headers.values_mut().nth(at) else { continue };
        let mut bytes = value.as_bytes().to_vec();
        bytes.get_mut(place).unwrap_or_default().fill(COVER);
        *value = HeaderValue::from_bytes(&bytes)
            .map_err(|_| Refusal::new(Reason::SecretSent, "a header could not be covered"))?;
    }
    Ok(())
}

/// The path and query with what was found covered.
fn covered_uri(path: &str, places: impl Iterator<Item = Range<usize>>) -> Option<Uri> {
    let mut bytes = path.as_bytes().to_vec();
    let mut any = false;
    for place in places {
        any = true;
        // The slash at the beginning is no part of anything.
        bytes.get_mut(place.start.max(1)..place.end).unwrap_or_default().fill(COVER);
    }
    if !any {
        return None;
    }
    let covered = PathAndQuery::try_from(bytes.as_slice()).unwrap_or_else(|_| PathAndQuery::from_static("/"));
    Some(Uri::from(covered))
}
