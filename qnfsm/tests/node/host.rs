//! The host program's handle.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use qnfsm::{Answer, HostError, NoReply};

use crate::{
    files::Memory,
    probe::{self, PATIENCE, Tell, start},
};

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park_timeout(PATIENCE),
        }
    }
}

fn node() -> probe::Node {
    start(probe::builder(Memory::default().storage()))
}

fn held(node: &probe::Node, within: Duration) -> Answer<u64> {
    node.host().ask(node.root(), within, Tell::Hold).unwrap()
}

#[test]
fn an_answer_comes_to_who_blocks_and_to_who_awaits() {
    let node = node();
    for value in 1..=2 {
        let answer = held(&node, PATIENCE);
        node.host().send(node.root(), &Tell::Release(value)).unwrap();
        match value {
            1 => assert_eq!(answer.wait().unwrap(), 1),
            _ => assert_eq!(block_on(answer).unwrap(), 2),
        }
    }
}

#[test]
fn a_passed_deadline_ends_both_kinds_of_wait() {
    let node = node();
    let expired = |result| matches!(result, Err(HostError::NoReply(NoReply::Expired)));
    assert!(expired(held(&node, Duration::from_millis(5)).wait()));
    assert!(expired(block_on(held(&node, Duration::from_millis(5)))));
    // Late answers reach nobody, and not the next request either.
    let next = held(&node, PATIENCE);
    for value in [1, 2, 3] {
        node.host().send(node.root(), &Tell::Release(value)).unwrap();
    }
    assert_eq!(next.wait().unwrap(), 3);
}

#[test]
fn an_answer_to_a_request_of_an_earlier_epoch_reaches_nobody() {
    let disk = Memory::default();
    let node = start(probe::builder(disk.storage()));
    let of_the_first_epoch = held(&node, PATIENCE);
    node.stop().unwrap();
    assert!(matches!(of_the_first_epoch.wait(), Err(HostError::NoReply(NoReply::Gone))));
    let node = start(probe::builder(disk.storage()));
    // The same number, in another epoch.
    let of_the_second = held(&node, PATIENCE);
    node.host().send(node.root(), &Tell::Release(1)).unwrap();
    node.host().send(node.root(), &Tell::Release(2)).unwrap();
    assert_eq!(of_the_second.wait().unwrap(), 2);
}

#[test]
fn when_a_node_stops_nobody_waits_on() {
    let node = node();
    let (host, root) = (node.host(), node.root());
    let awaited = held(&node, PATIENCE);
    let (sender, receiver) = mpsc::channel();
    let waits = thread::spawn(move || sender.send(block_on(awaited)).unwrap());
    node.stop().unwrap();
    let outcome = receiver.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(outcome, Err(HostError::NoReply(NoReply::Gone))), "{outcome:?}");
    waits.join().unwrap();
    assert!(matches!(host.send(root, &Tell::Add(1, vec![])), Err(HostError::Stopping)));
    assert!(matches!(host.ask(root, PATIENCE, Tell::Hold), Err(HostError::Stopping)));
}

#[test]
fn when_a_node_fails_who_awaits_hears_of_it_though_nobody_stops_it() {
    let node = node();
    let awaited = held(&node, PATIENCE);
    node.host().send(node.root(), &Tell::Panic).unwrap();
    assert!(matches!(block_on(awaited), Err(HostError::NoReply(NoReply::Gone))));
}

/// Polls at once, on the thread that wakes it, as executors may.
struct Inline {
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
}

impl Wake for Inline {
    fn wake(self: Arc<Inline>) {
        let future = self.future.lock().unwrap().take();
        let Some(mut future) = future else { return };
        let waker = Waker::from(self.clone());
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            *self.future.lock().unwrap() = Some(future);
        }
    }
}

#[test]
fn a_waker_may_poll_at_once_and_drop_what_it_wakes() {
    let node = node();
    let answer = held(&node, PATIENCE);
    let (sender, receiver) = mpsc::channel();
    let future = Box::pin(async move { sender.send(answer.await.unwrap()).unwrap() });
    Arc::new(Inline { future: Mutex::new(Some(future)) }).wake();
    node.host().send(node.root(), &Tell::Release(7)).unwrap();
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), 7);
}

#[test]
fn many_threads_use_one_handle() {
    let node = node();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    node.host().send(node.root(), &Tell::Add(1, vec![])).unwrap();
                }
            });
        }
    });
    assert_eq!(probe::total(&node), 800);
}
