//! The list of a suite's systems: what each is called, and whose version counts.

/// A system, its name as an argument, its name in rows, and the package whose version counts.
pub type Listed<S> = (S, &'static str, &'static str, &'static str);

/// The system of that name as an argument.
///
/// # Errors
/// When there is none; says which there are.
pub fn find<S: Copy>(list: &[Listed<S>], name: &str) -> Result<S, String> {
    let found = list.iter().find(|(_, argument, ..)| *argument == name);
    found.map(|(system, ..)| *system).ok_or_else(|| {
        let all = list.iter().map(|(_, argument, ..)| *argument).collect::<Vec<_>>();
        format!("there is no system {name}; there are {}", all.join(", "))
    })
}

/// What the list says of a system: its name as an argument, its name in rows, its package.
pub fn facts<S: Copy + PartialEq>(list: &[Listed<S>], of: S) -> (&'static str, &'static str, &'static str) {
    let found = list.iter().find(|(system, ..)| *system == of);
    let &(_, argument, name, package) = found.expect("all systems are in their suite's list");
    (argument, name, package)
}
