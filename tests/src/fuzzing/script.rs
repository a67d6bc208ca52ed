//! How a fuzzer's bytes are cut into parts. What isn't there is 0 or empty, so that every input means something.

/// Bytes to take parts from, front to back.
#[derive(Debug, Clone)]
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// All of these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Script<'a> {
        Script(bytes)
    }

    /// True if nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// A part behind its length in 16 bits; shorter if fewer bytes are left.
    pub fn part(&mut self) -> &'a [u8] {
        let length = usize::from(u16::from_le_bytes([self.byte(), self.byte()]));
        let (part, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        part
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// Appends a part as [`Script::part`] takes it.
///
/// # Panics
/// When the part has 2^16 bytes or more: a seed is no longer than that.
pub fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    let length = u16::try_from(part.len()).expect("seeds are short");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(part);
}
