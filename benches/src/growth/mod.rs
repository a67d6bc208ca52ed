//! The suite `growth`: how the cost of a message grows with FSMs, workers, messages that wait, and payload.
//!
//! `curve` is what grows and what is compared, `circuit` what all of them do, `cargo` what tokens carry; `ours` is the library,
//! `limits` the bare loops.

mod cargo;
mod circuit;
mod curve;
mod limits;
mod ours;

pub use self::cargo::Bytes;
use self::{
    cargo::{Cargo, NUMBER_BYTES, Number, Sequence},
    circuit::Order,
    curve::{Point, System},
};
use crate::plan::{Failure, Figures, Group, Job, Plot, Suite};

/// The suite.
pub struct Growth;

impl Suite for Growth {
    const NAME: &'static str = "growth";

    fn plan(quick: bool) -> Vec<Group> {
        curve::groups(quick)
    }

    fn plots() -> Vec<Plot> {
        curve::plots()
    }

    fn measure(job: &Job) -> Result<Figures, Failure> {
        let (point, system): (Point, System) = (job.case.parse()?, job.system.parse()?);
        let value = match point {
            Point::Payload if system == System::OursSequence => measured::<Sequence>(job, point, system)?,
            Point::Payload => measured::<Bytes>(job, point, system)?,
            _ if job.payload_bytes == NUMBER_BYTES => measured::<Number>(job, point, system)?,
            _ => return Err(format!("messages of {point} have {NUMBER_BYTES} bytes").into()),
        };
        Ok(Figures { value, limit: None, also: Vec::new() })
    }
}

fn measured<C: Cargo>(job: &Job, point: Point, system: System) -> Result<f64, Failure> {
    let order = match system {
        System::OursScattered | System::BareScattered => Order::Scattered,
        _ => Order::InOrder,
    };
    let circuit = point.circuit(job.class, job.payload_bytes, order)?;
    match system {
        System::Ours | System::OursScattered | System::OursSequence => {
            ours::measured::<C>(circuit, job.recording, job.quick)
        }
        System::Bare | System::BareScattered => limits::bare_loop::<C>(circuit, job.quick),
        System::Channels => limits::channels::<C>(circuit, job.quick),
        System::Memcpy => limits::memcpy(job.payload_bytes, job.quick),
    }
}
