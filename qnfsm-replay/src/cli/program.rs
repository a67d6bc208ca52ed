//! What subcommands that run what was recorded know of the program: its name, its kinds, and what must always hold.

use std::{error::Error, ffi::OsString, path::Path, process::ExitCode, sync::Arc};

use qnfsm::{
    Catalogue, Invariants, Kinds, Table,
    journal::{Manifest, RealFiles, read_header},
};

use super::NodeArgs;
use crate::ReplayError;

/// A program, for its subcommands.
///
/// ```no_run
/// # fn kinds() -> qnfsm::Kinds { qnfsm::Kinds::new() }
/// # fn invariants() -> qnfsm::Invariants { qnfsm::Invariants::new() }
/// use qnfsm_replay::cli::Program;
///
/// fn main() -> std::process::ExitCode {
///     Program::new("my-service", kinds()).invariants(invariants()).main()
/// }
/// ```
pub struct Program {
    pub(super) name: String,
    pub(super) kinds: Kinds,
    pub(super) invariants: Invariants,
    /// Others, whose directories may be given too.
    others: Vec<Program>,
}

impl Program {
    /// A program by the name that its node was built with, without invariants.
    #[must_use]
    pub fn new(name: impl Into<String>, kinds: Kinds) -> Program {
        Program { name: name.into(), kinds, invariants: Invariants::new(), others: Vec::new() }
    }

    /// What must always hold of its FSMs, which `bisect` looks for.
    #[must_use]
    pub fn invariants(self, invariants: Invariants) -> Program {
        Program { invariants, ..self }
    }

    /// Takes directories of another program's nodes too: each is run with the kinds of the program that it names, and those of several
    /// programs can be looked at together.
    #[must_use]
    pub fn also(mut self, other: Program) -> Program {
        self.others.extend(other.each());
        self
    }

    /// This one and the others, each alone.
    fn each(mut self) -> impl Iterator<Item = Program> {
        let others = std::mem::take(&mut self.others);
        [self].into_iter().chain(others)
    }

    /// The one that recorded a directory; where none did, this.
    pub(super) fn of(self, dir: &Path) -> Program {
        let author = Author::of(dir);
        let mut each: Vec<_> = self.each().collect();
        let is_by = |program: &Program| author.is(&program.name, |kind| program.kinds.names().any(|own| own == kind));
        let at = each.iter().position(is_by).unwrap_or(0);
        each.swap_remove(at)
    }

    /// [`run`](Program::run) with the process's own arguments.
    #[must_use]
    pub fn main(self) -> ExitCode {
        self.run(std::env::args_os())
    }

    /// Does what `args` say, the program's name first, and says with which status the program ends.
    #[must_use]
    pub fn run(self, args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
        super::run_program(args, self)
    }

    /// As [`node_main`](super::node_main).
    #[must_use]
    pub fn node_main(self, run: impl FnOnce(NodeArgs) -> Result<(), Box<dyn Error>>) -> ExitCode {
        super::run_node(self, run)
    }
}

/// The programs of which one recorded each of several directories.
pub(super) struct Programs(Vec<(String, Arc<Catalogue>)>);

impl Programs {
    pub(super) fn new(program: Program) -> Result<Programs, ReplayError> {
        let sealed = program.each().map(|Program { name, kinds, .. }| Ok((name, kinds.seal()?)));
        sealed.collect::<Result<_, ReplayError>>().map(Programs)
    }

    /// The name and the kinds of the one that recorded a directory; where none did, the first, by which that is an error.
    pub(super) fn of(&self, dir: &Path) -> &(String, Arc<Catalogue>) {
        let author = Author::of(dir);
        let is_by =
            |(name, catalogue): &&(String, Arc<Catalogue>)| author.is(name, |kind| has_kind(catalogue.table(), kind));
        let known = self.0.iter().find(is_by);
        known.unwrap_or_else(|| self.0.first().expect("there is the program itself"))
    }
}

/// What a directory says of who recorded it. What keeps it from saying that, the command tells that reads it.
enum Author {
    Unknown,
    /// A program of that name.
    Program(String),
    /// A test, of whichever program has the kinds of this table.
    Test(Table),
}

impl Author {
    fn of(dir: &Path) -> Author {
        let Ok(manifest) = Manifest::load(&RealFiles, dir) else { return Author::Unknown };
        if !manifest.is_of_test() {
            return Author::Program(manifest.program);
        }
        let header = read_header(&RealFiles, dir, manifest.oldest_segment).ok().flatten();
        let table = header.and_then(|header| Table::from_bytes(&header.info.catalogue).ok());
        table.map_or(Author::Unknown, Author::Test)
    }

    /// True if it may be the program of that name, which has those kinds.
    fn is(&self, name: &str, has_kind: impl Fn(&str) -> bool) -> bool {
        match self {
            Author::Unknown => false,
            Author::Program(program) => program == name,
            Author::Test(table) => table.kinds.iter().all(|kind| has_kind(&kind.name)),
        }
    }
}

fn has_kind(table: &Table, name: &str) -> bool {
    table.kinds.iter().any(|kind| kind.name == name)
}
