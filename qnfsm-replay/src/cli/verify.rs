//! The subcommand `verify`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{
    output::{self, Paint},
    show::LiveLine,
    words::{count, counted},
};
use crate::{
    dump::DumpError,
    status::{DAMAGED, reading_help},
    verify::{Options, Verified, verify},
};

/// Checks all that can be checked without the program: every checksum, chain and link of the journal, what its records say of one
/// another, each snapshot, each name. Says what is damaged, where, and what to do about it.
#[derive(Debug, Clone, Args)]
#[command(after_help = reading_help!("Example:\n  qnfsm verify /var/lib/my-service && echo sound", "sound", ""))]
pub struct VerifyArgs {
    /// The node's directory: the one that holds `manifest` and `journal`. It is only read.
    pub dir: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Check the directory of a running node too: what is there at this moment.
    #[arg(long)]
    pub live: bool,
}

impl VerifyArgs {
    /// Checks the directory, and says with which status the program ends: 20 if something is damaged.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        match self.verify() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(DAMAGED),
            Err(error) => output::conclude_with_live(self.json, Err(error)),
        }
    }

    fn verify(&self) -> Result<bool, DumpError> {
        let line = LiveLine::new("checking", false);
        let options = Options::new().live(self.live);
        let verified = verify(&self.dir, &options, |bytes, bytes_total| line.draw(bytes, bytes_total, String::new));
        line.clear();
        let verified = verified?;
        let printed = if self.json {
            output::print_json(&verified)
        } else {
            output::print(&screen(&verified, Paint::of_output()))
        };
        match printed {
            Err(error) if !output::is_closed(&error) => Err(error),
            // The status tells all the same.
            _ => Ok(verified.sound),
        }
    }
}

fn screen(it: &Verified, paint: Paint) -> String {
    let mut out = String::new();
    for finding in &it.findings {
        let word = if finding.damage { paint.bad("damaged") } else { paint.odd("remark ") };
        out.push_str(&format!("{word}  {finding}\n"));
        if let Some(next) = &finding.next {
            out.push_str(&format!("         {}\n", paint.label(next)));
        }
    }
    let looked = format!(
        "{} and {} in {}, {}, {}; the journal ends at {}",
        counted(it.records.0, "record"),
        counted(it.frames.0, "frame"),
        counted(it.segments as u64, "segment"),
        counted(it.rounds.0, "round"),
        counted(it.snapshots as u64, "snapshot"),
        if it.end.is_empty() { "-" } else { &it.end }
    );
    let damages = it.findings.iter().filter(|finding| finding.damage).count() as u64;
    let word = if it.sound { paint.good("sound") } else { paint.bad(&format!("{} damaged", count(damages))) };
    out.push_str(&format!("{word}  {looked}\n"));
    out
}
