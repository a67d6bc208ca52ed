//! Service edges: blocking or async work outside the workers. A request goes out as an output, its answer comes in as an
//! input; while it is under way it is held, so that a restart can send it again.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
};

use crossbeam_channel::Sender;

use super::{
    edge::Outlet,
    inlet::Inlet,
    shared::{Phase, Shared},
};
use crate::{
    codec::{Codec, Trust},
    frame::{Batch, Class, Frame, edge_queue},
    id::{EdgeId, RawQueueId, RequestId},
    message::{Message, NoReply, ReplyTo},
    time::Time,
};

/// Answers requests to a service. Clones are the same; any thread or task may use it, whenever the answer is there.
#[derive(Debug, Clone)]
pub struct Replier {
    inlet: Inlet,
    me: RawQueueId,
}

impl Replier {
    /// Answers a request. An answer that comes too late reaches nobody.
    pub fn reply<A: Message>(&self, to: &ReplyTo<A>, answer: &A) {
        if let Err(error) = self.inlet.put(|inputs| inputs.reply(to, self.me, answer)) {
            tracing::error!(%error, queue = %to.queue(), "a service's answer can't be put in");
            self.fail(to, NoReply::Failed);
        }
    }

    /// Says that there will be no answer.
    pub fn fail<A>(&self, to: &ReplyTo<A>, why: NoReply) {
        self.inlet.put(|inputs| inputs.fail(to, self.me, why));
    }
}

/// What a service does with a request.
pub(super) type Serve<R> = Arc<dyn Fn(R, &Replier) + Send + Sync>;

/// The outlet of a service.
pub(super) struct Service<R> {
    replier: Replier,
    way: Way<R>,
}

enum Way<R> {
    /// On the worker's thread: `serve` only passes it on.
    Direct(Serve<R>),
    /// Threads of the service's own.
    Threads(
        Sender<Job<R>>,
        #[expect(dead_code, reason = "the threads end when the sender is dropped")] Vec<JoinHandle<()>>,
    ),
}

/// A request that waits for a thread. It counts as work under way until it is served.
struct Job<R> {
    request: R,
    asked: Option<(RawQueueId, RequestId)>,
    bytes: usize,
}

impl<R> Job<R> {
    fn serve(self, serve: &Serve<R>, replier: &Replier) {
        let shared = replier.inlet.shared().clone();
        // A node that has stopped is held to its requests when it starts again.
        if shared.phase() != Phase::Stopping {
            guarded(self.request, self.asked, serve, replier);
        }
        shared.give_back(self.bytes);
        shared.work_ends(1);
    }
}

/// Serves a request; where that panics, tells the asker that it failed.
fn guarded<R>(request: R, asked: Option<(RawQueueId, RequestId)>, serve: &Serve<R>, replier: &Replier) {
    if catch_unwind(AssertUnwindSafe(|| serve(request, replier))).is_err() {
        tracing::error!(edge = %replier.me, ?asked, "a service panicked over a request");
        if let Some((queue, request)) = asked {
            replier.fail(&ReplyTo::<()>::new(queue, request, Time::ZERO), NoReply::Failed);
        }
    }
}

impl<R: Message> Service<R> {
    /// A service with `threads` threads of its own, or none if `serve` itself hands its work on.
    pub(super) fn open(
        shared: &Shared,
        inlet: Inlet,
        edge: EdgeId,
        threads: usize,
        serve: &Serve<R>,
    ) -> std::io::Result<Service<R>> {
        let replier = Replier { inlet, me: edge_queue(shared.node, edge) };
        if threads == 0 {
            return Ok(Service { replier, way: Way::Direct(serve.clone()) });
        }
        let (sender, receiver) = crossbeam_channel::unbounded::<Job<R>>();
        let mut handles = Vec::new();
        for number in 0..threads {
            let (receiver, replier, serve) = (receiver.clone(), replier.clone(), serve.clone());
            let name = format!("qnfsm-{edge}.{number}");
            handles.push(thread::Builder::new().name(name).spawn(move || {
                for job in receiver {
                    job.serve(&serve, &replier);
                }
            })?);
        }
        Ok(Service { replier, way: Way::Threads(sender, handles) })
    }

    fn take(&self, frame: &Frame<'_>) {
        if frame.header.class != Class::Message {
            return;
        }
        match Codec::CURRENT.decode::<R>(frame.payload, Trust::Node) {
            Ok(request) => {
                let asked = frame.header.request.map(|request| (frame.header.sender, request));
                match &self.way {
                    Way::Direct(serve) => guarded(request, asked, serve, &self.replier),
                    Way::Threads(sender, _) => {
                        let bytes = frame.payload.len();
                        let shared = self.replier.inlet.shared();
                        shared.work_begins();
                        shared.budget.take(bytes);
                        // The threads live as long as this sender.
                        let _ = sender.send(Job { request, asked, bytes });
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, from = %frame.header.sender, "a request to a service can't be understood");
                let me = self.replier.me;
                self.replier.inlet.put(|inputs| inputs.fail_request(frame, me, NoReply::NotUnderstood));
            }
        }
    }
}

impl<R: Message> Outlet for Service<R> {
    fn put(&self, frames: &Batch) {
        for frame in frames.as_ref().frames().map_while(Result::ok) {
            self.take(&frame);
        }
    }
}
