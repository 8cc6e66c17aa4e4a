//! Amounts of memory in Compose's notation.

/// Returns the bytes of an amount such as `4g` (Compose specification, section "Specifying byte values").
pub(crate) fn bytes(text: &str) -> f64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default().bytes().next();
    let factor: u32 = match unit.map(|unit| unit.to_ascii_lowercase()) {
        Some(b'k') => 1 << 10,
        Some(b'm') => 1 << 20,
        Some(b'g') => 1 << 30,
        _ => 1,
    };
    digits.parse::<f64>().unwrap_or(f64::INFINITY) * f64::from(factor)
}
