//! Two `VecDeque`s in a loop: one thread's limit.

use std::{collections::VecDeque, hint::black_box, ops::ControlFlow};

use super::{
    super::{
        case::Case,
        lap::Course,
        message::Payload,
        roles::{self, Acknowledged, Arrivals, Hub, Parent, Pinger, RING, Sender, Sink, Then},
    },
    bare, broken,
};

/// The loop for a case.
pub fn course<P: Payload>(case: Case) -> Box<dyn Course> {
    match case {
        Case::PingPong => ping_pong::<P>(),
        Case::FanIn(senders) => fan_in::<P>(senders),
        Case::Ring(tokens) => ring::<P>(tokens),
        Case::Spawn | Case::SpawnMemory => spawn::<P>(case.stays()),
        Case::FanOut(receivers) => fan_out::<P>(receivers),
    }
}

fn ping_pong<P: Payload>() -> Box<dyn Course> {
    let (mut there, mut back) = (VecDeque::new(), VecDeque::new());
    let mut pinger = Pinger::default();
    bare(move |rounds| {
        there.push_back(pinger.begin::<P>(rounds));
        loop {
            back.push_back(roles::pong(&black_box(&mut there).pop_front().ok_or_else(broken)?));
            match pinger.take(&black_box(&mut back).pop_front().ok_or_else(broken)?) {
                ControlFlow::Continue(next) => there.push_back(next),
                ControlFlow::Break(received) => return Ok(received),
            }
        }
    })
}

fn fan_in<P: Payload>(senders: u32) -> Box<dyn Course> {
    let (mut inbox, mut credits) = (VecDeque::new(), VecDeque::new());
    let mut sink = Sink::default();
    let mut all: Vec<_> = (0..senders).map(|number| Sender::new(number, senders)).collect();
    bare(move |bursts| {
        sink.begin(senders, bursts);
        all.iter_mut().for_each(|sender| sender.begin(bursts, |message: P| inbox.push_back(message)));
        loop {
            while let Some(message) = inbox.pop_front() {
                match sink.take(&message) {
                    Then::Wait => {}
                    Then::Credit(sender) => credits.push_back(sender),
                    Then::Done(received) => {
                        credits.clear();
                        return Ok(received);
                    }
                }
            }
            let sender: u32 = credits.pop_front().ok_or_else(broken)?;
            all[sender as usize].burst(|message| inbox.push_back(message));
        }
    })
}

fn ring<P: Payload>(tokens: u32) -> Box<dyn Course> {
    let (mut now, mut next) = (VecDeque::new(), VecDeque::new());
    let mut arrivals = Arrivals::default();
    let mut taken = vec![0_u64; RING as usize];
    bare(move |hops| {
        arrivals.begin(tokens);
        for number in 0..tokens {
            now.push_back((roles::token_begins_at(number, tokens), roles::token::<P>(number, hops)));
        }
        loop {
            while let Some((place, token)) = now.pop_front() {
                taken[place] += 1;
                if let Some(token) = roles::hop(&token) {
                    next.push_back(((place + 1) % RING as usize, token));
                } else if let Some(received) = arrivals.take(&token) {
                    return Ok(received);
                }
            }
            std::mem::swap(&mut now, &mut next);
        }
    })
}

/// Boxes that are made, found in a queue with their first message, and dropped or kept.
fn spawn<P: Payload>(stays: bool) -> Box<dyn Course> {
    let (mut inbox, mut answers) = (VecDeque::new(), VecDeque::new());
    let mut kept = Vec::new();
    let mut parent = Parent::default();
    bare(move |children| {
        parent.begin(children);
        loop {
            for message in parent.brood::<P>() {
                inbox.push_back((black_box(Box::new(Parent::default())), message));
            }
            while let Some((child, message)) = inbox.pop_front() {
                answers.push_back(message);
                kept.extend(stays.then_some(child));
            }
            while let Some(answer) = answers.pop_front() {
                if let ControlFlow::Break(received) = parent.take::<P>(&answer) {
                    return Ok(received);
                }
            }
        }
    })
}

fn fan_out<P: Payload>(receivers: u32) -> Box<dyn Course> {
    let (mut inboxes, mut acknowledgements) = (VecDeque::new(), VecDeque::<Acknowledged>::new());
    let mut hub = Hub::default();
    let mut taken = vec![0_u64; receivers as usize];
    bare(move |rounds| {
        let mut message: P = hub.begin(receivers, rounds);
        loop {
            inboxes.extend((0..receivers as usize).map(|receiver| (receiver, message)));
            while let Some((receiver, message)) = black_box(&mut inboxes).pop_front() {
                taken[receiver] += 1;
                acknowledgements.push_back(roles::acknowledge(&message));
            }
            while let Some(acknowledged) = acknowledgements.pop_front() {
                match hub.take(acknowledged) {
                    ControlFlow::Continue(next) => message = next.unwrap_or(message),
                    ControlFlow::Break(received) => return Ok(received),
                }
            }
        }
    })
}
