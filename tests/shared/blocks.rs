//! The fenced blocks of the book's pages, for the tests that run them: those without an engine and those with one.

/// A fenced block of a page.
#[derive(Debug)]
pub(crate) struct Block {
    /// The number of its first line, the fence.
    pub(crate) line: usize,
    /// The words of the fence, the language first.
    pub(crate) words: Vec<String>,
    pub(crate) text: String,
}

impl Block {
    pub(crate) fn language(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.iter().skip(1).any(|found| found == word)
    }
}

/// The fenced blocks of a page, in their order. One that is never closed fails.
pub(crate) fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(words) = line.strip_prefix("```") else { continue };
        let mut text = String::new();
        loop {
            let Some((_, line)) = lines.next() else {
                unreachable!("{page}:{}: the block has no end", at + 1)
            };
            if line == "```" {
                break;
            }
            text.push_str(line);
            text.push('\n');
        }
        let words = words.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        blocks.push(Block { line: at + 1, words, text });
    }
    blocks
}
