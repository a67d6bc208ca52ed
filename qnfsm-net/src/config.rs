//! What the program chose when it built the edge: addresses and bounds.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use qnfsm::{EdgeSetup, Message};

/// The bounds of one edge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    pub(crate) frame_bytes_max: u32,
    pub(crate) outgoing_bytes_max: u32,
    pub(crate) connections_max: u32,
    pub(crate) greeting_time_max: Duration,
    pub(crate) attach_time_max: Duration,
}

/// An address that the program gave.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) address: String,
    /// Looks up the number of the type that comes from its peers.
    number: fn(&EdgeSetup) -> io::Result<u32>,
}

impl Address {
    pub(crate) fn new<In: Message>(name: String, address: String) -> Address {
        Address { name, address, number: number::<In> }
    }

    pub(crate) fn type_number(&self, setup: &EdgeSetup) -> io::Result<u32> {
        (self.number)(setup)
    }
}

/// The number of a message type in the node's table.
pub(crate) fn number<M: Message>(setup: &EdgeSetup) -> io::Result<u32> {
    setup.type_number::<M>().ok_or_else(|| {
        invalid(format!(
            "message type {} is not registered; add it to the function that names the kinds (`qnfsm_net::messages` \
             for the edge's own, `Kinds::accepts` for what comes from peers)",
            std::any::type_name::<M>()
        ))
    })
}

/// The error for arguments that make no edge.
pub(crate) fn invalid(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, what)
}
