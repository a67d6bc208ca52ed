//! What all of Mermaid's diagrams have in common: how a name is spelt, whatever it holds.

use std::fmt::Write;

/// How much of a text is drawn, in characters.
const CHARS_MAX: usize = 120;

/// A text in which nothing means anything to Mermaid: all but letters, digits and a few signs are its own numbered entities.
pub(crate) fn text(text: &str) -> String {
    let mut out = String::new();
    for (number, letter) in text.chars().enumerate() {
        match letter {
            _ if number == CHARS_MAX => {
                out.push('…');
                break;
            }
            // What has no look stands for itself nowhere.
            letter if letter.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            ' ' | '.' | ',' | '/' | '(' | ')' | '_' | '-' | '`' => out.push(letter),
            letter if letter.is_alphanumeric() || matches!(letter, '×' | '→' | '…') => out.push(letter),
            letter => _ = write!(out, "#{};", u32::from(letter)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_means_anything_to_mermaid() {
        assert_eq!(text("Coin ×12"), "Coin ×12");
        assert_eq!(text("a\"b;c#d:e%%f"), "a#34;b#59;c#35;d#58;e#37;#37;f");
        assert_eq!(text("x\n--> y\u{1b}"), "x\u{fffd}--#62; y\u{fffd}");
        assert_eq!(text("<script>{}"), "#60;script#62;#123;#125;");
        assert_eq!(text(&"long".repeat(100)).chars().count(), CHARS_MAX + 1);
    }
}
