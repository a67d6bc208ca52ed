//! What may be a name that stands in journals and is printed: of a kind, a message type, a program, a port.

/// Why a name is refused and what to do about it, as the end of a sentence; nothing if it is a good one.
pub(crate) fn refusal(name: &str) -> Option<&'static str> {
    if name.trim().is_empty() {
        Some("is empty; it stands in the journal and is printed, so give it a word")
    } else if name.contains(char::is_control) {
        Some("contains a control character; it stands in the journal and is printed, so leave that out")
    } else {
        None
    }
}
