//! The end of a file that a sidecar follows.
//!
//! A writer that doesn't rename a new file into place is seen in the middle of its work, and the beginning of a policy is a
//! policy too, most often. So its last line is YAML's own mark of an end (YAML 1.2, section 9.1.2), without which it is
//! cut off, whatever it says.

/// The last line.
pub const END: &str = "...\n";

/// Whether a file has its last line.
pub fn is_whole(bytes: &[u8]) -> bool {
    bytes.strip_suffix(END.as_bytes()).is_some_and(|before| before.ends_with(b"\n"))
}

#[cfg(test)]
mod tests {
    use super::{END, is_whole};

    #[test]
    fn nothing_but_the_whole_file_is_whole() {
        let file = format!("version: 1\nhost: '...'\n# ...\nroutes: []\n{END}");
        for length in 0..file.len() {
            assert!(!is_whole(&file.as_bytes()[..length]), "{length} bytes");
        }
        assert!(is_whole(file.as_bytes()));
        assert!(!is_whole(END.as_bytes()), "nothing but an end");
    }
}
