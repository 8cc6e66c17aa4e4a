//! Object names.

use std::fmt;

/// The name of an object in a repository of either hash: 20 bytes of SHA-1 or 32 of SHA-256
/// (gitformat-hash(5) knows no third).
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectId {
    length: u8,
    bytes: [u8; 32],
}

impl ObjectId {
    /// Takes the raw form, as it stands in trees.
    pub fn from_bytes(raw: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        bytes.get_mut(..raw.len())?.copy_from_slice(raw);
        matches!(raw.len(), 20 | 32).then_some(Self { length: u8::try_from(raw.len()).ok()?, bytes })
    }

    /// Parses the form in lower-case hexadecimal digits, which is the only one that git writes.
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, []) = hex.as_chunks::<2>() else { return None };
        let raw: Option<Vec<u8>> =
            pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
        Self::from_bytes(&raw?)
    }

    /// The raw form.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Whether it is all zeros, with which the protocol says "no object".
    pub fn is_zero(&self) -> bool {
        self.bytes == [0; 32]
    }

    /// The first digits, for messages.
    pub fn short(&self) -> String {
        self.to_string().chars().take(10).collect()
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::ObjectId;

    #[test]
    fn only_whole_names_in_lower_case_are_names() {
        for length in [40, 64] {
            let hex: String = "0123456789abcdef".chars().cycle().take(length).collect();
            assert_eq!(ObjectId::from_hex(hex.as_bytes()).unwrap().to_string(), hex);
        }
        for bad in
            ["", "0", "0123456789abcdef", &"A".repeat(40), &"g".repeat(40), &"a".repeat(41), &"a".repeat(66)]
        {
            assert_eq!(ObjectId::from_hex(bad.as_bytes()), None, "{bad}");
        }
        assert!(ObjectId::from_hex("0".repeat(40).as_bytes()).unwrap().is_zero());
    }
}
