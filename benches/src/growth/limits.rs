//! The limits: bare loops that do no more than the circuit asks for. No scheduler, no addresses, no isolation, no record.

use std::{
    collections::VecDeque,
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::unbounded;

use super::{
    cargo::Cargo,
    circuit::{Arrived, Circuit, Token},
};
use crate::{
    pace::{self, Lap},
    plan::Failure,
};

/// A relay of the bare loop: a box of 64 bytes, so that each is a cache line of its own.
struct Relay {
    next: u32,
    passed: u64,
    _rest: [u64; 6],
}

/// One queue and a box for each relay, on one thread: nanoseconds for each message.
///
/// # Errors
/// When a token is lost.
pub fn bare_loop<C: Cargo>(circuit: Circuit, quick: bool) -> Result<f64, Failure> {
    let mut ring: Vec<u32> = (0..circuit.relays()).collect();
    let mut relays: Vec<_> = ring.iter().map(|_| Box::new(Relay { next: 0, passed: 0, _rest: [0; 6] })).collect();
    circuit.order.arrange(&mut ring);
    for (place, &relay) in ring.iter().enumerate() {
        relays[relay as usize].next = ring[(place + 1) % ring.len()];
    }
    let mut queue = VecDeque::new();
    circuit.timed(quick, |hops| {
        let begun = Instant::now();
        for number in 0..circuit.tokens {
            let cargo = C::of_bytes(circuit.payload_bytes);
            queue.push_back((ring[circuit.begins_at(number)], Token { number, hops, cargo }));
        }
        let mut arrived = Arrived::default();
        while let Some((to, Token { number, hops, cargo })) = black_box(&mut queue).pop_front() {
            let relay = &mut relays[to as usize];
            relay.passed += 1;
            match hops - 1 {
                0 => arrived.count(number, cargo.bytes()),
                hops => queue.push_back((relay.next, Token { number, hops, cargo })),
            }
        }
        Ok((arrived, begun.elapsed()))
    })
}

/// A thread for each worker, with a channel of crossbeam's to the next one. Each hop makes a copy of what the token carries,
/// as any way between threads that doesn't share memory does.
///
/// # Errors
/// When a thread is gone.
pub fn channels<C: Cargo>(circuit: Circuit, quick: bool) -> Result<f64, Failure> {
    let ends: Vec<_> = (0..circuit.workers).map(|_| unbounded::<Token<C>>()).collect();
    let (done, arrivals) = unbounded::<(u32, u32)>();
    for (index, (_, take)) in ends.iter().enumerate() {
        let (put, take, done) = (ends[(index + 1) % ends.len()].0.clone(), take.clone(), done.clone());
        // It ends with the process: the ring's threads hold one another's channels.
        thread::spawn(move || {
            for Token { number, hops, cargo } in take {
                let sent = match hops - 1 {
                    0 => done.send((number, cargo.bytes())).is_ok(),
                    hops => put.send(Token { number, hops, cargo: cargo.clone() }).is_ok(),
                };
                if !sent {
                    return;
                }
            }
        });
    }
    circuit.timed(quick, |hops| {
        let begun = Instant::now();
        for number in 0..circuit.tokens {
            let cargo = C::of_bytes(circuit.payload_bytes);
            let (put, _) = &ends[circuit.begins_at(number) % ends.len()];
            put.send(Token { number, hops, cargo })?;
        }
        let mut arrived = Arrived::default();
        for _ in 0..circuit.tokens {
            let (number, bytes) = arrivals.recv_timeout(Duration::from_secs(100))?;
            arrived.count(number, bytes);
        }
        Ok((arrived, begun.elapsed()))
    })
}

/// Copies so many bytes from one warm place to another: nanoseconds for each copy.
///
/// # Errors
/// Never.
pub fn memcpy(bytes: u32, quick: bool) -> Result<f64, Failure> {
    let from = vec![1_u8; bytes as usize];
    let mut to = vec![0_u8; bytes as usize];
    let (last, _) = pace::timed(quick, |messages| {
        let begun = Instant::now();
        for _ in 0..messages {
            black_box(&mut to).copy_from_slice(black_box(&from));
        }
        Ok(Lap { messages, took: begun.elapsed() })
    })?;
    Ok(last.ns_each())
}
