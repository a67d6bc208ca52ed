//! The name that somebody who wrote another one most likely meant, and how far a path leads that has no end.

use qnfsm::schema::{Outlook, Path};

/// How many names are listed in an error.
const LISTED_MAX: usize = 12;

/// How many letters of two names are compared.
const LETTERS_MAX: usize = 64;

/// Names that were possible, for the end of an error: which one was meant, and which there are.
pub(crate) fn instead<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_unstable();
    names.dedup();
    let meant = names.iter().copied().min_by_key(|name| distance(wanted, name));
    let letters = wanted.chars().count();
    let near = if letters < 4 { 1 } else { (letters / 3).max(2) };
    let meant = meant.filter(|name| distance(wanted, name) <= near);
    match (meant, names.len()) {
        (Some(meant), 1) => format!("did you mean `{meant}`?"),
        (Some(meant), _) => format!("did you mean `{meant}`? There are {}", listed(&names)),
        (None, _) => there_are(&names),
    }
}

/// Names that were possible, where none is near another: numbers.
pub(crate) fn there_are(names: &[impl AsRef<str>]) -> String {
    match names.len() {
        0 => "there are none".to_owned(),
        1 => format!("there is {}", listed(names)),
        _ => format!("there are {}", listed(names)),
    }
}

fn listed(names: &[impl AsRef<str>]) -> String {
    let more = if names.len() > LISTED_MAX { ", …" } else { "" };
    let listed = names.iter().take(LISTED_MAX).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    format!("{listed}{more}")
}

/// Of a path at whose end nothing is: how far it leads, and what can follow there. `outlook` says what there is at the end of a path, and `name` what
/// one is called.
pub(crate) fn how_far(path: &Path, outlook: impl Fn(&Path) -> Outlook, name: impl Fn(&Path) -> String) -> String {
    let mut path = path.clone();
    while let Some(missing) = path.0.pop() {
        let outlook = outlook(&path);
        if !path.0.is_empty() && (outlook.is_nothing() || outlook.is_opaque) {
            continue;
        }
        let (here, missing) = (name(&path), Path(vec![missing]).to_string());
        let names = outlook.fields.iter().map(String::as_str);
        return match (outlook.fields.is_empty(), outlook.has_places) {
            (true, true) => format!("{here} is a list or a map; a place stands in brackets, such as [0] or [\"key\"]"),
            (true, false) => format!("{here} has no parts"),
            (false, _) => format!("{here} has no field `{missing}`: {}", instead(&missing, names)),
        };
    }
    format!("nobody can look into {}: its types are opaque", name(&path))
}

/// How many letters have to be put in, taken out or changed to make one name of the other; case counts for little.
fn distance(one: &str, other: &str) -> usize {
    let letters = |name: &str| name.chars().take(LETTERS_MAX).collect::<Vec<_>>();
    let (one, other) = (letters(one), letters(other));
    let mut row: Vec<usize> = (0..=other.len()).map(|at| at * 2).collect();
    for (at, letter) in one.iter().enumerate() {
        let mut before = row[0];
        row[0] = (at + 1) * 2;
        for (place, of_other) in other.iter().enumerate() {
            let changed = match () {
                () if letter == of_other => 0,
                () if letter.eq_ignore_ascii_case(of_other) => 1,
                () => 2,
            };
            let cost = (before + changed).min(row[place] + 2).min(row[place + 1] + 2);
            before = row[place + 1];
            row[place + 1] = cost;
        }
    }
    row[other.len()].div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_named_and_nothing_far_off() {
        assert_eq!(
            instead("plaeyr", ["player", "world", "plate"]),
            "did you mean `player`? There are plate, player, world"
        );
        assert_eq!(instead("move", ["Move"]), "did you mean `Move`?");
        assert_eq!(instead("wrold", ["world"]), "did you mean `world`?");
        assert_eq!(instead("x", ["player", "world"]), "there are player, world");
        assert_eq!(instead("x", []), "there are none");
        assert!(instead("x", (0..100).map(|at| ["abc", "def", "ghi"][at % 3]).collect::<Vec<_>>()).len() < 100);
    }
}
