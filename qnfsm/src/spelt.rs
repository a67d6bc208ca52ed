//! How what people type is spelt: numbers in names such as `w0/7.1` and `3:4711`, which are digits without a sign, and paths in commands. For the
//! crates of this workspace; no part of the API.
//!
//! Whoever refuses a name says whether its form is wrong or a number in it too large, because what helps is another thing.

use std::{path::Path, str::FromStr};

/// Reads a number without a sign, which is none of a name's.
#[must_use]
pub fn number<N: FromStr>(digits: &str) -> Option<N> {
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// True if a text that is refused would be read with smaller numbers in it.
pub fn is_too_large(text: &str, is_read: impl FnOnce(&str) -> bool) -> bool {
    let mut smaller = String::with_capacity(text.len());
    for letter in text.chars() {
        // Of each row of digits one is left.
        match letter.is_ascii_digit() {
            true if smaller.ends_with('1') => {}
            true => smaller.push('1'),
            false => smaller.push(letter),
        }
    }
    smaller != text && is_read(&smaller)
}

/// What is said of such a text, behind it.
pub const TOO_LARGE: &str = "has a number in it that is larger than any can be";

/// A path as one word of a shell's.
#[must_use]
pub fn shell_word(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |of: char| of.is_alphanumeric() || "/._-+:,=@%\\".contains(of);
    if path.chars().all(is_plain) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(shell_word(Path::new("/srv/node-1/x.y")), "/srv/node-1/x.y");
        assert_eq!(shell_word(Path::new("/a b/$HOME")), "'/a b/$HOME'");
        assert_eq!(shell_word(Path::new("/it's")), r"'/it'\''s'");
    }
}
