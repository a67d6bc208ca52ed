//! What all of Mermaid's diagrams have in common: how a name is spelt, whatever it holds.

use std::fmt::Write;

/// How much of a text is drawn, in characters.
const CHARS_MAX: usize = 120;

/// A text in which nothing means anything to Mermaid: all but letters, digits and a few signs are its own numbered entities.
pub(crate) fn text(text: &str) -> String {
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => whole(&text[..end]) + "…",
        None => whole(text),
    }
}

/// Likewise, however long it is: Mermaid breaks the lines of a note in a state diagram itself.
pub(crate) fn whole(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            // What has no look stands for itself nowhere.
            letter if letter.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            ' ' | '.' | ',' | '/' | '(' | ')' | '_' | '-' | '`' => out.push(letter),
            letter if letter.is_alphanumeric() || matches!(letter, '×' | '→' | '…') => out.push(letter),
            letter => _ = write!(out, "#{};", u32::from(letter)),
        }
    }
    out
}

/// How wide a note is at most, in characters.
const NOTE_CHARS: usize = 60;

/// All of a remark as the text of a note in a sequence diagram, in lines.
pub(crate) fn note(remark: &str) -> String {
    let mut lines = vec![String::new()];
    for word in remark.split_whitespace() {
        let last = lines.last_mut().expect("there is always one");
        match last.is_empty() {
            true => last.push_str(word),
            false if last.chars().count() + 1 + word.chars().count() <= NOTE_CHARS => {
                last.push(' ');
                last.push_str(word);
            }
            false => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| whole(line)).collect::<Vec<_>>().join("<br/>")
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

    #[test]
    fn a_note_has_all_words_of_a_remark_in_lines() {
        let remark = "the first 60 messages; 7934 more are left out: ".repeat(4);
        let note = note(&remark);
        assert_eq!(note.replace("<br/>", " "), text_of(remark.trim_end()));
        let lines: Vec<_> = note.split("<br/>").map(|line| line.replace("#59;", ";").replace("#58;", ":")).collect();
        assert!(lines.len() == 4 && lines.iter().all(|line| line.chars().count() <= NOTE_CHARS), "{lines:?}");
    }

    fn text_of(remark: &str) -> String {
        remark.replace(';', "#59;").replace(':', "#58;")
    }
}
