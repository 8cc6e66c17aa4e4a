//! A second strict parser, as plain as can be: it splits and compares, shares no code with the first and knows no
//! limits and no pieces.

use super::super::Framing;

#[derive(Debug, Eq, PartialEq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    /// The digit after the version's point.
    pub(super) minor: char,
    /// Sorted.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) framing: Framing,
    pub(super) length: usize,
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn skip_empty_line(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\r\n").unwrap_or(bytes)
}

/// Whether there is an empty line after the first line.
pub(super) fn has_end(bytes: &[u8]) -> bool {
    find(skip_empty_line(bytes), b"\r\n\r\n").is_some()
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// The lines before an empty line, and where the bytes after it begin.
fn lines(bytes: &[u8]) -> Option<(Vec<&[u8]>, usize)> {
    let mut lines = Vec::new();
    let mut begin = 0;
    loop {
        let end = begin + find(&bytes[begin..], b"\r\n")?;
        if end == begin {
            return Some((lines, end + 2));
        }
        let line = &bytes[begin..end];
        if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return None;
        }
        lines.push(line);
        begin = end + 2;
    }
}

fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = find(line, b":")?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    is_token(name)
        .then(|| (String::from_utf8(name.to_ascii_lowercase()).unwrap(), value.trim_ascii().to_vec()))
}

pub(super) fn request(bytes: &[u8]) -> Option<Request> {
    let start = skip_empty_line(bytes);
    let (lines, length) = lines(start)?;
    let (line, fields) = lines.split_first()?;
    let [method, target, version] = line.split(|byte| *byte == b' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let minor = match version {
        b"HTTP/1.0" => '0',
        b"HTTP/1.1" => '1',
        _ => return None,
    };
    let mut headers = fields.iter().map(|line| field(line)).collect::<Option<Vec<_>>>()?;
    headers.sort();
    let values = |wanted: &str| -> Vec<&[u8]> {
        headers.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_slice()).collect()
    };
    let target = std::str::from_utf8(target).ok()?;
    let fits = match method {
        b"CONNECT" => !target.contains('/') && !target.contains('?') && target != "*",
        b"OPTIONS" if target == "*" => true,
        _ => target.starts_with('/') || target.starts_with("http://"),
    };
    let visible = target.chars().all(|character| ('!'..='~').contains(&character) && character != '#');
    if !is_token(method) || target.is_empty() || !fits || !visible {
        return None;
    }
    match values("host").len() {
        1 => {}
        0 if minor == '0' => {}
        _ => return None,
    }
    let framing = match (values("content-length").as_slice(), values("transfer-encoding").as_slice()) {
        ([], []) => Framing::Empty,
        ([length], []) if length.iter().all(u8::is_ascii_digit) => {
            Framing::Length(std::str::from_utf8(length).ok()?.parse().ok()?)
        }
        ([], [coding]) if minor == '1' && coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        _ => return None,
    };
    let framing = match framing {
        Framing::Empty | Framing::Length(0) if method == b"CONNECT" => Framing::Empty,
        _ if method == b"CONNECT" => return None,
        framing => framing,
    };
    Some(Request {
        method: String::from_utf8(method.to_vec()).unwrap(),
        target: target.to_owned(),
        minor,
        headers,
        framing,
        length: length + bytes.len() - start.len(),
    })
}

/// The data of a chunked body, and what comes after it.
pub(super) fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut data, mut rest) = (Vec::new(), bytes);
    loop {
        let end = find(rest, b"\r\n")?;
        let digits = std::str::from_utf8(&rest[..end]).ok()?;
        if digits.len() > 16 || !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::try_from(u64::from_str_radix(digits, 16).ok()?).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            let (fields, length) = lines(rest)?;
            fields.into_iter().map(field).collect::<Option<Vec<_>>>()?;
            return Some((data, rest[length..].to_vec()));
        }
        let chunk = rest.get(..size)?;
        data.extend_from_slice(chunk);
        rest = rest[size..].strip_prefix(b"\r\n")?;
    }
}
